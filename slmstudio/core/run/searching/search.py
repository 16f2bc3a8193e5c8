"""A search for better settings within a time budget, by successive halving (Jamieson and Talwalkar 2016, arXiv
1502.07943): many settings train for a share of their epochs, and the best again for longer.

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
from typing import TYPE_CHECKING, Any

from slmstudio.core import files, formats, jobs, paths, program, units
from slmstudio.core.data import split
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.i18n import join_sentences, noop, ntr, tr
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import folder, measured, queue, time_estimate
from slmstudio.core.run.config import FIELDS, RunConfig, label
from slmstudio.core.run.curves import total_steps
from slmstudio.core.run.run_fields import write
from slmstudio.core.run.searching.search_values import parse, settled
from slmstudio.core.run.time_estimate import TimeEstimate

if TYPE_CHECKING:
    from slmstudio.core.run.planning.planner import Plan

FILE, LOCK = "search.json", "search.lock"
RUNNING, STOPPED, FINISHED = "running", "stopped", "finished"
PLAN = 0
"""The candidate that changes nothing."""
ETA, DEEPEST, MOST = 3, 3, 64
"""One of so many candidates continues in the next round; rounds and candidates at most."""
FEWEST_STEPS, FEWEST_ROWS = 5, 20
SHARE, ENOUGH = 0.15, 200
"""Of all rows, those that choose, and as many for the final score; no more rows than so many."""
TRIES = 3
"""A job whose process crashes is resumed until it was started this often."""
ENDED, FAILED, OUT_OF_MEMORY, ENDED_BY_HAND, SKIPPED = "finished", "failed", "memory", "stopped", "skipped"
STATES = {ENDED: noop("finished"), FAILED: noop("failed"), OUT_OF_MEMORY: noop("out of memory"),
          ENDED_BY_HAND: noop("stopped"), SKIPPED: noop("no time left")}
Turn = tuple[int, int]
"""A round and a candidate."""
Losses = Mapping[Turn, float | None]
"""Eval losses of the trials that have ended; None of one that is lost."""


# -- Successive halving.


def counts_of(count: int, rounds: int) -> list[int]:
    """How many candidates each round has, where the first has `count`; the plan comes along besides."""
    return [max(2, math.ceil(count / ETA ** each)) for each in range(rounds)]


def entrants(counts: Sequence[int], losses: Losses, place: int) -> list[int]:
    """The candidates of a round: the plan, and the best of the round before, the best first; none before that has
    ended."""
    if place == 0:
        return list(range(counts[0]))
    before = [(place - 1, candidate) for candidate in entrants(counts, losses, place - 1)]
    if any(turn not in losses for turn in before):
        return []
    best = sorted((loss, turn[1]) for turn in before if (loss := losses[turn]) is not None)[:counts[place]]
    plan = [PLAN] if losses.get((place - 1, PLAN)) is not None else []
    return plan + [candidate for _, candidate in best if candidate != PLAN]


def next_turn(counts: Sequence[int], losses: Losses) -> Turn | None:
    """The trial that comes next; None if there is none."""
    turns = ((place, each) for place in range(len(counts)) for each in entrants(counts, losses, place))
    return next((turn for turn in turns if turn not in losses), None)


def winner(counts: Sequence[int], losses: Losses) -> int | None:
    """The candidate with the lowest loss after full training, the plan where another is no better; None without one."""
    last = len(counts) - 1
    found = [(loss, each) for each in entrants(counts, losses, last) if (loss := losses.get((last, each))) is not None]
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

    place: int
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
        count: candidates of the first round; all of them as long as there is time.
        candidates: the values of each; the first has none, and is the plan.
        expected: by candidate and round, the seconds that a trial was estimated to take; `evaluating`: those of the
            final score.
        rows: how many "training", "choosing" and "final" rows there are.
        state: `RUNNING`, `STOPPED` or `FINISHED`.
        verdict: {"case": a word of `search_end`, "comparison": as in scores.json}; None before the end.
    """

    folder: Path
    base: RunConfig
    fields: dict[str, str]
    seconds: float
    seed: int
    rounds: int
    count: int
    candidates: list[dict[str, Any]]
    expected: list[list[float]]
    evaluating: float
    rows: dict[str, int]
    state: str = RUNNING
    trials: list[Trial] = field(default_factory=list)
    verdict: dict[str, Any] | None = None

    @property
    def counts(self) -> list[int]:
        return counts_of(self.count, self.rounds)

    @property
    def losses(self) -> Losses:
        return {(trial.place, trial.candidate): trial.loss for trial in self.trials}

    @property
    def spent(self) -> float:
        """Seconds that the trials have worked."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def best(self) -> int | None:
        return winner(self.counts, self.losses)

    @property
    def better_values(self) -> dict[str, Any]:
        """The fields in which the best differs from the plan; none where it did worse on the final rows."""
        if (self.verdict or {}).get("case") == "worse":
            return {}
        best = settled(self.base, self.candidates[self.best or PLAN])
        return {name: getattr(best, name) for name in FIELDS if getattr(best, name) != getattr(self.base, name)}

    def config(self, turn: Turn) -> RunConfig:
        """What a trial trains, with its own full schedule."""
        return shortened(self.base, self.candidates[turn[1]], ETA ** (turn[0] + 1 - self.rounds),
                         self.rows["training"], f"{self.folder.name} {turn[0] + 1}.{turn[1]}")

    def run_of(self, candidate: int) -> Path | None:
        """The run that trained a candidate in full."""
        return next((Path(trial.run) for trial in self.trials if trial.loss is not None
                     and (trial.place, trial.candidate) == (self.rounds - 1, candidate)), None)

    def left_over(self, count: int) -> float:
        """Seconds of the budget that are left where the first round has so many candidates. What trials still take is
        estimated, corrected by what others took."""
        ended = [trial for trial in self.trials if trial.seconds]
        pace = self.spent / sum(self.expected[each.candidate][each.place] for each in ended) if ended else 1.0
        done = {(each.place, each.candidate) for each in self.trials}
        first = sum(self.expected[each][0] for each in range(count) if (0, each) not in done)
        later = sum(max(0, wanted + 1 - sum(each == place for each, _ in done))
                    * sum(each[place] for each in self.expected) / len(self.expected)
                    for place, wanted in enumerate(counts_of(count, self.rounds)) if place)
        return self.seconds - self.spent - pace * (first + later) - self.evaluating

    def affordable(self) -> int:
        """How many candidates there is time for: two at least."""
        return next((each for each in range(len(self.candidates), 2, -1) if self.left_over(each) >= 0), 2)

    def to_dict(self) -> dict[str, Any]:
        return {**formats.stamp("search"), **asdict(self), "folder": str(self.folder), "base": self.base.to_dict()}

    def save(self) -> None:
        with os_errors_as(tr("Could not write {file}.", file=FILE)):
            files.write_atomically(self.folder / FILE, files.dump_pretty(self.to_dict()))


class Damaged(UserError):
    """The file isn't a search."""


