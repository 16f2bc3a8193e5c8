"""Pipes, devices, sockets and folders where a file belongs: each command ends with a sentence, and none waits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import tiers
from support.report_run import ReportRun
from support.tiers import first_fast

from slmstudio.cli import commands
from slmstudio.core import files
from slmstudio.core.errors import NotAFile, from_os_error

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(os.name == "nt", reason="no pipes in the file system here")]
SECONDS = 60
"""No command needs that long, and what waits for a pipe waits forever."""
KINDS = ("pipe", "socket", "device", "folder")
WORDS = ("pipe", "socket", "device", "folder", "isn't", "is not", "neither", "no such", "not a ", "cannot", "can't")


@pytest.fixture(scope="module")
def special(tmp_path_factory) -> Iterator[dict[str, Path]]:
    place = tmp_path_factory.mktemp("s")
    os.mkfifo(place / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "socket"))
        (place / "folder").mkdir()
        yield {"pipe": place / "pipe", "socket": place / "socket", "folder": place / "folder",
               "device": Path("/dev/zero")}


@pytest.fixture
def call(capsys, monkeypatch, studio_home):
    """Exit status and sentences of a command that has a minute."""
    def late(*_: object) -> None:
        raise AssertionError(f"it waits, {SECONDS} s by now")

    before = signal.signal(signal.SIGALRM, late)

    def run(*words: object) -> tuple[int, str]:
        signal.alarm(SECONDS)
        try:
            status = commands.main([*map(str, words)])
        finally:
            signal.alarm(0)
        return status, capsys.readouterr().err

    yield run
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files_are_opened(special, kind, tmp_path) -> None:
    link = tmp_path / "link"
    link.symlink_to(special[kind])
    for path in (special[kind], link):
        with pytest.raises(NotAFile) as caught:
            files.read_bytes(path)
        assert f"It is a {kind}, not a file." in str(from_os_error(caught.value, "Could not read it."))
        with pytest.raises(NotAFile):
            files.append_line(path, {})
        with pytest.raises(NotAFile):
            files.write_atomically(path, "what would replace the device")
        with pytest.raises(NotAFile):
            list(files.LineReader(path).read())
        assert files.read_json(path) is None
    file = tmp_path / "file"
    file.write_text("fine")
    (tmp_path / "to file").symlink_to(file)
    assert files.read_text(tmp_path / "to file") == "fine"
    assert stat.S_ISCHR(os.stat("/dev/zero").st_mode)


STARTING = ("parity", "chat")
"""Those that start a worker first, which takes its time."""
FILES = {
    "check": ("data", "check", "X"), "clean": ("data", "clean", "X", "--out", "OUT", "--fix", "empty"),
    "convert": ("data", "convert", "X", "--out", "OUT"), "split": ("data", "split", "X", "--out", "OUT"),
    "mix": ("data", "mix", "X=1", "--out", "OUT"), "plan": ("plan", "--model", "MODEL", "--data", "X", "--out", "OUT"),
    "plan, test": ("plan", "--model", "MODEL", "--data", "ROWS", "--test", "X", "--out", "OUT"),
    "plan, model": ("plan", "--model", "X", "--data", "ROWS", "--out", "OUT"),
    "estimate": ("estimate", "--model", "X"), "train": ("train", "X"), "code": ("code", "X", "--out", "OUT"),
    "fit-check": ("fit-check", "X"), "queue": ("queue", "add", "X"), "export": ("export", "X"),
    "parity": ("parity", "MODEL", "X"), "chat": ("chat", "X", "--prompt", "Hello"), "serve": ("serve", "X"),
    "evaluate": ("evaluate", "MODEL", "--test", "X"), "evaluate, model": ("evaluate", "X", "--test", "ROWS"),
    "evaluate, against": ("evaluate", "MODEL", "--test", "ROWS", "--against", "X"),
    "rubric": ("evaluate", "MODEL", "--test", "ROWS", "--judge", "MODEL", "--rubric", "X"),
    "report": ("report", "X"), "compare": ("compare", "X", "X"), "rename": ("runs", "rename", "X", "name"),
    "continue": ("continue", "X", "--out", "OUT"), "vet": ("models", "vet", "X"), "import": ("models", "import", "X"),
    "import, base": ("models", "import", "ROWS", "--base", "X")}


@pytest.mark.parametrize("command", [
    pytest.param(each, marks=pytest.mark.full) if each in STARTING else each for each in FILES])
def test_a_command_that_is_given_one_says_so(call, special, tiny_model, rows_file, tmp_path, command) -> None:
    for kind in ("pipe", "device"):
        said = {"X": special[kind], "X=1": f"{special[kind]}=1", "MODEL": tiny_model, "ROWS": rows_file,
                "OUT": tmp_path / "out" / "file.json"}
        status, error = call(*(said.get(word, word) for word in FILES[command]))
        assert status == 2, (kind, error)
        assert "Traceback" not in error and any(word in error.lower() for word in WORDS), (kind, error)


@pytest.mark.parametrize("name", first_fast([
    "README.md", "LICENSE", "config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja",
    "adapter_config.json", "anything.bin"]))
def test_one_in_a_models_folder_is_named(call, tmp_path, tiny_model, rows_file, name) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_model.iterdir():
        shutil.copy(path, folder)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    for words in (("models", "vet", folder), ("estimate", "--model", folder), ("models", "import", folder),
                  ("plan", "--model", folder, "--data", rows_file, "--out", tmp_path / "M.json"),
                  *((("evaluate", folder, "--test", rows_file), ("export", folder)) if tiers.full else ())):
        status, error = call(*words)
        assert status in (1, 2) and "Traceback" not in error, (words, error)
        assert (name in error and "pipe" in error) or (words[0], name) == ("evaluate", "config.json"), (words, error)


@pytest.mark.parametrize("name", first_fast(["run.json", "events.jsonl", "outcome.json", "process.json", "worker.log",
                                             "notes.json"], 3))
def test_one_in_a_runs_folder_stops_nothing(call, studio_home, name) -> None:
    run = ReportRun(studio_home / "runs" / "one").folder
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    for words in (("runs",), ("report", run), ("compare", run, run), ("runs", "rename", run, "two")):
        status, error = call(*words)
        assert status in (0, 2) and "Traceback" not in error and "SLM Studio itself" not in error, (words, error)


@pytest.mark.parametrize("name", first_fast([
    "settings.json", "queue.json", "votes.jsonl", "server.key", "measured.json"], 2))
def test_one_among_what_the_program_keeps_stops_nothing(call, studio_home, name) -> None:
    studio_home.mkdir()
    os.mkfifo(studio_home / name)
    for words in (("runs",), ("models", "list"), ("queue", "list"), ("place",)):
        status, error = call(*words)
        assert status in (0, 2) and "Traceback" not in error and "SLM Studio itself" not in error, (words, error)


@pytest.mark.parametrize("starting", first_fast([False, True]), ids=["without a worker", "in a worker"])
def test_one_in_any_other_folder_is_passed_over_or_named(call, studio_home, tmp_path, monkeypatch, tiny_model,
                                                         starting) -> None:
    """Of a dataset, a benchmark, an adapter, the person's configuration, and what other programs keep."""
    for name in ("rows/a.jsonl", "mmlu/test/anatomy_test.csv", "adapter/README.md", "config/slmstudio/place.json",
                 "config/slmstudio/hub_tokens.json", "hub/models--a--b/refs/main", "token",
                 "hub/models--a--b/snapshots/x/config.json", "ollama/manifests/registry/library/a/latest",
                 "exports/x.gguf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(tmp_path / name)
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "x"}')
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(b"x" * 100)
    for variable, place in {"XDG_CONFIG_HOME": "config", "HF_HUB_CACHE": "hub", "HF_TOKEN_PATH": "token",
                            "OLLAMA_MODELS": "ollama"}.items():
        monkeypatch.setenv(variable, str(tmp_path / place))
    for words in (("evaluate", tiny_model, "--benchmark", "mmlu", "--data", tmp_path / "mmlu"),
                  ("parity", tiny_model, tmp_path / "exports" / "x.gguf")) if starting else (
                      ("data", "check", tmp_path / "rows"), ("models", "list"), ("models", "token"),
                      ("models", "import", tmp_path / "adapter", "--base", tiny_model), ("models", "vet", "a/b")):
        status, error = call(*words)
        assert status in (0, 1, 2) and "Traceback" not in error and "SLM Studio itself" not in error, (words, error)
    monkeypatch.delenv("SLMSTUDIO_HOME")
    status, error = call("runs")
    assert status == 2 and "place.json" in error


@pytest.mark.parametrize("field", ["train_file", "eval_file", "model"])
def test_a_run_that_names_one_is_not_started(call, special, tiny_model, rows_file, tmp_path, field) -> None:
    config = {"name": "x", "model": str(tiny_model), "train_file": str(rows_file), field: str(special["pipe"])}
    (tmp_path / "M.json").write_text(json.dumps({"format": 1, "kind": "train", **config}))
    for words in (("train", tmp_path / "M.json"), ("queue", "add", tmp_path / "M.json")):
        status, error = call(*words)
        assert status == 2 and f"{field}: {special['pipe']} is neither a file nor a folder." in error, error
