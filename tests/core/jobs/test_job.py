"""Job folders: each its own, however many are made at once."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

MANY = 16


def at_once(make):
    """What `make(number)` returns in as many threads, which all begin at the same moment."""
    barrier = threading.Barrier(MANY)

    def wait_and_make(number):
        barrier.wait()
        return make(number)

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(wait_and_make, range(MANY)))


def test_jobs_of_the_same_second_have_folders_of_their_own(tmp_path):
    wanted = tmp_path / "jobs" / "export-20261127-101500"
    made = at_once(lambda number: jobs.Job.create(wanted, "export", types=[number]))
    assert [job.request()["types"] for job in made] == [[number] for number in range(MANY)]
    assert {job.folder.name for job in made} == {wanted.name, *(f"{wanted.name}-{n}" for n in range(2, MANY + 1))}


def test_so_have_runs_whose_names_were_drawn_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(folder.secrets, "token_hex", lambda size: "0000")
    made = at_once(lambda number: folder.create(RunConfig(name="x", model="m", train_file=f"{number}.jsonl"), tmp_path))
    assert [job.request()["train_file"] for job in made] == [f"{number}.jsonl" for number in range(MANY)]
    assert len({job.folder for job in made}) == MANY


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        files.new_folder(tmp_path / "file" / "job")


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_link_that_a_job_left_in_a_files_place_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    job = jobs.Job.create(tmp_path / "job", "train")
    for name in (jobs.COMMANDS, f".{jobs.OUTCOME}.{os.getpid()}.partial"):
        (job.folder / name).symlink_to(victim)
    with pytest.raises(UserError, match=r"Could not send “pause” to the worker .*It's a link"):
        job.send("pause")
    with pytest.raises(OSError, match="symbolic link"):
        jobs.write_outcome(job.folder, jobs.Outcome("finished"))
    assert victim.read_text() == "mine"


def test_lines_are_whole_wherever_a_piece_of_their_file_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PIECE", 16)
    lines = [b'{"a": 1}', b'{"text": "longer than a piece of a file"}', b"", b"[damaged", b"3", b'{"b": 2}\r', b'{"c"']
    (tmp_path / "lines").write_bytes(b"\n".join(lines))
    reader = files.LineReader(tmp_path / "lines")
    assert list(reader.read()) == [{"a": 1}, {"text": "longer than a piece of a file"}, {"b": 2}]
    with open(tmp_path / "lines", "ab") as file:
        file.write(b": 3}\n")
    assert list(reader.read()) == [{"c": 3}] and list(reader.read()) == [] and reader.damaged == 2


@pytest.mark.parametrize(("outcome", "status"), [
    (jobs.Outcome("finished"), 0), (jobs.Outcome("stopped"), 0),
    (jobs.Outcome("failed", {"what": "The file is damaged."}), 2),
    (jobs.Outcome("failed", {"what": "Something went wrong."}, "Traceback"), 1),
    (jobs.Outcome("crashed"), 1), (jobs.Outcome("cancelled"), 1), (jobs.Outcome("paused"), 1)])
def test_the_exit_status_says_who_has_to_do_something(outcome, status):
    assert outcome.exit_status == status


@pytest.mark.parametrize(("state", "after", "expected"), [
    ("finished", b"", "finished"), ("stopped", b"", "stopped"), ("failed", b"", "failed"),
    ("finished", b'{"type": "job_started"}\n', "crashed"), ("no such state", b"", "crashed")])
def test_a_damaged_outcome_is_made_up_for_by_the_events(tmp_path, state, after, expected):
    job = jobs.Job.create(tmp_path / "job", "train")
    (job.folder / jobs.PROCESS).write_text("{}")
    (job.folder / jobs.OUTCOME).write_text('{"state": "fin')
    ended = json.dumps({"type": "job_ended", "state": state}).encode()
    (job.folder / jobs.EVENTS).write_bytes(b'{"type": "job_started"}\n' + ended + b"\n" + after)
    outcome = job.outcome()
    assert outcome.state == expected and outcome.was_successful() == (outcome.error is None)
    (job.folder / jobs.OUTCOME).unlink()
    assert job.outcome().state == "crashed", "whoever writes none has crashed"
