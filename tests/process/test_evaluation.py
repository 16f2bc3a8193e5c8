"""Evaluations in their own processes: killed at any moment, paused, cancelled; and the command in the terminal."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.tiers import first_fast
from support.wait import until

from slmstudio.core import files, jobs
from slmstudio.core.jobs import processes

ROWS = 22
BATCH = 4
posix = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are of POSIX systems")


def new_job(folder: Path, model: Path, **more: Any) -> jobs.Job:
    """Two models (the same one twice) and rows of many lengths, in batches of four."""
    from support import tiny_model

    rows = folder.parent / "test.jsonl"
    lines = [{**tiny_model.ROWS[number % 8], "instruction": f"{tiny_model.ROWS[number % 8]['instruction']} " * (
        1 + number % 5) + str(number)} for number in range(ROWS)]
    rows.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")
    spec = {"model": str(model), "adapter": None, "gguf": None}
    request = {"test": str(rows), "models": [{"name": "base", **spec}, {"name": "again", **spec}], "precision": "fp32",
               "max_new_tokens": 40, "batch_size": BATCH, **more}
    return jobs.Job.create(folder, "evaluate", **request)


def answers(job: jobs.Job) -> list[list[dict[str, Any]]]:
    """Without the seconds, which nobody can repeat."""
    return [[{key: value for key, value in line.items() if key != "seconds"}
             for line in files.LineReader(job.folder / f"answers-{number}.jsonl").read()] for number in (0, 1)]


def scores(job: jobs.Job) -> dict[str, Any]:
    found = files.read_json(job.folder / "scores.json")
    assert found is not None
    for model in found["models"]:
        model.pop("speed")
    return {key: value for key, value in found.items() if key != "created"}


def count(job: jobs.Job) -> int:
    return sum(map(len, answers(job)))


def event_types(job: jobs.Job) -> list[str]:
    return [event["type"] for event in job.events()]


KILLED = [(0, 0.0), (0, 0.02), (1, 0.0), (5, 0.01), (9, 0.03), (13, 0.0), (21, 0.01), (23, 0.0), (30, 0.02), (41, 0.0)]
"""After how many answers an evaluation is killed, and how many seconds later."""


class Workers:
    """Real workers, forked from a process that has PyTorch loaded already."""

    def __init__(self) -> None:
        from support import kill_trial

        self._work = kill_trial._work
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["slmstudio.worker.evaluation.evaluate", "slmstudio.worker.__main__"])
        environment = processes.worker_environment()
        os.environ.update({key: value for key, value in environment.items() if key.startswith("HF_")})

    def start(self, job: jobs.Job) -> Any:
        (job.folder / jobs.OUTCOME).unlink(missing_ok=True)
        process = self._context.Process(target=self._work, args=(job.folder,))
        process.start()
        return process

    def finish(self, job: jobs.Job) -> jobs.Outcome:
        self.start(job).join()
        outcome = job.outcome()
        assert outcome is not None
        return outcome


@posix
@pytest.mark.timeout(400)
@pytest.mark.parametrize("moments", first_fast([KILLED[3::6], KILLED]))
def test_kills_at_any_moment_cost_one_batch_and_change_no_score(tiny_model, tmp_path, studio_home, moments):
    workers = Workers()
    whole = new_job(tmp_path / "whole", tiny_model)
    assert workers.finish(whole).state == "finished"
    assert count(whole) == 2 * ROWS

    broken = new_job(tmp_path / "broken", tiny_model)
    kills = 0
    for wanted, delay in moments:
        before = [path.read_bytes() if path.exists() else b"" for path in _files(broken)]
        process = workers.start(broken)
        if wanted == 0:
            until(lambda: "phase" in event_types(broken)[-3:])
        until(lambda wanted=wanted, process=process: count(broken) >= wanted or not process.is_alive())
        time.sleep(delay)
        kills += process.is_alive()
        process.kill()
        process.join()
        # What was there is there: only what was being computed is lost.
        for path, data in zip(_files(broken), before, strict=True):
            assert (path.read_bytes() if path.exists() else b"").startswith(data)
    assert kills >= 0.6 * len(moments)
    with open(broken.folder / "answers-1.jsonl", "ab") as file:
        file.write(b'{"id": 3, "answer": "half a li')
    assert workers.finish(broken).state == "finished"
    assert answers(broken) == answers(whole)
    assert scores(broken)["models"] == scores(whole)["models"]
    assert scores(broken) == scores(whole)


def _files(job: jobs.Job) -> list[Path]:
    return [job.folder / f"answers-{number}.jsonl" for number in (0, 1)]


@pytest.mark.full
@posix
def test_pause_holds_between_two_steps_and_cancel_keeps_the_answers(tiny_model, tmp_path, studio_home):
    job = new_job(tmp_path / "job", tiny_model, max_new_tokens=300)
    workers = Workers()
    process = workers.start(job)
    until(lambda: count(job) >= BATCH)
    job.send("pause")
    until(lambda: "paused" in event_types(job))
    there = count(job)
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_SLEEPING, "it waits")
    job.send("resume")
    until(lambda: "resumed" in event_types(job) and count(job) > there)
    job.send("cancel")
    cancelled = time.time()
    process.join(60)
    outcome = job.outcome()
    assert outcome is not None and outcome.state == "cancelled"
    kept = count(job)
    assert there < kept < 2 * ROWS
    types = event_types(job)
    assert types[types.index("paused"):][:2] == ["paused", "resumed"], "nothing happens while it pauses"
    told = [event for event in job.events() if event["type"] == "progress" and event["unit"] == "answers"]
    assert told[-1]["total"] == 2 * ROWS and told[-1]["done"] <= kept + BATCH
    assert [event["done"] for event in told] == sorted(event["done"] for event in told)
    assert any(event["seconds_left"] for event in told)
    # It goes on from there. A system tells when a process began to the second; the next one must begin after that.
    until(lambda: time.time() > cancelled + 1.5)
    assert workers.finish(job).state == "finished"
    assert count(job) == 2 * ROWS


@pytest.mark.full
@posix
@pytest.mark.timeout(300)
def test_a_benchmark_that_is_killed_ends_with_the_same_figures(tiny_model, tmp_path, studio_home):
    from support import mmlu_folder

    data = mmlu_folder.write(tmp_path / "mmlu", questions=100)
    benchmark = {"name": "mmlu", "data": str(data), "limit": None, "shots": 1}
    workers = Workers()

    def phases(job: jobs.Job) -> list[str]:
        return [event["phase"] for event in job.events() if event["type"] == "phase"]

    whole = new_job(tmp_path / "whole", tiny_model, test=None, benchmark=benchmark)
    assert workers.finish(whole).state == "finished"
    broken = new_job(tmp_path / "broken", tiny_model, test=None, benchmark=benchmark)
    cache = broken.folder / "benchmark" / "model-0_rank0.db"
    sizes = []
    for more in (1, 40_000, 80_000):
        process = workers.start(broken)
        size = cache.stat().st_size if cache.exists() else 0
        until(lambda size=size, more=more, process=process: not process.is_alive() or (
            cache.exists() and cache.stat().st_size >= size + more))
        assert process.is_alive()
        process.kill()
        process.join()
        sizes.append(cache.stat().st_size)
    assert sizes == sorted(sizes) and sizes[-1] > sizes[0]
    assert workers.finish(broken).state == "finished"
    assert scores(broken)["benchmarks"] == scores(whole)["benchmarks"]
    for number in (0, 1):
        kept = [files.read_json(job.folder / "benchmark" / f"model-{number}.json") for job in (whole, broken)]
        assert kept[0] is not None and kept[0]["samples"] == kept[1]["samples"]
    assert phases(broken)[-1] == "MMLU: again"


@pytest.mark.full
def test_the_test_file_may_change_or_go_once_the_items_are_written(tiny_model, tmp_path, studio_home):
    job = new_job(tmp_path / "job", tiny_model, max_new_tokens=2)
    job.start()
    assert job.wait().state == "finished"
    before = scores(job)
    (tmp_path / "test.jsonl").unlink()
    job.start()
    outcome = job.wait()
    assert outcome.state == "finished", outcome
    assert scores(job)["models"] == before["models"]


def test_the_command_prints_scores_with_intervals_and_goes_on_with_a_folder(cli, told, tiny_model, tmp_path):
    new_job(tmp_path / "job", tiny_model)  # for its rows
    result = told("evaluate", tiny_model, "--test", tmp_path / "test.jsonl", "--limit", 6, "--max-new-tokens", 4,
                  "--against", tiny_model)
    assert [model["name"] for model in result["models"]] == ["tiny", "tiny (2)"]
    loss = result["models"][0]["scores"]["loss"]
    assert loss["low"] < loss["value"] < loss["high"] and loss["rows"] == 6
    assert [each["verdict"] for each in result["comparisons"] if each["main"]] == ["unknown"]
    shown = cli("evaluate", result["evaluation"]).out
    for words in ("chrF++", "Scores of 6 rows", "The answers are the same."):
        assert words in shown


def test_bad_input_is_told_at_once_with_status_2(cli, told, tiny_model, tmp_path, studio_home):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    said = cli("evaluate", tiny_model, "--test", empty, "--judge", tmp_path / "nobody.gguf", status=2).err
    assert "nobody.gguf can't be used as a model" in said
    error = told("evaluate", tiny_model, "--test", empty, "--benchmark", "mmlu", "--data", tmp_path / "nowhere",
                 "--max-new-tokens", 0, "--precision", "int3", status=2)["error"]
    assert {problem["field"] for problem in error["problems"]} == {"test", "benchmark", "max_new_tokens", "precision"}
    assert not (studio_home / "evaluations").exists()


@posix
def test_a_full_answer_file_is_whole_after_sigterm(tiny_model, tmp_path, studio_home):
    job = new_job(tmp_path / "job", tiny_model, max_new_tokens=200)
    process = Workers().start(job)
    until(lambda: count(job) >= BATCH)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert _files(job)[0].read_bytes().endswith(b"\n") and not _files(job)[1].exists()
    assert BATCH <= count(job) < ROWS and count(job) % BATCH == 0
