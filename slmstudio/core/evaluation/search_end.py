"""What a search for better settings comes to: its best and the plan, scored on rows that the search never used."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from slmstudio.core import formats, jobs, units
from slmstudio.core.evaluation import paired
from slmstudio.core.evaluation import request as requests
from slmstudio.core.evaluation.paired import ComparedRun
from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.run.searching import search as searches
from slmstudio.core.run.searching.search import PLAN, Search

AS_PLANNED, NOTHING, NOT_SCORED = "plan", "nothing", "not_scored"
"""Beside the words of `verdicts`: no candidate did better than the plan, none trained to its end, or the plan or the
best couldn't be scored."""


def advance_all() -> jobs.Job | None:
    """As `advance`, for each search that is running: the first evaluation that works. One that can't be read doesn't
    keep the queue from going on; its own view tells about it."""
    for place in searches.folders():
        with contextlib.suppress(formats.NewerFormat, searches.Damaged):
            if (job := advance(place)) is not None:
                return job
    return None


def advance(place: Path) -> jobs.Job | None:
    """Do what comes next in a search that is running: put a trial into the queue, or score its best.

    Returns:
        The evaluation that works; None where the queue has the next trial, or the search has ended.

    Raises:
        UserError: a folder can't be read or written.
    """
    if searches.read(place).state != searches.RUNNING:
        return None
    with searches.changing(place) as search:
        if search.state != searches.RUNNING or searches.queue_next(search) is not None:
            return None
        job = _score(search)
        search.state = searches.RUNNING if job is not None else searches.FINISHED
        return job


def _score(search: Search) -> jobs.Job | None:
    """The evaluation that comes next, started; None once there is a verdict."""
    if search.best is None:
        search.verdict = {"case": NOTHING}
        return None
    done = []
    for candidate in dict.fromkeys((search.best, PLAN)):
        run = search.run_of(candidate)
        if run is None or (job := _evaluation(search, run, candidate)) is None:
            search.verdict = {"case": NOT_SCORED}
            return None
        if job.outcome() is None:
            return job
        done.append(ComparedRun(run.name, job.folder))
    search.verdict = {"case": AS_PLANNED} if len(done) == 1 else _verdict(done)
    return None


def _evaluation(search: Search, run: Path, candidate: int) -> jobs.Job | None:
    """The one of a run on the final rows, which works or has finished; None if it failed."""
    final = str(search.folder / "final.jsonl")
    found = [job for job in map(jobs.Job, sorted((run / "jobs").glob("evaluate-*"))) if job.request()["test"] == final]
    if not found:
        request = requests.propose(run)
        models = [each for each in request["models"] if each["name"] != "base" or candidate == search.best]
        request.pop("no_test")
        found = [requests.create({**request, "test": final, "test_columns": None, "models": models,
                                  "limit": searches.ENOUGH}, run)]
    job = found[-1]
    ended = job.outcome()
    if ended is not None and (ended.state == "failed" or searches.is_given_up(job, ended)):
        return None
    if not job.is_alive() and (ended is None or ended.state != "finished"):
        job.start()
    return job


def _verdict(sides: list[ComparedRun]) -> dict[str, Any]:
    """The best against the plan, by the score that decides, else by the loss."""
    found = paired.compare_rows(sides[::-1]).comparisons
    main = next((each for each in found if each["main"]), None)
    loss = next((each for each in found if each["metric"] == "loss"), main)
    if main is None:
        return {"case": NOT_SCORED}
    decides = main if main["verdict"] != verdicts.UNKNOWN or loss is None else loss
    return {"case": decides["verdict"], "comparison": decides}


def sentence(search: Search) -> str:
    """Whether the search found something better; "" before its end."""
    if search.verdict is None:
        return ""
    case, comparison = search.verdict["case"], search.verdict.get("comparison")
    values, time = searches.values_text(search, search.best or PLAN), units.format_duration(search.spent)
    said = {
        NOTHING: tr("No trial reached its end. The list says why."),
        AS_PLANNED: tr("Nothing better than the plan was found in {time}.", time=time),
        NOT_SCORED: tr("{values} did best, but couldn't be compared with the plan on rows that the search never used.",
                       values=values),
        verdicts.BETTER: tr("The search's best is better than the plan on rows that the search never used: {values}.",
                            values=values),
        verdicts.WORSE: tr("{values} did best, but worse than the plan on rows that the search never used: use the "
                           "plan.", values=values),
        verdicts.UNKNOWN: tr("Nothing clearly better than the plan was found in {time}. {values} did best.", time=time,
                             values=values)}[case]
    return join_sentences(said, verdicts.sentence(comparison) if comparison else "")
