"""A model is fetched from a hub: only what is needed, verified, resumed after anything."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from support import gguf_models, model_hub
from support.hub_server import COMMIT

from slmstudio.core import files, jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.model.facts import read_model
from slmstudio.core.model.hub import place
from slmstudio.core.run import time_estimate
from slmstudio.worker.download import fetch_job
from slmstudio.worker.runtime.context import Cancelled

REPO = "acme/tiny-model"
KEPT = {"README.md", "chat_template.jinja", "config.json", "model.safetensors", "source.json", "tokenizer.json",
        "tokenizer_config.json"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A model of 0.6 MB."""
    return model_hub.repository(tmp_path_factory.mktemp("repository"), 6_500)


@pytest.fixture
def hub(repository, studio_home, monkeypatch):
    with model_hub.serving({REPO: dict(repository)}) as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        yield found


def fetch(folder: Path, name: str = REPO, **request: Any) -> dict[str, Any]:
    return fetch_job.run(gguf_models.context(folder, kind="download", name=name, **request))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_a_base_model_needs_is_fetched_verified_and_said(hub, repository, tmp_path):
    result = fetch(tmp_path / "job", f"https://hub.example/{REPO}/tree/main")
    folder = paths.models_dir() / "tiny-model"
    size = sum(len(repository[name]) for name in KEPT - {"source.json"})
    assert result == {"path": str(folder), "name": "tiny-model", "repo": REPO, "commit": COMMIT, "bytes": size,
                      "fetched": True, "problem": None}
    assert names(paths.models_dir()) == {"tiny-model"} and names(folder) == KEPT
    assert all((folder / name).read_bytes() == repository[name] for name in KEPT - {"source.json"})
    assert read_model(folder).licence == "MIT" and hub.served == size
    source = json.loads((folder / "source.json").read_text())
    assert source["format"] == 1 and source["revision"] == "main" and source["endpoint"] == hub.url
    assert {entry["name"]: entry["sha256"] for entry in source["files"]} == {
        name: files.sha256_of(folder / name) for name in KEPT - {"source.json"}}
    told = [event for event in gguf_models.events(tmp_path / "job") if event["type"] == "progress"]
    assert (told[-1]["done"], told[-1]["total"], told[-1]["files_done"]) == (size, size, 6)
    hub.stop()
    again = fetch(tmp_path / "again")
    assert again == {**result, "fetched": False}, "what is here needs no network"


def test_how_fast_it_arrived_is_kept(studio_home, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_job, "LEAST_TIMED", 100)
    for arrived in (99, 100):
        partial = tmp_path / f"{arrived}"
        partial.mkdir()
        place.write_record(partial, REPO, None, COMMIT, [place.RemoteFile("a", 1000, "0" * 64, "")])
        progress = fetch_job._Progress(gguf_models.context(tmp_path / f"job-{arrived}", kind="download"), partial)
        progress.update({"total": 1000})
        (partial / "a").write_bytes(b"0" * arrived)
        progress.update({}, last=True)
    assert [(each.kind, each.units) for each in time_estimate.load()] == [(time_estimate.DOWNLOADING, 100)]


