"""`slmstudio chat` as a person types it: with files, and with runs, finished or not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support import evaluated_runs, gguf_models, starter

from slmstudio.core.chat.conversation import Conversation
from slmstudio.core.jobs import processes
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig


@pytest.fixture
def chat(slmstudio):
    return partial(slmstudio, "chat", starter.gguf())


def test_asked_once(chat) -> None:
    answer = chat("--prompt", "What is the capital of India?", "--temperature", 0, "--json", "--stop", "al of Ind",
                  "--context", 512).json
    assert answer["reply"] == "The capit" and answer["reason"] == "stop_string"
    assert answer["context_length"] == 512 and answer["seconds_to_first_token"] > 0


def test_wrong_settings_are_refused_all_at_once(chat) -> None:
    said = chat("--prompt", "x", "--temperature", 9, "--top-p", 2, status=2).err
    assert "temperature" in said and "top_p" in said


@pytest.mark.full
def test_a_conversation_with_commands(chat, tmp_path) -> None:
    typed = ["/help", "What is the capital of India?", "/regenerate", "//slash", "/set top_k x", "/set max_tokens 5",
             "/system You are a pirate.", "/dance", f"/save {tmp_path / 'talk'}", "/new", "/regenerate", "/quit", "no"]
    done = chat("--temperature", 0, "--max-tokens", 12, typed="\n".join(typed))
    for said in ("/regenerate", "The capital of India is", "You are a pirate."):
        assert said in done.out
    for said in ("'x' isn't a whole number", "/dance isn't a command here", "You haven't asked anything yet"):
        assert said in done.err
    tree = Conversation.read(tmp_path / "talk.json").lanes[0].tree
    first = tree.path()
    assert len(tree.siblings(first[1])) == 2 and first[2].content == "/slash"
    assert "## You\n\n/slash" in (tmp_path / "talk.md").read_text("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C of another console")
def test_control_c_ends_the_answer_and_not_the_program(studio_home) -> None:
    command = [sys.executable, "-m", "slmstudio", "chat", str(starter.gguf()), "--max-tokens", "3000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env=processes.worker_environment()) as talk:
        assert talk.stdin is not None and talk.stdout is not None
        talk.stdin.write(b"Tell a very long story about a river, with many people in it.\n")
        talk.stdin.flush()
        assert len(talk.stdout.read(8)) == 8
        talk.send_signal(signal.SIGINT)
        talk.stdin.write(b"/set seed 3\n/quit\n")
        talk.stdin.flush()
        rest = talk.stdout.read().decode()
    assert talk.returncode == 0 and "seed is now 3." in rest and len(rest.split()) < 1500


def test_a_file_that_is_none(told, tmp_path) -> None:
    path = tmp_path / "x.gguf"
    path.write_text("Hello")
    assert told("chat", path, "--prompt", "x", status=2)["error"]["what"] == "x.gguf isn't a GGUF file."
    assert Path(path).exists()


QUESTION = "Where do I report a broken street light?"


@pytest.fixture
def helpdesk(studio_home: Path, tiny_model: Path) -> Path:
    return evaluated_runs.ended_run("helpdesk", tiny_model)


def unfinished(model: Path, **fields: Any) -> Path:
    return folder.create(RunConfig(name="cut off", model=str(model), train_file="rows.jsonl", **fields)).folder


@pytest.fixture
def refused(told):
    """`refused(words…)`: why the chat doesn't begin."""

    def call(*words: object) -> str:
        error = told("chat", *words, "--prompt", "x", status=2)["error"]
        return " ".join((error["what"], error["why"], error["remedy"]))

    return call


@pytest.mark.parametrize("named", ["helpdesk", "folder", "adapter"])
def test_a_run_is_named_in_each_way(told, helpdesk: Path, play, named: str) -> None:
    play("")
    (helpdesk / "exports").mkdir()
    export = helpdesk / "exports" / "helpdesk-Q8_0.gguf"
    export.write_bytes(b"GGUF")
    typed = {"folder": str(helpdesk), "adapter": str(helpdesk / "adapter")}.get(named, named)
    said = told("chat", typed, "--prompt", QUESTION)
    assert said["model"] == str(helpdesk if named == "adapter" else export) and QUESTION in said["reply"]
    assert "base" not in said


def test_its_base_answers_beside_it(cli, told, helpdesk, tiny_model: Path, play, monkeypatch, tmp_path: Path) -> None:
    play("")
    typed = iter([QUESTION, "/regenerate", f"/save {tmp_path / 'talk'}", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    said = cli("chat", "helpdesk", "--base")
    assert said.out.count("[helpdesk]") == said.out.count("[tiny]") == 2 and said.out.count(QUESTION) == 4
    assert "helpdesk: On the RTX 3060" in said.err
    lanes = Conversation.read(tmp_path / "talk.json").lanes
    assert [lane.model for lane in lanes] == [str(helpdesk), str(tiny_model)]
    assert [len(lane.tree.siblings(lane.turns[1])) for lane in lanes] == [2, 2]
    assert told("chat", "helpdesk", "--base", "--prompt", QUESTION)["base"]["model"] == str(tiny_model)


def test_what_cannot_be_talked_to_is_told_with_a_remedy(refused, helpdesk: Path, tiny_model: Path) -> None:
    cut = unfinished(tiny_model)
    said = refused(str(cut))
    assert "cut off has no result yet." in said and f"train {cut}" in said
    assert "neither a run nor a model called “helpdsk”" in (said := refused("helpdsk"))
    assert "Did you mean: helpdesk?" in said and said.endswith("runs")
    assert "--gpu-layers is for GGUF files" in (said := refused("helpdesk", "--gpu-layers", "3"))
    assert f"export {helpdesk}" in said
    assert "no base model that can answer too" in refused(str(tiny_model), "--base")


@pytest.mark.full
@pytest.mark.timeout(180)
def test_a_real_run_and_one_that_was_cut_off(cli, helpdesk: Path, tiny_model: Path) -> None:
    gguf_models.adapter_on(tiny_model, helpdesk / "adapter", lora_alpha=64)
    ask = ["--prompt", QUESTION, "--temperature", "0", "--max-tokens", "12", "--context", "256", "--json"]
    tuned = cli("chat", "helpdesk", *ask, "--base").json
    assert tuned["completion_tokens"] and tuned["context_length"] == 256
    assert tuned["reply"] != tuned["base"]["reply"]
    cut = unfinished(tiny_model)
    for step in (20, 40):
        with checkpoints.writing(cut / folder.CHECKPOINTS, step, None) as place:
            gguf_models.adapter_on(tiny_model, place, lora_alpha=64)
    (cut / folder.CHECKPOINTS / "step-000040" / "adapter_config.json").write_text("{}")
    said = cli("chat", "cut off", *ask)
    assert "so this is its checkpoint of step 20." in said.err
    assert said.json["reply"] == tuned["reply"]
