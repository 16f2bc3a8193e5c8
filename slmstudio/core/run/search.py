"""A search for better settings by successive halving, within a time budget: the best of many short trainings are
repeated longer, until some train in full (Jamieson and Talwalkar 2016, arXiv 1502.07943).

A search is a folder with search.json and the rows in three parts: those that are trained on, those whose eval loss
chooses, and those that no choice sees. Its trials are ordinary runs of the queue, one at a time. What search.json
doesn't say yet is read from their folders, so a search can be cut off anywhere. `evaluation.search_end` gives the
final score.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, jobs, paths, program, units
from slmstudio.core.data import split
from slmstudio.core.data.record import Record
from slmstudio.core.data.versions import store
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.hardware.machine import Machine, read_machine
from slmstudio.core.i18n import join_sentences, noop, ntr, tr
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import folder, measured, queue, time_estimate
from slmstudio.core.run.config import FIELDS, RunConfig, label
from slmstudio.core.run.curves import total_steps
from slmstudio.core.run.planning.planner import Plan
from slmstudio.core.run.run_fields import write
from slmstudio.core.run.search_values import SearchValues, parse, settled
from slmstudio.core.run.time_estimate import TimeEstimate

FILE, LOCK = "search.json", "search.lock"
RUNNING, STOPPED, FINISHED = "running", "stopped", "finished"
PLAN = 0
"""The candidate that changes nothing."""
ETA, DEEPEST, MOST = 3, 3, 64
"""One of so many candidates continues on the next rung; rungs and candidates at most."""
FEWEST_STEPS, FEWEST_ROWS = 5, 20
SHARE, ENOUGH = 0.15, 200
"""Of all rows, those that choose, and as many for the final score; no more rows than so many."""
TRIES = 3
"""A trial whose process crashes is resumed until it was started this often."""
ENDED, LOST, OUT_OF_MEMORY, ENDED_BY_HAND, SKIPPED = "finished", "failed", "memory", "stopped", "skipped"
STATES = {ENDED: noop("finished"), LOST: noop("failed"), OUT_OF_MEMORY: noop("out of memory"),
          ENDED_BY_HAND: noop("stopped"), SKIPPED: noop("no time left")}
Turn = tuple[int, int]
"""A rung and a candidate."""


# -- Successive halving.


@dataclass(frozen=True)
class Rung:
    """
    Attributes:
        share: of the epochs that its trials train.
        count: its candidates, without the plan where that isn't among the best. The first rung takes all as long as
            there is time.
    """

    share: float
    count: int


def ladder(count: int, depth: int) -> list[Rung]:
    """`depth` rungs for so many candidates; the last one trains in full."""
    return [Rung(ETA ** (rung + 1 - depth), max(2, math.ceil(count / ETA ** rung))) for rung in range(depth)]


def entrants(rungs: Sequence[Rung], losses: Mapping[Turn, float | None], rung: int) -> list[int]:
    """The candidates of a rung: the plan, and the best of the rung before, the best first; none before that has ended.

    Args:
        losses: of the trials that have ended; None of one that has no loss, and so is lost.
    """
    if rung == 0:
        return list(range(rungs[0].count))
    before = [(rung - 1, candidate) for candidate in entrants(rungs, losses, rung - 1)]
    if any(turn not in losses for turn in before):
        return []
    best = sorted((loss, turn[1]) for turn in before if (loss := losses[turn]) is not None)[:rungs[rung].count]
    plan = [PLAN] if losses.get((rung - 1, PLAN)) is not None else []
    return plan + [candidate for _, candidate in best if candidate != PLAN]


def next_turn(rungs: Sequence[Rung], losses: Mapping[Turn, float | None]) -> Turn | None:
    """The trial that comes next; None if there is none."""
    turns = ((rung, each) for rung in range(len(rungs)) for each in entrants(rungs, losses, rung))
    return next((turn for turn in turns if turn not in losses), None)


def winner(rungs: Sequence[Rung], losses: Mapping[Turn, float | None]) -> int | None:
    """The candidate with the lowest loss after full training; the plan where another is no better. None without one."""
    last = len(rungs) - 1
    found = [(loss, each) for each in entrants(rungs, losses, last) if (loss := losses.get((last, each))) is not None]
    return min(found)[1] if found else None


# -- What a search is, on the disk.


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Attributes:
        run: its folder; "" if it was never made.
        state: one of `STATES`.
        loss: the eval loss of its result on the rows that choose; None if it is lost.
        seconds: that it worked.
        error: `UserError.to_dict()` of one that failed.
    """

    rung: int
    candidate: int
    run: str = ""
    state: str = ENDED
    loss: float | None = None
    seconds: float = 0.0
    error: dict[str, Any] | None = None