def read(place: Path) -> Search:
    """Raises UserError: it is damaged, or is of a newer program."""
    state = formats.read("search", place / FILE) or {}
    try:
        values = {each.name: state[each.name] for each in fields(Search)}
        return Search(**{**values, "folder": place, "base": RunConfig.from_dict(state["base"], place / FILE),
                         "trials": [Trial(**each) for each in state["trials"]]})
    except (KeyError, TypeError) as error:
        raise Damaged(tr("{file} is damaged.", file=place / FILE), tr("It isn't a search."),
                      tr("Start another search. Its trials are in the list of runs.")) from error


def named(text: str) -> Path:
    """The folder of a search, by its name or folder. Raises UserError: there is none."""
    for place in (paths.searches_dir() / text, Path(text)):
        if (place / FILE).is_file():
            return place.absolute()
    raise UserError(tr("There is no search “{name}”.", name=text), "",
                    tr("To see the searches: {command}", command=program.command("tune")))


def folders() -> list[Path]:
    """The folders of all searches, the newest first."""
    found = [file.parent for file in paths.searches_dir().glob(f"*/{FILE}")]
    return sorted(found, key=lambda place: (place / "final.jsonl").stat().st_mtime, reverse=True)


def is_trial(config: RunConfig) -> bool:
    """Whether a run is one of a search's."""
    return Path(config.train_file).is_relative_to(paths.searches_dir())


@contextmanager
def changing(place: Path) -> Iterator[Search]:
    """A search to be changed in place; written when the block ends well. One process at a time."""
    import filelock

    with filelock.FileLock(place / LOCK):
        found = read(place)
        yield found
        found.save()


# -- A new search.


