"""What Landlock leaves open, by what a worker is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmstudio.core.lock import landlock, places


@pytest.fixture
def allowed(studio_home, tmp_path):
    """`allowed("export", request, job_folder)`: a function that tells the rights at a path."""
    def make(kind: str, request: dict, folder: Path | None):
        found = places.rules(kind, request, folder, tmp_path / "temporary")

        def rights(path: Path) -> int:
            total = 0
            for place, granted in found:
                if path.resolve().is_relative_to(place.resolve()):
                    total |= granted
            return total

        return rights

    return make


def reads(rights: int) -> bool:
    return bool(rights & landlock.READ_FILE)


def writes(rights: int) -> bool:
    return bool(rights & landlock.WRITE_FILE)


@pytest.fixture
def run(tmp_path) -> Path:
    """A run whose run.json names a model, rows and a run that it continued."""
    made = tmp_path / "studio" / "runs" / "one"
    before = made.parent / "before"
    for each in (made, before):
        each.mkdir(parents=True)
    for name in ("model", "older_model"):
        (tmp_path / name).mkdir()
    (tmp_path / "rows.jsonl").write_text("{}")
    (made / "run.json").write_text(json.dumps({"model": str(tmp_path / "model"), "start_from": str(before),
                                               "train_file": str(tmp_path / "rows.jsonl")}))
    (before / "run.json").write_text(json.dumps({"model": str(tmp_path / "older_model")}))
    return made


def test_a_job_reads_what_its_run_was_made_from_and_writes_its_run_alone(allowed, run, tmp_path):
    job = run / "jobs" / "export-1"
    job.mkdir(parents=True)
    rights = allowed("export", {"run": str(run), "out": str(tmp_path / "exports")}, job)
    for path in (tmp_path / "model" / "config.json", tmp_path / "older_model" / "x", tmp_path / "rows.jsonl"):
        assert reads(rights(path)) and not writes(rights(path)), path
    for path in (run / "exports" / "x.gguf", job / "events.jsonl", tmp_path / "exports" / "x.gguf"):
        assert reads(rights(path)) and writes(rights(path)), path
    assert (tmp_path / "exports").is_dir(), "a rule is of what is there"
    other = tmp_path / "studio" / "runs" / "another" / "events.jsonl"
    for path in (other, tmp_path / "private.txt", Path.home() / "private.txt"):
        assert not rights(path) & (landlock.READ_FILE | landlock.WRITE_FILE), path


def test_links_of_the_hubs_cache_are_followed(allowed, tmp_path):
    repo = tmp_path / "hub" / "models--a--b"
    blob, snapshot = repo / "blobs" / "abc", repo / "snapshots" / "1"
    for each in (blob.parent, snapshot):
        each.mkdir(parents=True)
    blob.write_text("weights")
    (blob.parent / "other").write_text("of another model")
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    (tmp_path / "private").write_text("letters")
    (snapshot / "LICENSE").symlink_to(tmp_path / "private")
    rights = allowed("fit_check", {"config": {"model": str(snapshot)}}, tmp_path / "job")
    assert reads(rights(snapshot / "model.safetensors"))
    assert not reads(rights(blob.parent / "other"))
    assert not reads(rights(tmp_path / "private"))


def test_links_in_a_strangers_folder_open_nothing(allowed, tmp_path):
    model, private = tmp_path / "model", tmp_path / "private"
    for each in (model, private):
        each.mkdir()
    (private / "key").write_text("secret")
    (model / "notes").symlink_to(private)
    assert not reads(allowed("train", {"model": str(model)}, tmp_path / "job")(private / "key"))


def test_beside_a_gguf_file_lie_its_parts_and_its_proof(allowed, tmp_path):
    place = tmp_path / "files"
    place.mkdir()
    for name in ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "m.txt", "letter.txt"):
        (place / name).write_text("x")
    rights = allowed("chat", {"command": "load", "path": str(place / "m-00001-of-00002.gguf")}, None)
    assert reads(rights(place / "m-00002-of-00002.gguf"))
    assert not rights(place / "letter.txt") and not rights(place / "m.txt")


def test_chat_reads_runs_and_models_and_writes_neither(allowed, studio_home):
    rights = allowed("chat", {"command": "load"}, None)
    for name in ("runs", "models"):
        assert reads(rights(studio_home / name / "x")) and not writes(rights(studio_home / name / "x"))
    for name in ("chats", "datasets", "votes.jsonl", "server.key"):
        assert not rights(studio_home / name), name


def test_a_download_reads_anywhere_and_writes_to_its_target_alone(allowed, studio_home, tmp_path):
    rights = allowed("download", {"name": "a/b"}, studio_home / "cache" / "jobs" / "download-1")
    assert reads(rights(tmp_path / "certificate.pem")) and not writes(rights(tmp_path / "certificate.pem"))
    assert writes(rights(studio_home / "models" / "b" / "config.json"))
    assert not writes(rights(studio_home / "runs" / "one" / "run.json"))


def test_nothing_that_can_be_written_can_be_started(allowed, studio_home, tmp_path):
    rights = allowed("train", {}, tmp_path / "runs" / "one")
    for path in (tmp_path / "runs" / "one", studio_home / "cache", tmp_path / "temporary", Path("/dev/shm")):
        assert writes(rights(path)) and not rights(path) & landlock.EXECUTE
    assert rights(Path("/usr/bin/env")) & landlock.EXECUTE and not writes(rights(Path("/usr/bin/env")))


@pytest.mark.parametrize("value", ["/", "relative/path", "a\0b", "/" + "x" * 5000])
def test_texts_that_are_no_paths_open_nothing(value):
    assert list(places._absolute({"a": [value]})) == []