@dataclass
class Search:
    """
    Attributes:
        base: the plan; its files are the parts of the rows in `folder`.
        fields: those that are searched, with their values as they are typed.
        seconds: the time budget; `seed` draws the candidates.
        candidates: the values of each; the first has none, and is the plan.
        expected: by candidate and rung, the seconds that a trial was estimated to take; `evaluating`: those of the
            final score.
        rows: how many "training", "choosing" and "final" rows there are.
        state: `RUNNING`, `STOPPED` or `FINISHED`.
        verdict: {"case": a word of `search_end`, "comparison": as in scores.json or None}; None before the end.
    """

    folder: Path
    base: RunConfig
    fields: dict[str, str]
    seconds: float
    seed: int
    rungs: list[Rung]
    candidates: list[dict[str, Any]]
    expected: list[list[float]]
    evaluating: float
    rows: dict[str, int]
    state: str = RUNNING
    trials: list[Trial] = field(default_factory=list)
    verdict: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def losses(self) -> dict[Turn, float | None]:
        return {(trial.rung, trial.candidate): trial.loss for trial in self.trials}

    @property
    def spent(self) -> float:
        """Seconds that the trials have worked."""
        return sum(trial.seconds for trial in self.trials)

    def table(self) -> list[tuple[str, ...]]:
        """What was tried, the longest trials first and of these the best, under the headings of `columns`."""
        ended = sorted(self.trials, key=lambda each: (-each.rung, math.inf if each.loss is None else each.loss))
        return [(f"{each.rung + 1}", values_text(self, each.candidate), units.format_loss(each.loss),
                 tr(STATES[each.state]), units.format_duration(each.seconds)) for each in ended]

    @property
    def best(self) -> int | None:
        return winner(self.rungs, self.losses)

    def config(self, rung: int, candidate: int) -> RunConfig:
        """What a trial trains, with its own full schedule."""
        return shortened(settled(self.base, self.candidates[candidate]), self.base, self.rungs[rung].share,
                         self.rows["training"], f"{self.name} {rung + 1}.{candidate}")

    def run_of(self, candidate: int) -> Path | None:
        """The run that trained a candidate in full."""
        last = len(self.rungs) - 1
        return next((Path(trial.run) for trial in self.trials if trial.state == ENDED
                     and (trial.rung, trial.candidate) == (last, candidate)), None)

    def to_dict(self) -> dict[str, Any]:
        return {**formats.stamp("search"), **asdict(self), "folder": str(self.folder), "base": self.base.to_dict()}

    def save(self) -> None:
        state = self.to_dict()
        state.pop("folder")
        with os_errors_as(tr("Could not write {file}.", file=FILE)):
            files.write_atomically(self.folder / FILE, files.dump_pretty(state))


def read(place: Path) -> Search:
    """Raises UserError: it isn't a search, is damaged, or is of a newer program."""
    state = formats.read("search", place / FILE)
    try:
        assert state is not None
        values = {each.name: state[each.name] for each in fields(Search) if each.name != "folder"}
        return Search(**{**values, "folder": place, "base": RunConfig.from_dict(state["base"], place / FILE),
                         "rungs": [Rung(**each) for each in state["rungs"]],
                         "trials": [Trial(**each) for each in state["trials"]]})
    except (AssertionError, KeyError, TypeError, AttributeError) as error:
        raise UserError(tr("{file} is damaged.", file=place / FILE), tr("It isn't a search."),
                        tr("Begin another search. Its trials are in the list of runs.")) from error


def named(text: str) -> Path:
    """The folder of a search, by its name or folder. Raises UserError: there is none."""
    for place in (paths.searches_dir() / text, Path(text)):
        if text and (place / FILE).is_file():
            return place.absolute()
    raise UserError(tr("There is no search “{name}”.", name=text), "",
                    tr("To see the searches: {command}", command=program.command("tune")))