def shortened(base: RunConfig, values: Mapping[str, Any], share: float, rows: int, name: str) -> RunConfig:
    """The plan with these values for a share of its epochs, evaluated as often as the plan."""
    config = settled(base, values)
    short = replace(config, name=name, epochs=max(0.0001, round(config.epochs * share, 4)),
                    max_steps=config.max_steps and max(1, round(config.max_steps * share)), sample_max_tokens=0)
    scale = total_steps(short, rows) / total_steps(base, rows)
    return replace(short, **{each: max(1, round(getattr(base, each) * scale)) for each in ("eval_steps", "save_steps")})


def divide(records: Sequence[Record], config: RunConfig, final: Sequence[Record] | None = None
           ) -> dict[str, Sequence[Record]]:
    """The rows that are trained on, those that choose, and those that no choice sees.

    Args:
        final: the last of these, from a test file; None takes some of the others.

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


def prepare(plan: Plan, facts: ModelFacts, records: Sequence[Record], final: Sequence[Record] | None,
            given: Mapping[str, str], seconds: float, seed: int = 0) -> tuple[Search, dict[str, Sequence[Record]]]:
    """A search for something better than a plan, with as many rounds as let most candidates be tried, and its rows;
    nothing is written.

    Args:
        records: the rows of the plan; `final`: those of its test file.
        given: the fields to search, as `search_values.parse` reads them.

    Raises:
        UserError: as `parse` and `divide`; or the budget is too small.
    """
    base, machine, known, tokens = plan.config, read_machine(), measured.load(), plan.counts.tokens / max(
        1, plan.counts.learned)
    parts, values = divide(records, base, final), parse(given, base)
    rows = {name: len(part) for name, part in parts.items()}
    learned, candidates = rows["training"], values.draw(MOST, seed, base)

    def takes(candidate: Mapping[str, Any], share: float) -> TimeEstimate:
        return time_estimate.training(facts, shortened(base, candidate, share, learned, "x"), machine, learned,
                                      tokens * learned, rows["choosing"], known)

    whole = takes({}, 1.0)
    evaluating = time_estimate.answering(facts, machine, 3 * min(rows["final"], ENOUGH), tokens, tuned=True).likely
    least = 2 * whole.low + evaluating * whole.low / whole.likely
    if len(candidates) < 2 or least > seconds:
        raise UserError(tr("The search can't be started."),
                        tr("The plan and one other setting take {time} with their evaluation.",
                           time=units.format_about(least)),
                        tr("Give it more time or other values, or choose fewer epochs or a smaller model."))
    found = []
    for rounds in range(1, DEEPEST + 1):
        if rounds == 1 or total_steps(base, learned) * ETA ** (1 - rounds) >= FEWEST_STEPS:
            expected = [[takes(each, ETA ** (place + 1 - rounds)).likely for place in range(rounds)]
                        for each in candidates]
            made = Search(Path(), base, values.texts, seconds, seed, rounds, len(candidates), candidates, expected,
                          evaluating, rows)
            # Where little is known it may go faster, and more are tried then.
            found.append((replace(made, seconds=seconds * whole.likely / whole.low).affordable(), -rounds, made))
    return max(found)[2], parts


def create(designed: Search, parts: Mapping[str, Sequence[Record]]) -> Search:
    """Write a search, with its rows. Raises UserError: its folder can't be written."""
    from slmstudio.core.data.versions import store  # what reads and writes rows isn't needed to look at a search

    with os_errors_as(tr("Could not create the search's folder.")):
        place = files.new_folder(paths.searches_dir() / f"{folder.slug(designed.base.name)}-search")
    for name, records in parts.items():
        store.write_rows(place / f"{name}.jsonl", records)
    search = replace(designed, folder=place, base=replace(
        designed.base, train_file=str(place / "training.jsonl"), eval_file=str(place / "choosing.jsonl"),
        train_map=None, eval_map=None))
    search.save()
    return search


# -- The trials.


def _begun(search: Search) -> dict[Turn, Path]:
    """The run folders of the trials that haven't ended yet, by what they train: people may rename them."""
    def key(config: RunConfig) -> str:
        return json.dumps({name: getattr(config, name) for name in FIELDS if name != "name"}, sort_keys=True)

    made = {key(RunConfig.from_dict(state)): place for place, state in folder.requests()
            if state.get("train_file") == search.base.train_file}
    turns = [(place, each) for place in range(search.rounds)
             for each in entrants(search.counts, search.losses, place) if (place, each) not in search.losses]
    return {turn: made[own] for turn in turns if (own := key(search.config(turn))) in made}


