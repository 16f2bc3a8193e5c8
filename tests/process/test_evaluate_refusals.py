"""What a person gets wrong with an evaluation, and disks that fill, in the terminal: a sentence each, told once, and
nothing lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.small_disk import fill, mounted
from support.wait import until

from slmstudio.core import disk_space, files, i18n, jobs
from slmstudio.core.errors import from_os_error

ROOT = Path(__file__).resolve().parent.parent.parent
@pytest.fixture
def evaluate(slmstudio):
    """`evaluate(words…, status=…)`: what the command prints."""
    return lambda *words, status: "".join(slmstudio("evaluate", *words, status=status))


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_files_that_are_no_models_are_told_once_each(evaluate, tiny_model, tmp_path, studio_home):
    rows = write(tmp_path / "rows.jsonl", [{"question": "Q?", "answer": "A."}])
    garbage = tmp_path / "garbage.gguf"
    garbage.write_bytes(b"GGUF" + bytes(range(200, 250)) * 50)
    said = evaluate(garbage, "--test", rows, "--judge", garbage, status=2)
    assert said.count("garbage: garbage.gguf is damaged.") == 1 and said.count("judge: garbage.gguf is damaged.") == 1
    assert "newer" not in said
    assert not (studio_home / "evaluations").exists()


def new_job(folder: Path, model: Path, rows: Path, **more: Any) -> jobs.Job:
    spec = {"model": str(model), "adapter": None, "gguf": None}
    return jobs.Job.create(folder, "evaluate", **{
        "test": str(rows), "precision": "fp32", "max_new_tokens": 4, "batch_size": 4,
        "models": [{"name": "base", **spec}], **more})


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX systems")
def test_a_killed_evaluation_says_how_it_goes_on(evaluate, tiny_model, tmp_path, studio_home, play):
    rows = write(tmp_path / "rows.jsonl", [{"question": "Q?", "answer": "A."}])
    job = new_job(tmp_path / "job", tiny_model, rows)
    play("start die")
    said = evaluate(job.folder, status=1)
    assert "error: The worker process ended unexpectedly." in said
    assert said.count(f"slmstudio evaluate {job.folder}") == 1
    assert "checkpoint" not in said and "Resume" not in said
    assert "No such file" not in said


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C is sent as a signal")
def test_a_hundred_thousand_rows_are_read_and_can_be_given_up(tiny_model, tmp_path, studio_home):
    many = tmp_path / "many.jsonl"
    with open(many, "w", encoding="utf-8") as file:
        for number in range(100_000):
            file.write(f'{{"question": "Which form is {number}?", "answer": "Form {number}."}}\n')
    process = subprocess.Popen([sys.executable, "-m", "slmstudio", "evaluate", str(tiny_model), "--test", str(many)],
                               cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        assert "It takes " in process.stderr.readline()
        assert process.stderr.readline() == "evaluate: reading many.jsonl\n"
        [place] = (studio_home / "evaluations").iterdir()
        until(lambda: any(event["type"] == "progress" and event["unit"] == "bytes"
                          for event in jobs.Job(place).events()))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=90)
    finally:
        process.kill()
        for folder in (studio_home / "evaluations").iterdir():
            jobs.Job(folder).kill()  # a worker outlives the terminal; it must not outlive a test that failed
    assert process.returncode == 1
    assert "Stopping. The answers so far are kept." in said
    assert "Cancelled. Every answer that was written is kept. To continue, give the folder again: " in said
    assert f"slmstudio evaluate {place}\n" in said
    outcome = jobs.Job(place).outcome()
    assert outcome is not None and outcome.state == "cancelled"


def test_what_was_told_before_the_worker_began_is_not_told_again(capsys):
    from slmstudio.cli.progress import Follower

    with Follower(told=("benchmark_data",)) as follower:
        for code in ("benchmark_data", "rows_skipped"):
            follower.on_event("evaluate", {"type": "warning", "code": code, "message": f"of {code}"})
    assert capsys.readouterr().err == "warning: of rows_skipped\n"


def test_a_table_without_rows_is_printed_as_that(capsys):
    from slmstudio.cli.evaluate import print_scores
    from slmstudio.cli.output import print_table

    print_scores({"models": [{"name": "base", "scores": {}}], "test": {"rows": 3}})
    print_table("Exports", [])
    assert capsys.readouterr().out == "Scores of 3 rows: none\nExports: none\n"


@pytest.mark.parametrize(("language", "heading"), [("en", "Exact match (%)"), ("hi", "हूबहू मेल (%)")])
def test_a_score_in_percent_says_so(capsys, language, heading):
    from slmstudio.cli.evaluate import print_scores

    score = {"value": 52.0, "low": 45.0, "high": 59.0}
    i18n.use(language)
    print_scores({"models": [{"name": "base", "scores": {"exact": score, "chrf": score}}], "test": {"rows": 3}})
    said = capsys.readouterr().out
    assert heading in said and "chrF++ " in said and said.count("%") == 1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as place:
        yield place


def answers(job: jobs.Job) -> list[dict[str, object]]:
    return [line for number in (0, 1) for line in files.LineReader(job.folder / f"answers-{number}.jsonl").read()]


@pytest.mark.full
def test_a_disk_that_fills_ends_it_in_a_sentence_and_it_goes_on(evaluate, disk, tiny_model, tmp_path, studio_home):
    rows = write(tmp_path / "rows.jsonl", [{"question": f"What is form {n}? " * (1 + n % 5), "answer": f"Form {n}."}
                                           for n in range(100)])
    spec = {"model": str(tiny_model), "adapter": None, "gguf": None}
    job = new_job(disk / "job", tiny_model, rows, max_new_tokens=60,
                  models=[{"name": "base", **spec}, {"name": "again", **spec}])
    job.start()
    try:
        until(lambda: len(answers(job)) >= 4)
        job.send("pause")
        until(lambda: any(event["type"] == "paused" for event in job.events()))
        kept = answers(job)
        assert len(kept) < 200
        ballast = fill(disk)
        job.send("resume")  # there is room for it in the last block of its file
        until(lambda: job.outcome() is not None)
        outcome = job.outcome()
    finally:
        job.kill()
    assert outcome is not None and outcome.state == "failed" and not outcome.details
    error = outcome.user_error()
    assert error.why == from_os_error(OSError(errno.ENOSPC, ""), "").why and str(job.folder) in error.remedy
    written = answers(job)
    assert written[:len(kept)] == kept and len(written) < 200
    ballast.unlink()
    evaluate(job.folder, status=0)
    # Of the batch that the disk cut off some whole lines may be there: it is answered again.
    assert answers(job)[:len(written)] == written
    for number in (0, 1):
        lines = files.LineReader(job.folder / f"answers-{number}.jsonl").read()
        assert {line["id"] for line in lines} == set(range(100))
    assert (files.read_json(job.folder / "scores.json") or {})["test"]["rows"] == 100
    assert not (job.folder / "reserve").exists()


def test_a_disk_with_eight_kilobytes_is_refused_at_the_start(evaluate, disk, tiny_model, tmp_path, monkeypatch):
    rows = write(tmp_path / "rows.jsonl", [{"question": "Q?", "answer": "A."}])
    job = new_job(disk / "job", tiny_model, rows)
    fill(disk, 8192)
    said = evaluate(job.folder, status=2)
    assert "8 KB" in said and str(job.folder) in said and "crashed" not in said
    monkeypatch.setenv("SLMSTUDIO_HOME", str(disk / "home"))
    said = evaluate(tiny_model, "--test", rows, status=2)
    assert str(disk / "home") in said


WORKER = """
import sys, types
from pathlib import Path
from slmstudio.worker import __main__ as worker