def folders() -> list[Path]:
    """The folders of all searches, the newest first."""
    found = list(paths.searches_dir().glob(f"*/{FILE}"))
    return [file.parent for file in sorted(found, key=lambda file: file.parent.stat().st_ctime, reverse=True)]


@contextmanager
def changing(place: Path) -> Iterator[Search]:
    """A search to be changed in place; written when the block ends well. One process at a time."""
    import filelock

    with filelock.FileLock(place / LOCK):
        found = read(place)
        yield found
        found.save()


# -- A new search.


def shortened(config: RunConfig, base: RunConfig, share: float, rows: int, name: str) -> RunConfig:
    """A share of a run, evaluated as often as the plan."""
    short = replace(config, name=name, epochs=round(config.epochs * share, 4) or 0.0001,
                    max_steps=config.max_steps and max(1, round(config.max_steps * share)), sample_max_tokens=0)
    scale = total_steps(short, rows) / total_steps(base, rows)
    return replace(short, **{each: max(1, round(getattr(base, each) * scale)) for each in ("eval_steps", "save_steps")})


def prepare(plan: Plan, facts: ModelFacts, records: Sequence[Record], final: Sequence[Record] | None,
            given: Mapping[str, str], seconds: float, seed: int = 0) -> tuple[Search, dict[str, Sequence[Record]]]:
    """A search for something better than a plan, not written, and its rows.

    Args:
        records: the rows of the plan; `final`: those of its test file.
        given: the fields to search, as `search_values.parse` reads them.

    Raises:
        UserError: as `parse`, `divide` and `design`.
    """
    parts = divide(records, plan.config, final)
    return design(plan.config, facts, read_machine(), {name: len(rows) for name, rows in parts.items()},
                  plan.counts.tokens / max(1, plan.counts.learned), parse(given, plan.config), seconds, seed), parts


def divide(records: Sequence[Record], config: RunConfig, final: Sequence[Record] | None = None
           ) -> dict[str, Sequence[Record]]:
    """The rows that are trained on, those that choose, and those that no choice sees.

    Args:
        final: rows of a test file, which give the final score; None takes some of the others.

    Raises:
        UserError: there are too few of them, or they are plain text.
    """
    if config.objective == "text":
        raise UserError(tr("Plain text can't be searched."), tr("It asks nothing, so nothing can be scored."),
                        tr("Choose rows with questions and answers."))
    share = min(SHARE, ENOUGH / max(1, len(records)))
    rest, last = (records, final) if final else split.split_evenly(records, share, config.split_seed, config.split_by)
    training, choosing = split.split_evenly(rest, share, config.split_seed, config.split_by)
    if len(records) < FEWEST_ROWS or not last or not choosing:
        raise UserError(ntr("{n} row is too few for a search.", "{n} rows are too few for a search.", len(records)),
                        tr("Some choose among the settings, and some others give the final score."),
                        tr("Collect at least {n} rows with different questions.", n=FEWEST_ROWS))
    return {"training": training, "choosing": choosing, "final": last}


def design(base: RunConfig, facts: ModelFacts, machine: Machine, rows: Mapping[str, int], tokens: float,
           values: SearchValues, seconds: float, seed: int = 0) -> Search:
    """A search in a time budget, not written: with as many rungs as let most candidates be tried.

    Args:
        rows: how many of each part; `tokens`: of one row, on average.

    Raises:
        UserError: the budget is too small.
    """
    known, learned = measured.load(), rows["training"]

    def takes(candidate: Mapping[str, Any], share: float) -> TimeEstimate:
        config = shortened(settled(base, candidate), base, share, learned, "x")
        return time_estimate.training(facts, config, machine, learned, tokens * learned, rows["choosing"], known)

    evaluating = time_estimate.answering(facts, machine, 3 * min(rows["final"], ENOUGH), tokens, tuned=True).likely
    whole, candidates, found = takes({}, 1.0), values.draw(MOST, seed, base), []
    for depth in range(1, DEEPEST + 1):
        rungs = ladder(len(candidates), depth)
        if depth == 1 or total_steps(base, learned) * rungs[0].share >= FEWEST_STEPS:
            expected = [[takes(each, rung.share).likely for rung in rungs] for each in candidates]
            made = Search(Path(), base, values.texts, seconds, seed, rungs, candidates, expected, evaluating,
                          dict(rows))
            # It may be quicker than is likely, and more are tried then.
            most = affordable(replace(made, seconds=seconds * whole.likely / whole.low))
            found.append((most, -depth, made))
    best = max(found)[2]
    least = 2 * whole.low + evaluating * whole.low / whole.likely
    if len(candidates) < 2 or least > seconds:
        raise UserError(tr("The time is too short for a search.") if least > seconds else
                        tr("There is nothing to search."),
                        tr("The plan and one other setting take {time} with their evaluation.",
                           time=units.format_about(least)),
                        tr("Give it more time or other values, or choose fewer epochs or a smaller model."))
    return best


