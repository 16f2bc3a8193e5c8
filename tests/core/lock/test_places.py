"""What Landlock leaves open, by what a worker is asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from slmstudio.core import paths
from slmstudio.core.lock import places
from slmstudio.core.run.config import FIELDS
from slmstudio.core.run.run_fields import Text


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
    return bool(rights & places.READ_FILE)


def writes(rights: int) -> bool:
    return bool(rights & places.WRITE_FILE)


@pytest.fixture
def run(tmp_path) -> Path:
    """A run whose run.json names a model, rows and a run that it continued."""
    made = tmp_path / "studio" / "runs" / "one"
    before = made.parent / "before"
    for each in (made, before):
        each.mkdir(parents=True)
    for name in ("model", "older_model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
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
        assert not rights(path) & (places.READ_FILE | places.WRITE_FILE), path


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
    kept = studio_home / "cache" / "libraries"
    for path in (tmp_path / "runs" / "one", kept, tmp_path / "temporary", Path("/dev/shm")):
        assert writes(rights(path)) and not rights(path) & places.EXECUTE
    assert rights(Path("/usr/bin/env")) & places.EXECUTE and not writes(rights(Path("/usr/bin/env")))


@pytest.mark.parametrize("value", ["/", "//", "/..", "/tmp/..", "/proc/self/root", "relative/path", "a\0b", "/a\0b",
                                   "~", os.path.expanduser("~"), os.path.dirname(os.path.expanduser("~")), 3, None])
def test_texts_that_open_nothing(value):
    for request in ({"model": value}, {"config": {"train_file": value}}, {"models": [{"gguf": value}]}):
        assert list(places._named(request)) == []


def test_the_folder_of_everything_is_opened_to_nobody(allowed, studio_home, tmp_path):
    rights = allowed("export", {"run": str(studio_home), "out": str(studio_home)}, tmp_path / "job")
    assert not rights(studio_home / "server.key")


def test_a_path_of_any_length_spoils_no_rule(allowed, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for text in ("/" + "x" * 300, "/" + "x/" * 5000):
        rights = allowed("train", {"start_from": text, "model": str(model)}, tmp_path / "job")
        assert reads(rights(model / "config.json"))


def test_only_the_fields_that_name_files_open_them(allowed, tmp_path):
    """A question that begins with a slash isn't a path."""
    private = tmp_path / "private"
    private.mkdir()
    for request in ({"sample_prompts": [str(private)]}, {"system": str(private)}, {"name": str(private)},
                    {"reasons": {"model": str(private)}}, {"imported": {"adapter": str(private)}}):
        assert not reads(allowed("train", request, tmp_path / "job")(private / "key")), request


def test_every_field_of_a_run_that_names_a_file_is_known():
    files = {name for name, about in FIELDS.items() if isinstance(about.kind, Text) and about.kind.file}
    assert files <= set(places.FIELDS)


def test_a_run_of_a_stranger_opens_only_what_looks_like_models_and_rows(allowed, tmp_path):
    run, private, model = (tmp_path / name for name in ("run", "private", "model"))
    for each in (run, private, model):
        each.mkdir()
    (model / "config.json").write_text("{}")
    for place in (private, tmp_path):
        (place / "key").write_text("secret")
    for named in (private, tmp_path / "key", tmp_path):
        (run / "run.json").write_text(json.dumps(dict.fromkeys(("model", "start_from", "train_file"), str(named))))
        rights = allowed("evaluate", {"train_run": str(run)}, tmp_path / "job")
        assert reads(rights(run / "run.json"))
        assert not reads(rights(private / "key")) and not reads(rights(tmp_path / "key")), named
    (run / "run.json").write_text(json.dumps({"model": str(model)}))
    assert reads(allowed("evaluate", {"train_run": str(run)}, tmp_path / "job")(model / "config.json"))