@pytest.mark.full
def test_a_model_in_several_files_is_fetched_by_its_index(hub, repository, tmp_path):
    hub.models[REPO] = model_hub.sharded(repository)
    result = fetch(tmp_path / "job")
    assert names(Path(result["path"])) == (KEPT - {"model.safetensors"}) | {
        "model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert "model-00002-of-00002.safetensors" in json.dumps(result["problem"]), "what can't be used is said"
    warned = [event["message"] for event in gguf_models.events(tmp_path / "job") if event["type"] == "warning"]
    assert warned and warned[0].startswith("It arrived complete, but can't be used as a base model: ")


def test_a_connection_that_breaks_again_and_again_is_resumed(hub, repository, tmp_path):
    hub.cut = 100_000
    folder = Path(fetch(tmp_path / "job")["path"])
    assert (folder / "model.safetensors").read_bytes() == repository["model.safetensors"]
    begins = [begin for name, begin in hub.asked_for if name == "model.safetensors"]
    assert len(begins) == -(-len(repository["model.safetensors"]) // hub.cut) and begins == sorted(begins)
    assert hub.served == sum(len(repository[name]) for name in KEPT - {"source.json"}), "nothing was sent twice"
    waits = [event["message"] for event in gguf_models.events(tmp_path / "job") if event["type"] == "warning"]
    assert waits and set(waits) == {"The connection was lost. Trying again in 0.2 s."}


def test_pause_keeps_what_has_arrived_and_cancel_does_not(hub, repository, tmp_path):
    hub.pace = 0.02
    for command in ("pause", "cancel"):
        job = gguf_models.context(tmp_path / command, kind="download", name=REPO)
        hub.asked_for.clear()
        threading.Thread(target=_send_in_the_middle, args=(hub, job.folder, command), daemon=True).start()
        partial = place.partial_of(paths.models_dir() / "tiny-model")
        if command == "cancel":
            with pytest.raises(Cancelled):
                fetch_job.run(job)
            assert names(paths.models_dir()) == set()
            break
        result = fetch_job.run(job)
        assert result["state"] == "paused" and 0 < result["bytes"] < result["total"]
        assert names(paths.models_dir()) == {partial.name}
        assert place.unfinished() == [place.Unfinished(REPO, None, result["bytes"], result["total"], partial, hub.url)]
    hub.pace, hub.served = 0.0, 0
    assert fetch(tmp_path / "whole")["fetched"]


def _send_in_the_middle(hub: model_hub.ModelHub, folder: Path, command: str) -> None:
    weights = len(hub.models[REPO]["model.safetensors"])
    partial = place.partial_of(paths.models_dir() / "tiny-model")
    while not any(weights // 4 < path.stat().st_size for path in partial.glob(".*.incomplete")):
        if hub.go_on.wait(0.01):
            return
    jobs.Job(folder).send(command)


def test_a_model_that_was_spoilt_is_made_whole_again(hub, repository, tmp_path):
    folder = Path(fetch(tmp_path / "first")["path"])
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    (folder / "config.json").unlink()
    hub.asked_for.clear()
    assert fetch(tmp_path / "second")["problem"] is None
    assert sorted(hub.asked_for) == [("config.json", 0), ("model.safetensors", 0)], "what is whole isn't fetched again"
    assert weights.read_bytes() == repository["model.safetensors"]
    (aside,) = names(folder) - KEPT
    assert aside.startswith("model.safetensors.changed-"), "somebody may have meant it"


@pytest.mark.parametrize("how", ["offline", "cancelled"])
def test_a_model_that_was_here_stays_when_it_cannot_be_fetched_again(hub, tmp_path, monkeypatch, how):
    folder = Path(fetch(tmp_path / "first")["path"])
    (folder / "config.json").write_text("{}")
    if how == "offline":
        hub.stop()
        with pytest.raises(UserError, match="couldn't be downloaded"):
            fetch(tmp_path / "second")
    else:
        monkeypatch.setattr(fetch_job, "_download", lambda job, *_: jobs.Job(job.folder).send("cancel"))
        with pytest.raises(Cancelled):
            fetch(tmp_path / "second")
    assert names(paths.models_dir()) == {"tiny-model"} and names(folder) == KEPT
    assert (folder / "config.json").read_text() == "{}"


def test_nothing_stays_of_a_model_that_can_never_be_used(hub, repository, tmp_path):
    hub.models[REPO] = {**repository, "config.json": b'{"model_type": "clip"}'}
    with pytest.raises(UserError, match="can't be used as a base model"):
        fetch(tmp_path / "job")
    assert names(paths.models_dir()) == set()


@pytest.mark.full
def test_a_model_of_another_owner_gets_a_folder_of_its_own(hub, repository, tmp_path):
    hub.models["other/tiny-model"] = repository
    first, second = fetch(tmp_path / "1"), fetch(tmp_path / "2", "other/tiny-model")
    third = fetch(tmp_path / "3", revision="v2")
    assert [found["name"] for found in (first, second, third)] == ["tiny-model", "tiny-model-other", "tiny-model-acme"]
    assert [fetch(tmp_path / "4", name)["fetched"] for name in (REPO, "other/tiny-model", f"{REPO}@v2")] == [False] * 3


@pytest.mark.full
def test_what_changed_on_the_hub_while_it_was_fetched_comes_from_one_commit(hub, repository, tmp_path):
    hub.cut, hub.pace = 50_000, 0.01
    job = gguf_models.context(tmp_path / "job", kind="download", name=REPO)
    threading.Thread(target=_send_in_the_middle, args=(hub, job.folder, "pause"), daemon=True).start()
    assert fetch_job.run(job)["state"] == "paused"
    changed = {**repository, "config.json": repository["config.json"] + b" "}
    hub.models[REPO], hub.cut, hub.pace = changed, 0, 0.0
    hub.asked_for.clear()
    folder = Path(fetch(tmp_path / "again")["path"])
    assert (folder / "config.json").read_bytes() == changed["config.json"]
    assert (folder / "model.safetensors").read_bytes() == repository["model.safetensors"]
    assert dict(hub.asked_for)["model.safetensors"] > 0, "the same weights are not begun anew"


def test_what_cannot_be_had_leaves_nothing_behind(hub, tmp_path):
    with pytest.raises(UserError, match="There is no model acme/other"):
        fetch(tmp_path / "job", "acme/other")
    hub.models[REPO] = {"model.gguf": b"GGUF"}
    with pytest.raises(UserError, match="It contains GGUF files"):
        fetch(tmp_path / "job")
    assert names(paths.models_dir()) == set() and hub.asked_for == []


def test_two_jobs_do_not_fetch_one_model(hub, tmp_path):
    hub.pace = 0.02
    job = gguf_models.context(tmp_path / "first", kind="download", name=REPO)
    said: list[str] = []

    def second() -> None:
        while not hub.asked_for and not hub.go_on.wait(0.01):
            pass
        with pytest.raises(UserError) as caught:
            fetch(tmp_path / "second")
        said.append(str(caught.value))
        jobs.Job(job.folder).send("pause")

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    assert fetch_job.run(job)["state"] == "paused"
    thread.join()
    assert said and said[0].startswith("acme/tiny-model is already being downloaded.")