def run(job):
    with open(job.folder / "half done", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

def run_library(job):
    try:
        run(job)
    except OSError:
        raise RuntimeError("a library's own words") from None

kind = sys.argv[2]
sys.modules["filler"] = types.SimpleNamespace(run=run_library if kind == "evaluate" else run)
worker.KINDS[kind] = "filler"
sys.exit(worker.run_job(Path(sys.argv[1])))
"""
"""The worker, with a job that fills the disk."""


@pytest.fixture
def megabyte(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    with mounted(tmp_path / "disk", "size=1m") as place:
        yield place


@pytest.mark.parametrize("kind", ["import", "evaluate"])
def test_the_outcome_is_written(megabyte: Path, kind: str) -> None:
    job = jobs.Job.create(megabyte / "job", kind, gguf="none.gguf", out=str(megabyte / "out"), models=[], test=None)
    ended = subprocess.run([sys.executable, "-P", "-c", WORKER, str(job.folder), kind], capture_output=True, text=True,
                           timeout=60)
    assert ended.returncode == 1, ended.stderr
    outcome = job.outcome()
    assert outcome is not None and outcome.state == "failed"
    full, error = from_os_error(OSError(errno.ENOSPC, ""), ""), outcome.user_error()
    assert error.why == full.why and error.remedy
    assert [event["state"] for event in job.events() if event["type"] == "job_ended"] == ["failed"]
    assert not (job.folder / disk_space.RESERVE).exists()
