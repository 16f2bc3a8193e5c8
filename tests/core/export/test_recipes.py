"""Recipes: what is copied must work, in the shell and in Ollama's template language."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from support import go_template, model_files
from support.jinja_templates import MISTRAL, QUOTES, SMOLLM, ZEPHYR, talks, template

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.export import ollama, recipes
from slmstudio.core.export.ollama import read_tokens
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig


def gguf(path: Path, source: str | None, **extra) -> Path:
    metadata = {"general.architecture": "llama", "llama.context_length": 2048, "llama.block_count": 1,
                "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "<|end|>", "नमस्ते"],
                "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, **extra}
    if source is not None:
        metadata["tokenizer.chat_template"] = source
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model_files.gguf(metadata, {"token_embd.weight": (0, (8, 5), 160)}))
    return path


def test_a_modelfile_as_ollama_reads_it(tmp_path) -> None:
    path = gguf(tmp_path / "राशन कार्ड मेरा" / "pune help-Q4_K_M.gguf", MISTRAL, **{"tokenizer.ggml.add_bos_token": 1})
    text, notes = ollama.modelfile(path, 2048)
    commands = go_template.read_modelfile(text)
    assert [name for name, _ in commands] == ["FROM", "TEMPLATE", "stop", "num_ctx"]
    values = dict(commands)
    assert values["FROM"] == str(path) and values["stop"] == "</s>" and values["num_ctx"] == "2048"
    assert "no place for a system message" in notes[0]
    talk = talks(False)[2]
    expected = template(MISTRAL).render(talk, add_generation_prompt=True)
    assert "<s>" + go_template.ollama_prompt(values["TEMPLATE"], talk) == expected  # Ollama puts BOS first itself


def test_bos_stays_in_the_template_where_nobody_else_adds_it(tmp_path) -> None:
    path = gguf(tmp_path / "m.gguf", MISTRAL, **{"tokenizer.ggml.add_bos_token": 0})
    assert '"<s>[INST] "' in ollama.modelfile(path, 512)[0]
    added = gguf(tmp_path / "n.gguf", ZEPHYR, **{"tokenizer.ggml.add_bos_token": 1})
    assert any("puts <s> first" in note for note in ollama.modelfile(added, 512)[1])


def test_invisible_letters_survive_in_the_template(tmp_path) -> None:
    values = dict(go_template.read_modelfile(ollama.modelfile(gguf(tmp_path / "q.gguf", QUOTES), 512)[0]))
    talk = talks(True)[5]
    assert "\u200d" in template(QUOTES).render(talk)
    assert go_template.ollama_prompt(values["TEMPLATE"], talk) == template(QUOTES).render(talk)


def test_every_end_of_turn_is_a_stop(tmp_path) -> None:
    path = gguf(tmp_path / "m.gguf", SMOLLM, **{"tokenizer.ggml.eot_token_id": 3})
    tokens = read_tokens(path)
    assert tokens.ends == ("</s>", "<|end|>") and tokens.bos == "<s>"
    assert ollama.stop_texts(ollama.take_apart(tokens.template), tokens) == ("<|im_end|>", "</s>", "<|end|>")


@pytest.mark.parametrize("make", ["no template", "joiner in the path"])
def test_modelfiles_that_cannot_be_written(tmp_path, make) -> None:
    where = tmp_path / ("क्\u200dष" if "path" in make else "plain") / "m.gguf"
    path = gguf(where, None if make == "no template" else ZEPHYR)
    with pytest.raises(UserError) as caught:
        ollama.modelfile(path, 512)
    assert caught.value.why and caught.value.remedy


@pytest.mark.parametrize(("stem", "name"), [
    ("pune-helpdesk-Q4_K_M", "pune-helpdesk:q4_k_m"), ("pune helpdesk!-F16", "pune-helpdesk:f16"),
    ("राशन-IQ4_XS", "my-model:iq4_xs"), ("Model.v2", "model.v2:latest"), ("smollm2-135m", "smollm2-135m:latest")])
def test_names_that_ollama_takes(stem, name) -> None:
    assert ollama.model_name(Path(f"{stem}.gguf")) == name


@pytest.fixture
def fake_ollama(tmp_path, monkeypatch):
    """`fake_ollama("exit 1")`: a program `ollama` first on PATH that writes down its arguments, and does this."""
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools) + os.pathsep + os.environ["PATH"])

    def make(words: str) -> Path:
        script = tools / "ollama"
        script.write_text(f'#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done > "{tools}/said"\n{words}\n')
        script.chmod(0o755)
        return tools / "said"

    return make


@pytest.mark.skipif(os.name == "nt", reason="the fake is a shell script")
class TestOllamaCreate:
    def test_it_is_run_with_the_modelfile(self, tmp_path, fake_ollama) -> None:
        said = fake_ollama("cat \"$4\" > /dev/null && echo success")
        path = gguf(tmp_path / "with a space" / "desk-Q8_0.gguf", ZEPHYR)
        text, _ = ollama.modelfile(path, 512)
        assert ollama.create(path, "desk:q8_0", text) == "ollama run desk:q8_0"
        modelfile = path.with_suffix(".Modelfile")
        assert said.read_text().splitlines() == ["create", "desk:q8_0", "-f", str(modelfile)]
        assert modelfile.read_text("utf-8") == text

    def test_it_says_what_ollama_says(self, tmp_path, fake_ollama) -> None:
        fake_ollama('printf "copying\\r\\033[31mError: could not connect to ollama server\\033[0m\\n" >&2; exit 1')
        path = gguf(tmp_path / "m.gguf", ZEPHYR)
        with pytest.raises(UserError) as caught:
            ollama.create(path, "m:latest", "FROM x\n")
        assert "could not connect to ollama server" in caught.value.why and "\x1b" not in caught.value.why

    def test_cancel_ends_it(self, tmp_path, fake_ollama) -> None:
        fake_ollama("exec sleep 600")
        with pytest.raises(UserError, match="stopped"):
            ollama.create(gguf(tmp_path / "m.gguf", ZEPHYR), "m:latest", "FROM x\n", cancelled=lambda: True)

    def test_without_ollama_it_says_so(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert ollama.program() is None
        with pytest.raises(UserError, match="isn't installed"):
            ollama.create(gguf(tmp_path / "m.gguf", ZEPHYR), "m:latest", "FROM x\n")


@pytest.fixture
def run(studio_home, tmp_path):
    """`run("Pune helpdesk", rank=16)`: a finished run with an adapter and one export."""
    def make(name: str = "Pune helpdesk", parent: Path | None = None, **adapter):
        base = model_files.write_model(tmp_path / "base model")
        job = folder.create(RunConfig(name=name, model=str(base), train_file="rows.jsonl"), parent)
        files.write_atomically(job.folder / folder.ADAPTER / "adapter_config.json",
                               files.dump_pretty({"r": 16, "rank_pattern": {}, **adapter}))
        gguf(job.folder / folder.EXPORTS / f"{folder.slug(name)}-Q8_0.gguf", ZEPHYR)
        return folder.summarise(job.folder)

    return make


def by_program(run, system="posix") -> dict[str, recipes.Recipe]:
    return {recipe.program: recipe for recipe in recipes.recipes(recipes.find(run.exports()[0], run), system)}


def test_vllm_serves_the_adapter_on_its_base(run, tmp_path) -> None:
    found = run(r=12, rank_pattern={"q_proj": 40})
    model_files.write_model(found.folder / folder.EXPORTS / "pune-helpdesk-merged")  # its weights are rounded
    words = shlex.split(by_program(found)["vllm"].text)
    assert words == [
        "vllm", "serve", str(tmp_path / "base model"), "--enable-lora", "--lora-modules",
        f"pune-helpdesk={found.folder / 'adapter'}", "--max-lora-rank", "64", "--max-model-len", "2048", "--host",
        "127.0.0.1", "--chat-template", str(tmp_path / "base model" / "chat_template.jinja")]


def test_vllm_takes_the_merged_folder_where_it_cannot_serve_the_adapter(run) -> None:
    found = run("राशन कार्ड", use_dora=True)
    merged = model_files.write_model(found.folder / folder.EXPORTS / "राशन-कार्ड-merged")
    assert shlex.split(by_program(found)["vllm"].text) == [
        "vllm", "serve", str(merged), "--served-model-name", "राशन-कार्ड", "--max-model-len", "2048", "--host",
        "127.0.0.1", "--chat-template", str(merged / "chat_template.jinja")]


def test_the_exported_adapter_comes_before_the_runs_own(run, tmp_path) -> None:
    found = run(parent=tmp_path / "a=b")
    shutil.copytree(found.folder / "adapter", found.folder / "exports" / "pune-helpdesk-adapter")
    words = shlex.split(by_program(found)["vllm"].text)
    module = json.loads(words[words.index("--lora-modules") + 1])  # the sign "=" would cut NAME=PATH
    assert module == {"name": "pune-helpdesk", "path": str(found.folder / "exports" / "pune-helpdesk-adapter")}


@pytest.mark.parametrize(("adapter", "why"), [({"use_dora": True}, "DoRA"), ({"modules_to_save": ["lm_head"]}, "whole"),
                                              ({"r": 1024}, "1024")])
def test_adapters_that_vllm_cannot_serve(run, adapter, why) -> None:
    problem = by_program(run(**adapter))["vllm"].problem
    assert problem is not None and why in problem.why and "MERGED" in problem.remedy


def test_a_file_alone_has_no_recipe_for_vllm(tmp_path) -> None:
    found = {each.program: each for each in recipes.recipes(recipes.find(gguf(tmp_path / "m-F16.gguf", ZEPHYR)))}
    assert found["vllm"].problem is not None and found["ollama"].problem is None


def test_a_template_that_ollama_cannot_have_spares_the_others(tmp_path) -> None:
    path = gguf(tmp_path / "m-F16.gguf", "{% for m in messages %}{{ loop.index }}{{ m.content }}{% endfor %}")
    found = {each.program: each for each in recipes.recipes(recipes.find(path))}
    assert "differently" in found["ollama"].problem.why and found["llama.cpp"].text and found["lm-studio"].text


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_llama_server_is_started_with_a_key_that_only_its_owner_reads(run, tmp_path) -> None:
    found = run("राशन कार्ड")
    (found.folder / folder.EXPORTS / "राशन-कार्ड-lora.gguf").write_bytes(b"GGUF")
    recipe = by_program(found)["llama.cpp"]
    key, _, command = recipe.text.splitlines()
    assert shlex.split(command) == ["llama-server", "-m", str(found.exports()[0]), "-c", "2048", "--host", "127.0.0.1",
                                    "--port", "8080", "--jinja", "--api-key-file", "llama-server.key"]
    subprocess.run(["/bin/sh", "-c", key], cwd=tmp_path, check=True)
    made = tmp_path / "llama-server.key"
    assert len(made.read_text().strip()) > 40 and stat.S_IMODE(made.stat().st_mode) == 0o600
    assert "--lora" in recipe.notes[1]


class TestLmStudio:
    @pytest.fixture
    def place(self, tmp_path, monkeypatch) -> Path:
        monkeypatch.setattr(Path, "home", lambda: tmp_path / "me")
        (tmp_path / "me").mkdir()
        return tmp_path / "me" / ".lmstudio" / "models" / "slm-studio" / "desk" / "desk-Q8_0.gguf"

    def test_a_link_takes_no_room_and_is_made_once(self, tmp_path, place) -> None:
        source = gguf(tmp_path / "desk-Q8_0.gguf", ZEPHYR)
        assert recipes.put(source) == (place, False)
        assert place.samefile(source) and recipes.put(source) == (place, False)
        assert list(place.parent.iterdir()) == [place]

    def test_an_older_file_is_replaced(self, tmp_path, place) -> None:
        place.parent.mkdir(parents=True)
        place.write_text("old")
        assert recipes.put(gguf(tmp_path / "desk-Q8_0.gguf", ZEPHYR))[0].read_bytes()[:4] == b"GGUF"

    def test_the_pointer_file_is_followed(self, tmp_path, place) -> None:
        (tmp_path / "me" / ".lmstudio-home-pointer").write_text(str(tmp_path / "elsewhere"))
        assert recipes.target(Path("desk-Q8_0.gguf")).is_relative_to(tmp_path / "elsewhere" / "models")

    @pytest.fixture
    def no_links(self, monkeypatch):
        def refuse(*_: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)

    def test_another_disk_gets_a_copy(self, tmp_path, place, no_links) -> None:
        source, told = gguf(tmp_path / "desk-Q8_0.gguf", ZEPHYR), []
        assert recipes.put(source, lambda done, total: told.append((done, total))) == (place, True)
        assert place.read_bytes() == source.read_bytes() and told[-1] == (source.stat().st_size,) * 2

    def test_a_cancelled_copy_leaves_nothing(self, tmp_path, place, no_links) -> None:
        with pytest.raises(UserError, match="cancelled"):
            recipes.put(gguf(tmp_path / "desk-Q8_0.gguf", ZEPHYR), cancelled=lambda: True)
        assert list(place.parent.iterdir()) == []

    def test_a_full_disk_is_said_before(self, tmp_path, place, no_links, monkeypatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 10, 10))
        with pytest.raises(UserError, match="isn't enough space"):
            recipes.put(gguf(tmp_path / "desk-Q8_0.gguf", ZEPHYR))
        assert list(place.parent.iterdir()) == []

    def test_a_folder_that_is_none_is_said(self, tmp_path, place) -> None:
        (tmp_path / "me" / ".lmstudio").write_text("a file")
        with pytest.raises(UserError, match="LM Studio's folder"):
            recipes.put(gguf(tmp_path / "desk-Q8_0.gguf", ZEPHYR))


def test_a_run_without_a_finished_file_is_refused(tmp_path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError):
        recipes.find(tmp_path / "m.gguf")