def test_links_beside_a_gguf_file_open_nothing_but_the_hubs_own_files(allowed, tmp_path):
    place, private = tmp_path / "files", tmp_path / "private"
    place.mkdir()
    private.write_text("letters")
    (place / "m.gguf").write_text("x")
    (place / "other.gguf").symlink_to(private)
    rights = allowed("chat", {"command": "load", "path": str(place / "m.gguf")}, None)
    assert reads(rights(place / "m.gguf")) and not reads(rights(private))
    repo = tmp_path / "hub" / "models--a--b"
    blob, snapshot = repo / "blobs" / "abc", repo / "snapshots" / "1"
    for each in (blob.parent, snapshot):
        each.mkdir(parents=True)
    blob.write_text("x")
    for name in ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"):
        (snapshot / name).symlink_to("../../blobs/abc")
    rights = allowed("chat", {"command": "load", "path": str(snapshot / "m-00001-of-00002.gguf")}, None)
    assert reads(rights(snapshot / "m-00002-of-00002.gguf"))


def test_the_rows_that_were_checked_are_read_wherever_their_links_lead(allowed, tmp_path):
    repo = tmp_path / "hub" / "datasets--a--b"
    blob, snapshot, mine = repo / "blobs" / "abc", repo / "snapshots" / "1", tmp_path / "mine"
    for each in (blob.parent, snapshot, mine):
        each.mkdir(parents=True)
    blob.write_text("{}")
    (snapshot / "train.jsonl").symlink_to("../../blobs/abc")
    (tmp_path / "rows.jsonl").write_text("{}")
    (tmp_path / "private").write_text("letters")
    (mine / "part.jsonl").symlink_to(tmp_path / "rows.jsonl")
    (mine / "part.key").symlink_to(tmp_path / "private")
    assert reads(allowed("train", {"train_file": str(snapshot)}, tmp_path / "job")(snapshot / "train.jsonl"))
    rights = allowed("fit_check", {"config": {"train_file": str(mine)}}, tmp_path / "job")
    assert reads(rights(mine / "part.jsonl")) and not reads(rights(tmp_path / "private"))


def test_of_the_cache_a_worker_writes_what_workers_keep(allowed, studio_home, tmp_path):
    cache = studio_home / "cache"
    for kind in ("train", "chat", "download"):
        rights = allowed(kind, {}, cache / "jobs" / "mine" if kind != "chat" else None)
        for name in ("libraries/triton/x", "tokens/x", "measured/measured.json"):
            assert writes(rights(cache / name)), (kind, name)
        for name in ("chat-worker-1-a.log", "jobs/other/request.json", "vetting/x.json"):
            assert not writes(rights(cache / name)), (kind, name)
    assert writes(allowed("download", {}, cache / "jobs" / "mine")(cache / "locks" / "x"))
    assert not writes(allowed("train", {}, cache / "jobs" / "mine")(cache / "starters" / "x.gguf"))


def test_an_export_looks_at_models_beside_the_base_and_a_proof_writes_nothing_beside_the_file(allowed, tmp_path):
    place = tmp_path / "files"
    for name in ("packed", "original", "letters"):
        (place / name).mkdir(parents=True)
    for name in ("packed", "original"):
        (place / name / "config.json").write_text("{}")
    (place / "x.gguf").write_text("x")
    rights = allowed("export", {"run": str(place / "packed")}, tmp_path / "job")
    assert rights(place) & places.READ_DIR and reads(rights(place / "original" / "model.safetensors"))
    assert not reads(rights(place / "letters" / "x")) and not reads(rights(place / "x.gguf"))
    rights = allowed("parity", {"run": str(place / "packed"), "gguf": str(place / "x.gguf")}, tmp_path / "job")
    assert reads(rights(place / "x.gguf")) and not writes(rights(place / "x.gguf")) and not writes(rights(place))


def test_a_home_that_cannot_be_written_is_no_reason_to_stay_open(monkeypatch, tmp_path):
    monkeypatch.setenv("SLMSTUDIO_HOME", "/proc/nowhere/home")
    assert places.prepare("train", tmp_path)["HF_TOKEN_PATH"] == str(tmp_path / "token")
    assert "HF_TOKEN_PATH" not in places.prepare("download", tmp_path)
    assert places.rules("train", {}, Path("/proc/nowhere/job"), None)


def test_an_evaluation_of_a_gguf_file_may_look_whether_a_run_is_running():
    assert (paths.runs_dir(), places.READ) in places.rules("evaluate", {}, None, None)
