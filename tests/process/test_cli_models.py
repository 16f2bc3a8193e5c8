"""Base models in the terminal: listed, fetched, vetted and imported; and the token that nobody else gets to see."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support import crafted_models, download_trial, model_files, model_hub
from support import gguf_models as models
from support.tiers import first_fast

from slmstudio.cli import commands
from slmstudio.core import paths, settings
from slmstudio.core.jobs import new
from slmstudio.core.model import library
from slmstudio.core.model.hub import place, token
from slmstudio.core.run import folder


def test_the_list_is_filtered_and_says_what_fits(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    shown = cli("models", "list", "sarvam", "--language", "Hindi").out
    assert "On disk: none" in shown
    (row,) = [line for line in shown.splitlines() if "Sarvam-1" in line]
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells[:5] == ["Sarvam-1", "2.53 B", "11, with Hindi", "Sarvam non-commercial", "about 4.7 GB"]
    assert cells[5].startswith(("fits", "needs", "tight", "slow"))
    assert "models get NAME" in shown


def test_without_a_word_it_lists_everything_and_json_is_the_last_line(cli):
    state = cli("models", "--json", "--licence", "research", "--measure-disk").json
    assert [model["name"] for model in state["catalogue"]] == [
        "Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-3B-Instruct", "sarvamai/sarvam-1", "LGAI-EXAONE/EXAONE-4.0-1.2B"]
    assert state["on_disk"] == state["unreadable"] == []
    assert state["advice"][-1].startswith("The disk for runs writes ")


def test_with_rows_each_model_says_how_long_it_takes_for_them(cli, rows_file):
    state = cli("models", "list", "qwen2.5", "--data", rows_file, "--json").json
    seconds = {model["title"]: (model["seconds_low"], model["seconds_high"]) for model in state["catalogue"]}
    small, large = (seconds[f"Qwen2.5 {size}"] for size in ("0.5B", "7B"))
    assert 0 < small[0] < small[1] and small[0] < large[0] and small[1] < large[1]
    usual = cli("models", "list", "qwen2.5", "--json").json["catalogue"][0]
    assert usual["seconds_low"] != seconds[usual["title"]][0], "those are of a usual dataset"


def test_an_unknown_language_is_refused_with_the_nearest(cli):
    assert cli("models", "--language", "Hindy", "--json", status=2).json["error"]["remedy"] == "Did you mean 'Hindi'?"


def test_a_model_is_recommended_for_a_file(cli, rows_file):
    state = cli("models", "recommend", "--data", rows_file, "--json").json
    assert state["languages"] == ["en", "hi"] and state["recommended"]["problem"] == ""
    assert state["recommended"]["seconds_low"] > 0 and len(state["models"]) > 50
    shown = cli("models", "recommend", "--data", rows_file).out
    assert "rows in English and Hindi on this machine" in shown and state["recommended"]["title"] in shown


REPO = download_trial.REPO
SECRET = "hf_ATokenThatNobodyElseMaySee"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return model_hub.repository(tmp_path_factory.mktemp("repository"), 6_500)


@pytest.fixture
def hub(files, studio_home, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with model_hub.serving({REPO: files}) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


@pytest.fixture
def run(cli):
    """`run(words…)`: what a command prints: its JSON, and stderr."""

    def call(*words: object, status: int = 0) -> tuple[dict, str]:
        said = cli(*words, "--json", status=status)
        return said.json, said.err

    return call


def test_a_model_is_got_and_then_named_wherever_a_model_is_asked_for(hub, run, rows_file, tmp_path):
    error, _ = run("plan", "--model", REPO, "--data", rows_file, "--out", tmp_path / "run.json", status=2)
    assert f"models get {REPO}" in error["error"]["remedy"]
    result, said = run("models", "get", f"{REPO}@main")
    folder = paths.models_dir() / "some-megabytes"
    assert (result["outcome"], result["path"], result["fetched"]) == ("finished", str(folder), True)
    assert result["problem"] is None and result["resume"] is None and "models get: looking up the model" in said
    hub.stop()
    for name in (REPO, "some-megabytes"):
        plan, _ = run("plan", "--model", name, "--data", rows_file, "--out", tmp_path / "run.json")
        assert plan["config"]["model"] == str(folder)
    assert run("models", "get", REPO)[0]["fetched"] is False
    assert run("models", "get")[0] == {"unfinished": []}


def test_what_cannot_be_got_is_a_sentence_with_status_2(hub, run):
    assert "isn't the name of a model" in run("models", "get", "../x", status=2)[0]["error"]["what"]
    error, _ = run("models", "get", REPO, "--endpoint", "hub", status=2)
    assert "can't be used as the address" in error["error"]["what"]
    hub.stop()
    result, said = run("models", "get", REPO, status=2)
    assert result["outcome"] == "failed" and "The hub can't be reached" in result["error"]["why"]
    assert f"error: {REPO} couldn't be downloaded." in said and re.search(f"models get {REPO}$", result["resume"])
    assert re.search("models get gpt2 --revision 607a30d$", run("models", "get", "gpt2@607a30d", status=2)[0]["resume"])


def test_what_was_begun_at_another_hub_is_fetched_from_there(hub, run):
    for name, endpoint in (("here", hub.url), ("there", "https://hub.example")):
        place.write_record(paths.models_dir() / f".{name}.partial", f"acme/{name}", None, endpoint=endpoint)
    here, there = run("models", "get")[0]["unfinished"]
    assert here["resume"].endswith("models get acme/here")
    assert there["resume"].endswith("models get acme/there --endpoint https://hub.example")


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C is sent as a signal")
def test_ctrl_c_pauses_and_the_command_that_is_told_fetches_the_rest(hub, run, files):
    hub.pace = 0.05
    process = subprocess.Popen([sys.executable, "-m", "slmstudio", "models", "get", REPO], stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent.parent)
    while not any(name == "model.safetensors" for name, _ in hub.asked_for):
        assert process.poll() is None and not hub.go_on.wait(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "Pausing: what was downloaded is kept." in said
    told = re.search(r"Paused\. What was downloaded is kept: .* of .*\.\n"
                     r"Download the rest with: .*(models get .*)\n", said)
    assert told is not None and told[1] == f"models get {REPO}"
    [begun] = run("models", "get")[0]["unfinished"]
    assert begun["repo"] == REPO and 0 < begun["bytes"] < begun["total"] and begun["resume"].endswith(told[1])
    hub.pace = 0.0
    assert run(*told[1].split())[0]["fetched"] is True


def test_the_token_is_kept_and_never_shown(cli, hub, run, monkeypatch):
    assert run("models", "token") == ({"endpoint": hub.url, "token": False, "where": None, "removed": None}, "")
    monkeypatch.setattr(sys, "stdin", io.StringIO(SECRET + "\n"))
    kept, _ = run("models", "token", "--set")
    assert kept == {"endpoint": hub.url, "token": True, "where": "file", "removed": None}
    said = cli("models", "token")
    assert "in a file that only you can read" in said.out and SECRET not in said.out + said.err + json.dumps(kept)
    assert run("models", "token", "--remove")[0]["removed"] is True
    assert run("models", "token", "--remove")[0]["removed"] is False
    assert run("models", "token", "--set", "--remove", status=2)


def test_the_token_is_in_no_argument_no_file_and_no_word_of_a_job(hub, files):
    hub.gate, hub.pace = SECRET, 0.02
    token.save(hub.url, SECRET)
    job = new.download(REPO)
    job.start()
    lines: set[str] = set()
    while not any(name == "model.safetensors" for name, _ in hub.asked_for):
        assert job.outcome() is None and not hub.go_on.wait(0.01)
    for process in psutil.process_iter(["cmdline"]):
        lines.update(process.info["cmdline"] or ())
    assert any("fetch_child" in line for line in lines), "the child was looked at"
    hub.pace = 0.0
    outcome = job.wait(lambda event: None)
    assert outcome.state == "finished" and hub.headers[-1]["authorization"] == f"Bearer {SECRET}"
    hub.gate = "another one"
    outcome = (refused := new.download("acme/other")).start() or refused.wait(lambda event: None)
    assert outcome.state == "failed" and "doesn't accept the token" in outcome.error["why"]
    written = [path for path in paths.home().rglob("*") if path.is_file()]
    assert {"request.json", "events.jsonl", "worker.log", "outcome.json", "fetch_child.request.json"} <= {
        path.name for path in written if path.parent == job.folder}
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
    assert not [line for line in lines if SECRET in line]
    assert SECRET not in json.dumps([outcome.error, outcome.details, dict(os.environ)])


SLACK = 2 * model_hub.PIECE
"""Bytes that a kill of a download may find on their way."""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
@pytest.mark.parametrize("kills", first_fast([2, 20]))
@pytest.mark.timeout(600)
def test_a_download_that_is_killed_at_any_moment_loses_nothing(kills, studio_home, tmp_path, monkeypatch):
    repository = model_hub.repository(tmp_path / "repository", download_trial.WIDTH)
    with model_hub.serving({REPO: repository}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        hub.pace = 0.01
        report = download_trial.run(hub, kills)
    assert report.faults == []
    assert report.kills == kills and report.in_files >= kills // 2 and report.models >= 1
    assert report.size <= report.served <= report.size + kills * SLACK


def test_a_model_that_can_be_used(cli, tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "m")
    (folder / "optimizer.pt").write_bytes(pickle.dumps({}))
    said = cli("models", "vet", folder)
    lines = said.out.splitlines()
    assert len(lines) == 10 and all(line.startswith("✓ ") for line in lines)
    assert said.err.startswith("warning: The folder also contains Python pickles") and "optimizer.pt" in said.err


def test_a_model_that_is_refused(cli, tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "m", {"configuration_files": ["config.4.0.0.json"], "rope_theta": 0})
    said = cli("models", "vet", folder, status=2)
    refused = [line for line in said.out.splitlines() if line.startswith("✗ ")]
    assert len(refused) == 2 and "configuration_files" in refused[0] and "rope_theta" in refused[1]
    assert [line.split()[1] for line in said.err.splitlines()] == ["configuration_files", "rope_theta"]


def test_as_json(told, tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "m", template=None)
    found = told("models", "vet", folder)
    assert (found["passed"], found["problems"], len(found["warnings"])) == (True, [], 1)
    assert found["checks"][0] == {"name": "files", "passed": True, "sentence":
                                  "The folder contains 4 files, and none of them leads out of the folder."}
    assert "doesn't exist" in told("models", "vet", tmp_path / "nowhere", status=2)["problems"][0]["message"]


def test_a_plan_is_made_of_vetted_models_alone(cli, tmp_path: Path) -> None:
    folder, rows = crafted_models.honest(tmp_path / "m", {"eos_token_id": 9_999}), tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Q", "output": "A"}\n')
    assert "eos_token_id is 9,999" in cli(
        "plan", "--model", folder, "--data", rows, "--out", tmp_path / "r.json", status=2).err


def test_a_tokenizer_of_another_model_is_refused_until_it_is_accepted(tmp_path: Path,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    folder, rows = crafted_models.honest(tmp_path / "m", {"eos_token_id": 271}), tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Q", "output": "A"}\n' * 20)
    plan = ["plan", "--model", str(folder), "--data", str(rows), "--out", str(tmp_path / "r.json")]
    assert commands.main(plan) == commands.main(["models", "vet", str(folder)]) == 2
    assert capsys.readouterr().err.count("--accept-tokenizer") == 2
    assert commands.main(["models", "vet", "--accept-tokenizer", str(folder)]) == 0 == commands.main(plan)


ADAPTER = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "acme/tiny"}


def adapter(path: Path) -> Path:
    path.mkdir()
    start = "base_model.model.model.layers.0.self_attn.q_proj"
    (path / "adapter_config.json").write_text(json.dumps(ADAPTER))
    (path / "adapter_model.safetensors").write_bytes(model_files.safetensors(
        {f"{start}.lora_A.weight": ("F32", (2, 8)), f"{start}.lora_B.weight": ("F32", (8, 2))}))
    return path


def test_a_folder_is_remembered(told, tmp_path) -> None:
    model = crafted_models.honest(tmp_path / "tiny")
    found = told("models", "import", model)
    assert (found["kind"], found["folder"], found["has_chat_template"]) == ("model", str(model), True)
    assert settings.load()[0].model_folders == [str(model)] and library.local_models() == [model]


def test_an_adapter_becomes_a_run(cli, told, studio_home, tmp_path) -> None:
    base, made = crafted_models.honest(tmp_path / "tiny"), adapter(tmp_path / "helper")
    assert "acme/tiny, which isn't on this machine" in cli("models", "import", made, status=2).err
    cli("models", "import", base)
    (made / "chat_template.jinja").write_text("{{ messages }}")
    found = told("models", "import", made, "--name", "Help desk")
    assert (found["base"], found["rank"], found["alpha"]) == (str(base), 2, 4.0)
    assert "differs from its base model's" in found["warning"]
    run = folder.summarise(Path(found["run_dir"]))
    assert (run.config.name, run.state, run.folder.parent) == ("Help desk", "finished", studio_home / "runs")
    cli("models", "import", made, "--base", base)


def test_what_cannot_be_imported_is_said(cli, tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("shopping")
    for words, said in (([], "Give either a file or folder"), ([str(tmp_path / "gone")], "doesn't exist"),
                        ([str(tmp_path / "notes.txt")], "is a single file"),
                        (["--starter", "gemma-3-270m"], "must be accepted first"),
                        (["--starter", "gemma"], "no starter model 'gemma'")):
        assert said in cli("models", "import", *words, status=2).err
    (tmp_path / "m.gguf").write_bytes(model_files.small_gguf())
    for words, said in ((["--starter", "gemma-3-270m", "--name", "x"], "Leave out --name and --base"),
                        (["--starter", "gemma-3-270m", "--base", "x"], "Leave out --name and --base"),
                        ([str(tmp_path / "m.gguf"), "--base", "x"], "Leave out --base")):
        assert said in cli("models", "import", *words, status=2).err
    said = cli("models", "import", tmp_path / "m.gguf", "--name", "../up", status=2).err
    assert "can't be used as a model's name" in said


def split(source: Path, parent: Path) -> Path:
    """The same model in two files; returns the first."""
    import gguf
    from gguf.scripts.gguf_new_metadata import copy_with_new_metadata

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(parent / "parts.gguf", "llama", split_max_tensors=len(reader.tensors) // 2 + 1)
    copy_with_new_metadata(reader, writer, {}, [])
    return parent / "parts-00001-of-00002.gguf"


@pytest.mark.full
@pytest.mark.timeout(300)
def test_gguf_files_are_unpacked(cli, tmp_path) -> None:
    """With an ending, as Ollama calls them, and in parts: the weights are the same, whatever lies beside them."""
    source = models.exported_run()[1]["F16"]
    blob = tmp_path / "sha256-0a1b2c"
    shutil.copy(source, blob)
    for stray in ("adapter_config.json", "config.json", "tokenizer_config.json"):
        (tmp_path / stray).write_text(json.dumps({"base_model_name_or_path": str(tmp_path / "gone"), "model_type": "x",
                                                  "tokenizer_class": "Gone"}))
    made = {}
    for file in (source, blob, split(source, tmp_path)):
        said = cli("models", "import", file, "--json")
        assert "Its weights are F16" in said.err and "2 bytes per weight" in said.err
        state = said.json
        made[Path(state["folder"]).name] = (Path(state["folder"]) / "model.safetensors").read_bytes()
    assert list(made) == [source.stem, "pune-helpdesk", "parts"]
    assert len(set(made.values())) == 1