def left_over(search: Search, count: int) -> float:
    """Seconds of the budget that are left if so many candidates are tried on the first rung.

    What the trials still take is estimated, and corrected by what those that have ended took.
    """
    ended = [trial for trial in search.trials if trial.seconds]
    pace = sum(trial.seconds for trial in ended) / sum(
        search.expected[trial.candidate][trial.rung] for trial in ended) if ended else 1.0
    done = {(trial.rung, trial.candidate) for trial in search.trials}
    mean = [sum(each[rung] for each in search.expected) / len(search.expected) for rung in range(len(search.rungs))]
    first = sum(search.expected[each][0] for each in range(count) if (0, each) not in done)
    later = sum(max(0, rung.count + 1 - sum(each == place for each, _ in done)) * mean[place]
                for place, rung in enumerate(ladder(count, len(search.rungs))) if place)
    return search.seconds - search.spent - pace * (first + later) - search.evaluating


def affordable(search: Search) -> int:
    """How many candidates there is time for: two at least."""
    return next((count for count in range(len(search.candidates), 2, -1) if left_over(search, count) >= 0), 2)


def create(designed: Search, parts: Mapping[str, Sequence[Record]]) -> Search:
    """Write a search, with its rows.

    Raises:
        UserError: its folder can't be written.
    """
    with os_errors_as(tr("Could not create the search's folder.")):
        place = files.new_folder(paths.searches_dir() / f"{folder.slug(designed.base.name)}-search")
    for name, records in parts.items():
        store.write_rows(place / f"{name}.jsonl", records)
    search = replace(designed, folder=place, base=replace(
        designed.base, train_file=str(place / "training.jsonl"), eval_file=str(place / "choosing.jsonl"),
        train_map=None, eval_map=None))
    search.save()
    return search


def outline(search: Search) -> str:
    """What a search will do, and how long it takes, in sentences."""
    count = affordable(search)
    *short, full = ladder(count, len(search.rungs))
    rounds = [tr("{n} for {share:.0%} of their epochs", n=rung.count, share=rung.share) for rung in short]
    return join_sentences(
        tr("About {n} settings are tried, the plan among them, with other values of: {fields}.", n=count,
           fields=", ".join(map(label, search.fields))),
        tr("They are trained in rounds, and the best continue: {rounds}.", rounds=", ".join(
            [*rounds, tr("{n} in full", n=full.count)])),
        tr("{training:,} rows are trained on, {choosing:,} choose, and {final:,} that no choice sees give the final "
           "score.", **search.rows),
        tr("It takes {time}.", time=units.format_about(search.seconds - left_over(search, count))))


# -- The trials.


def _runs(search: Search) -> dict[Turn, Path]:
    """The run folders of the trials that have not ended yet, by what they train."""
    def key(config: RunConfig) -> str:
        return json.dumps({name: getattr(config, name) for name in FIELDS if name != "name"}, sort_keys=True)

    made = {key(RunConfig.from_dict(state)): place for place, state in folder.requests()
            if state.get("train_file") == search.base.train_file}
    turns = [(rung, each) for rung in range(len(search.rungs)) for each in entrants(search.rungs, search.losses, rung)]
    return {turn: made[own] for turn in turns
            if turn not in search.losses and (own := key(search.config(*turn))) in made}


