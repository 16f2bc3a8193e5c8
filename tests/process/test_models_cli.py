"""Base models in the terminal: fetched, paused, found by name; and the token that nobody else gets to see."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support import download_trial, model_hub

from slmstudio.cli import commands
from slmstudio.core import paths
from slmstudio.core.jobs import new
from slmstudio.core.model.hub import place, token

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
def run(capsys):
    """`run(words…)`: what a command prints: its JSON, and stderr."""

    def call(*words: object, status: int = 0) -> tuple[dict, str]:
        assert commands.main([*map(str, words), "--json"]) == status
        said = capsys.readouterr()
        return json.loads(said.out.splitlines()[-1]), said.err

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


def test_the_token_is_kept_and_never_shown(hub, run, monkeypatch, capsys):
    assert run("models", "token") == ({"endpoint": hub.url, "token": False, "where": None, "removed": None}, "")
    monkeypatch.setattr(sys, "stdin", io.StringIO(SECRET + "\n"))
    kept, _ = run("models", "token", "--set")
    assert kept == {"endpoint": hub.url, "token": True, "where": "file", "removed": None}
    assert commands.main(["models", "token"]) == 0
    said = capsys.readouterr()
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
