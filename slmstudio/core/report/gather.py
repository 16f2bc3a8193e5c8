"""All facts about a run folder, read once, and what happened in it as a timeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, i18n, jobs, program
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.comparability import preferred
from slmstudio.core.export import proof
from slmstudio.core.files import finite
from slmstudio.core.i18n import ntr, number_text, tr
from slmstudio.core.report import text
from slmstudio.core.report.evaluations import Evaluation, read_evaluations
from slmstudio.core.run import adjust, checkpoints, folder, notes
from slmstudio.core.run.event_text import event_text, tone
from slmstudio.core.run.history import RunHistory
from slmstudio.core.run.notes import Notes
from slmstudio.core.run.rows import run_rows
from slmstudio.core.run.rows.run_rows import Manifest
from slmstudio.core.run.store import RUNS

# -- What happened in a run, as lines: told events, crashes between attempts, what the user or want of memory
# changed.

MOST_LINES = 150
_EVERYDAY = frozenset({"eval", "checkpoint_saved", "guard_rest", "guard_resume"})
"""Events that a long run has hundreds of; the evaluations have a table of their own, and the rests a sentence."""


@dataclass(frozen=True)
class Line:
    """One line of the timeline.

    Attributes:
        time: seconds since 1970, or None if the event has no time.
        work: seconds of work at that moment.
        tone: "warn" for what an approver should notice, "bad" for a failure, else "".
        everyday: left out first when there are too many lines.
    """

    time: float | None
    work: float
    text: str
    tone: str = ""
    everyday: bool = False


@dataclass
class Timeline:
    """
    Attributes:
        lines: what happened.
        crashes: attempts that ended without a word.
        pauses: how often it was paused.
    """

    lines: list[Line] = field(default_factory=list)
    crashes: int = 0
    pauses: int = 0


def timeline_of(history: RunHistory) -> Timeline:
    """What happened in a run."""
    found = Timeline()
    at_work = restarts = False
    for event, work in zip(history.told, history.told_at, strict=True):
        kind = str(event.get("type"))
        if kind == "job_started" and at_work and not restarts:
            found.crashes += 1
            found.lines.append(Line(None, work, tr("The previous worker ended unexpectedly: it crashed, was killed, or "
                                                   "the machine went down"), "bad"))
        if text := event_text(event):
            found.lines.append(Line(finite(event.get("time")), work, f"{text[0].upper()}{text[1:]}", tone(event),
                                    kind in _EVERYDAY))
        found.pauses += kind == "paused"
        if kind == "job_started":
            at_work, restarts = True, False
        elif kind == "job_ended":
            at_work = False
        elif kind in ("adjusted", jobs.MEMORY_KILL):
            restarts = True  # the next start is the program's own
    return found


def fitting(lines: list[Line], most: int = MOST_LINES) -> tuple[list[Line], str]:
    """The lines that fit into the page, and a sentence on what was left out."""
    if len(lines) <= most:
        return lines, ""
    kept = [line for line in lines if not line.everyday]
    note = tr("{lines:,} evaluations, checkpoints and rests are left out here; events.jsonl has them all.",
              lines=len(lines) - len(kept))
    if len(kept) > most:
        half = most // 2
        note = tr("{lines:,} lines are too many for a page. Apart from evaluations, checkpoints and rests, only the "
                  "first and last {half} are shown; events.jsonl has them all.", lines=len(lines),
                  half=half)
        kept = [*kept[:half], *kept[-half:]]
    return kept, note


def device_name(device: Any) -> str:
    return tr("the processor") if device == "cpu" else str(device or tr("a device that wasn't recorded"))


MOST_STEPS = 200


@dataclass(frozen=True)
class Export:
    """A file below exports/.

    Attributes:
        parity: NAME.parity.json; empty when the file was never proven.
    """

    path: Path
    bytes: int
    parity: dict[str, Any]


@dataclass(frozen=True)
class BaseModel:
    """The base model, as far as its folder still exists.

    Attributes:
        licence: its name; "" if nothing states it.
        missing: why the folder couldn't be read, or "".
        facts: (name, value), for people.
    """

    name: str
    licence: str
    missing: str = ""
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(kw_only=True)
class Facts:
    """What a run's files contain.

    Attributes:
        steps: `step` events: `MOST_STEPS` at most, evenly spread over those that count.
        record: run.json. adjusted: later values that override it.
        outcome: outcome.json, or what is known about a run that died; empty while it has none.
        rows: what is said about the rows that the run keeps; None if it keeps none.
        result_files: (name, bytes, SHA-256 or None) of the adapter or model.
        gaps: sentences on files that are missing or damaged, and so about what this report can't show.
    """

    run: folder.RunSummary
    history: RunHistory
    timeline: Timeline
    steps: list[dict[str, Any]]
    record: dict[str, Any]
    adjusted: dict[str, Any]
    outcome: dict[str, Any]
    base: BaseModel
    result_files: list[tuple[str, int, str | None]]
    exports: list[Export]
    kept: list[checkpoints.Checkpoint]
    evaluations: list[Evaluation]
    notes: Notes
    rows: Manifest | None = None
    gaps: list[str] = field(default_factory=list)

    @property
    def main_evaluation(self) -> Evaluation | None:
        """The one to judge the run by; None if no test set was scored."""
        return next(iter(preferred(self.evaluations, self.run.config.eval_file)), None)


def gather(run: Path) -> Facts:
    """Read a run folder. Raises UserError: it isn't a run folder, or its run.json can't be used."""
    if not (run / jobs.RUN).is_file():
        raise UserError(tr("{run} isn't a run folder.", run=run), tr("It has no run.json."),
                        tr("To see the run folders: {command}", command=program.command("runs")))
    if files.read_json(run / jobs.RUN) is None:
        raise UserError(tr("run.json of {run} is damaged.", run=run.name),
                        tr("It's cut off, or isn't a JSON object."),
                        tr("Without it, nothing is known about the run. Restore it from a backup."))
    summary, history = folder.summarise(run), RUNS.history(run)
    gaps: list[str] = []
    record = _fitting(files.read_json(run / jobs.RUN) or {}, text.RECORD, jobs.RUN, gaps)
    evaluations = read_evaluations(run)
    found = Facts(
        run=summary, history=history, timeline=timeline_of(history), steps=_steps(run, history),
        record=record, adjusted=adjust.load(run)["values"], outcome=i18n.without_sources(_outcome(run, gaps)),
        base=read_base(Path(summary.config.model)), result_files=_result_files(run), exports=_exports(run, gaps),
        kept=checkpoints.all_checkpoints(run / folder.CHECKPOINTS), evaluations=evaluations, notes=notes.read(run),
        rows=_rows(run, gaps), gaps=gaps)
    gaps += [each.gap for each in evaluations if each.gap]
    if history.last_time is None and summary.state != "new":
        gaps.insert(0, tr("Nothing in {file} can be read, so the steps, curves, temperatures and events aren't "
                          "known.", file=jobs.EVENTS) if (run / jobs.EVENTS).exists() else
                    tr("{file} is missing, so the steps, curves, temperatures and events aren't known.",
                       file=jobs.EVENTS))
    return found


def _steps(run: Path, history: RunHistory) -> list[dict[str, Any]]:
    lines, last = history.lines.y, len(history.lines) - 1
    most = min(len(lines), MOST_STEPS)
    picked = sorted({round(index * last / max(1, most - 1)) for index in range(most)})
    found = []
    if picked:
        with open(run / jobs.EVENTS, "rb", opener=files.regular) as file:
            for index in picked:
                file.seek(int(lines[index]))
                found.append(files.an_object(files.parsed(file.readline())))
    return found


def _rows(run: Path, gaps: list[str]) -> Manifest | None:
    try:
        return run_rows.read_manifest(run)
    except formats.NewerFormat:
        raise
    except UserError as error:
        gaps.append(error.what)
        return None


def _fitting(value: dict[str, Any], shape: dict[str, Any], name: str, gaps: list[str]) -> dict[str, Any]:
    lost: list[str] = []
    fitted: dict[str, Any] = text.fit(value, shape, lost)
    if lost:
        gaps.append(text.sentence(name, lost))
    return fitted


def _outcome(run: Path, gaps: list[str]) -> dict[str, Any]:
    written = files.read_json(run / jobs.OUTCOME)
    if written is not None:
        return {**written, "error": jobs.Outcome.read(written).error} if written.get("error") else written
    if (run / jobs.OUTCOME).exists():
        gaps.append(tr("{file} is damaged, so only the events say how the run ended.", file=jobs.OUTCOME))
    died = jobs.Job(run).outcome()
    return {} if died is None else {"state": died.state, "error": died.error, "details": died.details}


def read_base(path: Path) -> BaseModel:
    """Name, licence and sizes of the base model; a folder that is gone is named as such."""
    from slmstudio.core.model.facts import read_model
    from slmstudio.core.units import format_bytes, format_count

    try:
        model = read_model(path)
    except UserError as error:
        return BaseModel(path.name, "", str(error).splitlines()[0])
    return BaseModel(model.name, model.licence or "", facts=(
        (tr("Family"), model.family), (tr("Architecture"), model.architecture),
        (tr("Parameters"), f"{format_count(model.parameters)} ({number_text(model.parameters)})"),
        (tr("Context length"), ntr("{n:,} token", "{n:,} tokens", model.context_length)),
        (tr("Vocabulary"), ntr("{n:,} token", "{n:,} tokens", model.vocabulary_size)),
        (tr("Number format"), model.dtype), (tr("Size of its weights"), format_bytes(model.disk_bytes))))


def _result_files(run: Path) -> list[tuple[str, int, str | None]]:
    """The files of the adapter or model, with the hashes that its manifest holds."""
    place = folder.result_folder(run)
    if place is None:
        return []
    known = (files.read_json(place / checkpoints.MANIFEST) or {}).get("files") or {}
    return [(f"{place.name}/{path.relative_to(place).as_posix()}", path.stat().st_size,
             (known.get(path.relative_to(place).as_posix()) or {}).get("sha256"))
            for path in sorted(place.rglob("*")) if path.is_file() and not path.name.startswith("manifest.")]


def _exports(run: Path, gaps: list[str]) -> list[Export]:
    place = run / folder.EXPORTS
    found = sorted(place.iterdir()) if place.is_dir() else []
    return [Export(path, files.size_of(path),
                   _fitting(proof.read(path), text.PARITY, tr("The proof of {file}", file=path.name), gaps))
            for path in found
            if not path.name.startswith(".") and path.suffix != ".json"]
