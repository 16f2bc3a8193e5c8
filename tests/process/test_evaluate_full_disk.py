"""A disk that fills ends an evaluation with a sentence; every answer stays, and its folder given again goes on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from process.test_evaluate_refusals import evaluate, new_job, write
from support.small_disk import fill, mounted
from support.wait import until

from slmstudio.core import files, jobs
from slmstudio.core.errors import from_os_error


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as place:
        yield place


def answers(job: jobs.Job) -> list[dict[str, object]]:
    return [line for number in (0, 1) for line in files.LineReader(job.folder / f"answers-{number}.jsonl").read()]


@pytest.mark.full
def test_a_disk_that_fills_ends_it_in_a_sentence_and_it_goes_on(disk, tiny_model, tmp_path, studio_home):
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


def test_a_disk_with_eight_kilobytes_is_refused_at_the_start(disk, tiny_model, tmp_path, monkeypatch):
    rows = write(tmp_path / "rows.jsonl", [{"question": "Q?", "answer": "A."}])
    job = new_job(disk / "job", tiny_model, rows)
    fill(disk, 8192)
    said = evaluate(job.folder, status=2)
    assert "8 KB" in said and str(job.folder) in said and "crashed" not in said
    monkeypatch.setenv("SLMSTUDIO_HOME", str(disk / "home"))
    said = evaluate(tiny_model, "--test", rows, status=2)
    assert str(disk / "home") in said