def _collect(search: Search) -> dict[Turn, Path]:
    """Note what the trials gave that have ended since. Returns the runs of those that have begun and not ended."""
    begun = _begun(search)
    for turn, run in list(begun.items()):
        if (trial := _ended(turn, run)) is not None:
            search.trials.append(trial)
            del begun[turn]
            if any(entry.folder == run for entry in queue.entries()):
                queue.remove(run)  # one that failed stays there until somebody has seen it
    return begun


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
             ENDED_BY_HAND if outcome.state in ("stopped", "cancelled") else FAILED)
    return Trial(*turn, str(run), state, loss if good else None, about.seconds, outcome.error)


def is_given_up(job: jobs.Job, outcome: Outcome) -> bool:
    """Whether a job has crashed so often that it isn't tried any more."""
    return outcome.state == "crashed" and sum(event.get("type") == "job_started" for event in job.events()) >= TRIES


def queue_next(search: Search) -> Path | None:
    """Put the next trial into the queue, unless one is in it. Returns its run; None if all trials have ended."""
    begun = _collect(search)
    while (turn := next_turn(search.counts, search.losses)) is not None:
        run = begun.get(turn)
        # For the plan and one other there is always time.
        if run is None and entrants(search.counts, search.losses, turn[0]).index(turn[1]) > 1 and search.left_over(
                turn[1] + 1 if turn[0] == 0 else search.count) < 0:
            if turn[0] == 0:
                search.count = turn[1]
            else:
                search.trials.append(Trial(*turn, state=SKIPPED))
            continue
        run = run or folder.create(search.config(turn), evaluate=False).folder
        if not any(entry.folder == run and entry.state in ("waiting", "running") for entry in queue.entries()) and (
                not jobs.Job(run).is_alive()):
            queue.add(run, time=TimeEstimate.around(search.expected[turn[1]][turn[0]], time_estimate.SCALED))
        return run
    return None


def stop(place: Path) -> None:
    """Let no further trial begin, and the one that trains save and end. Raises UserError: it can't be changed."""
    with changing(place) as search:
        if search.state == RUNNING:
            search.state = STOPPED
            for run in _collect(search).values():
                if any(entry.folder == run and entry.state != "running" for entry in queue.entries()):
                    queue.remove(run)
                if (job := jobs.Job(run)).is_alive():
                    job.send("free")


def resume(place: Path) -> None:
    """Let a search that was stopped continue. Raises UserError: it can't be changed."""
    with changing(place) as search:
        search.state = RUNNING if search.state == STOPPED else search.state


# -- What people read.


def outline(search: Search) -> str:
    """What a search will do, and how long it takes."""
    count = search.affordable()
    *short, full = counts_of(count, search.rounds)
    rounds = [tr("{n} for {share:.0%} of their epochs", n=each, share=ETA ** (place + 1 - search.rounds))
              for place, each in enumerate(short)]
    return join_sentences(
        tr("About {n} settings are tried, the plan among them, with other values of: {fields}.", n=count,
           fields=", ".join(map(label, search.fields))),
        tr("They are trained in rounds, and the best continue: {rounds}.",
           rounds=", ".join([*rounds, tr("{n} in full", n=full)])),
        tr("{training:,} rows are trained on, {choosing:,} choose the settings, and {final:,} are set aside for the "
           "final score.", **search.rows),
        tr("It takes {time}.", time=units.format_about(search.seconds - search.left_over(count))))


def progress(search: Search) -> str:
    """How far a search is that hasn't ended."""
    done = len(search.trials)
    if search.state == STOPPED:
        return ntr("The search is stopped. {n} trial has ended.", "The search is stopped. {n} trials have ended.", done)
    if next_turn(search.counts, search.losses) is None:
        return tr("The best and the plan answer rows that the search never used.")
    return tr("Trial {n} is training or comes next. The trials so far took {spent} of {budget}.", n=done + 1,
              spent=units.format_duration(search.spent), budget=units.format_duration(search.seconds))


def values_text(search: Search, candidate: int) -> str:
    """What a candidate changes, as in "Learning rate 3e-4, Rank 8"."""
    return ", ".join(f"{label(name)} {write(value)}" for name, value in search.candidates[candidate].items()) or (
        tr("the plan"))


def table(search: Search) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """What was tried, the longest trials first and of these the best: headings and rows."""
    ended = sorted(search.trials, key=lambda each: (-each.place, math.inf if each.loss is None else each.loss))
    return (tr("Settings"), tr("Round"), tr("Eval loss"), tr("State"), tr("Time")), [
        (values_text(search, each.candidate), str(each.place + 1), units.format_loss(each.loss),
         tr(STATES[each.state]), units.format_duration(each.seconds)) for each in ended]