def collect(search: Search) -> dict[Turn, Path]:
    """Note what the trials gave that have ended since. Returns the runs of those that have begun and not ended."""
    waiting = dict(_runs(search))
    for turn, run in list(waiting.items()):
        if (trial := _ended(turn, run)) is not None:
            search.trials.append(trial)
            del waiting[turn]
            if any(entry.folder == run for entry in queue.entries()):
                queue.remove(run)  # one that failed stays there until somebody has seen it
    return waiting


def _ended(turn: Turn, run: Path) -> Trial | None:
    """How a trial has ended; None if it hasn't, or is to be resumed."""
    job = jobs.Job(run)
    outcome = job.outcome()
    if outcome is None or outcome.state == "paused":
        return None
    memory = bool(outcome.result.get("consent")) or job.died_of_memory()
    if outcome.state == "crashed" and not memory and not is_given_up(job, outcome):
        return None
    about = folder.summarise(run)
    loss = about.eval_loss_after if outcome.state == "finished" else None
    good = loss is not None and math.isfinite(loss)
    state = (ENDED if good else OUT_OF_MEMORY if memory else
             ENDED_BY_HAND if outcome.state in ("stopped", "cancelled") else LOST)
    return Trial(*turn, str(run), state, loss if good else None, about.seconds, outcome.error)


def is_given_up(job: jobs.Job, outcome: Outcome) -> bool:
    """Whether a job has crashed so often that another try makes no sense."""
    return outcome.state == "crashed" and sum(event.get("type") == "job_started" for event in job.events()) >= TRIES


def _fits(search: Search, turn: Turn) -> bool:
    """Whether there is time for a trial. For the plan and the best of the others there always is."""
    rung, candidate = turn
    if candidate == PLAN or entrants(search.rungs, search.losses, rung).index(candidate) <= 1:
        return True
    return left_over(search, candidate + 1 if rung == 0 else search.rungs[0].count) >= 0


def queue_next(search: Search) -> Path | None:
    """Put the next trial into the queue, unless one is in it. Returns its run; None if all trials have ended."""
    waiting = collect(search)
    while (turn := next_turn(search.rungs, search.losses)) is not None:
        run = waiting.get(turn)
        if run is None and not _fits(search, turn):
            if turn[0] == 0:  # no other begins
                search.rungs = ladder(turn[1], len(search.rungs))
            else:
                search.trials.append(Trial(*turn, state=SKIPPED))
            continue
        if run is None:
            run = folder.create(search.config(*turn), evaluate=False).folder
        if not any(entry.folder == run and entry.state in ("waiting", "running") for entry in queue.entries()) and (
                not jobs.Job(run).is_alive()):
            queue.add(run, time=TimeEstimate.around(
                search.expected[turn[1]][turn[0]], time_estimate.SCALED))
        return run
    return None


def stop(place: Path) -> None:
    """Let no further trial begin, and the running one save and end. `resume` continues.

    Raises:
        UserError: the search or the queue can't be changed.
    """
    with changing(place) as search:
        if search.state != RUNNING:
            return
        search.state = STOPPED
        for run in collect(search).values():
            if any(entry.folder == run and entry.state != "running" for entry in queue.entries()):
                queue.remove(run)
            if (job := jobs.Job(run)).is_alive():
                job.send("free")


def resume(place: Path) -> None:
    """Let a search that was stopped continue. Raises as `stop`."""
    with changing(place) as search:
        if search.state == STOPPED:
            search.state = RUNNING


def columns() -> tuple[str, ...]:
    return tr("Round"), tr("Settings"), tr("Eval loss"), tr("State"), tr("Time")


def values_text(search: Search, candidate: int) -> str:
    """What a candidate changes, as in "Learning rate 3e-4, Rank 8"."""
    return ", ".join(f"{label(name)} {write(value)}" for name, value in search.candidates[candidate].items()) or (
        tr("the plan"))


def chosen_values(search: Search) -> dict[str, Any]:
    """The fields in which the best candidate differs from the plan; none before there is one."""
    if search.best is None:
        return {}
    best = settled(search.base, search.candidates[search.best])
    return {name: getattr(best, name) for name in FIELDS if getattr(best, name) != getattr(search.base, name)}

