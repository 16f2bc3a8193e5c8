"""A run is a folder: the only store of what was asked, what happened, and what came out."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, jobs, paths, program
from slmstudio.core.errors import Problem, UserError, from_os_error, os_errors_as
from slmstudio.core.files import number
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.run import checkpoints, config_file
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.store import RUNS, Totals

# -- Names of runs: what a name may be, and how one that is taken is told apart. The name itself is kept in run.json.

LONGEST_NAME = 100
"""Characters; a longer one is a note."""


def cleaned_name(name: str) -> str:
    """A name as it is kept: composed, in one line, without spaces around it.

    >>> cleaned_name("  help   desk ")
    'help desk'
    """
    return " ".join(unicodedata.normalize("NFC", name).split())


def following_name(name: str) -> str:
    """The name of the run after this one.

    >>> following_name("helpdesk"), following_name("helpdesk-2")
    ('helpdesk-2', 'helpdesk-3')
    """
    match = re.fullmatch(r"(.*)-([1-9]\d{0,3})", name)
    return f"{match[1]}-{int(match[2]) + 1}" if match else f"{name}-2"


def is_name_taken(name: str, taken: Iterable[str]) -> bool:
    """Whether another run has this name, whatever its case."""
    return cleaned_name(name).casefold() in {cleaned_name(each).casefold() for each in taken}


def free_name(name: str, taken: Iterable[str]) -> str:
    """The name itself, or the next one after it that no other run has.

    >>> free_name("helpdesk", ["Helpdesk", "helpdesk-2"]), free_name("helpdesk", [])
    ('helpdesk-3', 'helpdesk')
    """
    known = list(taken)
    while is_name_taken(name, known):
        name = following_name(name)
    return name


CHECKPOINTS, ADAPTER, MODEL, EXPORTS = "checkpoints", "adapter", "model", paths.EXPORTS
RESULT_DIGEST = "manifest_sha256"
"""Under this name the outcome's result holds the SHA-256 of the manifest of what the run left."""
LATEST = 253_402_214_400.0
"""Seconds since 1970 at the end of the year 9999: no clock shows a later moment."""


def create(config: RunConfig, parent: Path | None = None, evaluate: bool = True) -> jobs.Job:
    """Make a new run folder, `2026-11-24-name-7f3a`, holding run.json. A name that another run has gets a number.

    Args:
        evaluate: whether an evaluation is to follow when it has ended well, unless the settings say otherwise.

    Raises:
        UserError: the folder can't be written.
    """
    parent = parent or paths.runs_dir()
    config = replace(config, name=free_name(config.name, names_in(parent)))
    folder = parent / f"{time.strftime('%Y-%m-%d')}-{slug(config.name)}-{secrets.token_hex(2)}"
    with os_errors_as(tr("Could not create the run folder.")):
        folder = files.new_folder(folder)
        files.write_atomically(
            folder / jobs.RUN,
            files.dump_pretty({"protocol": jobs.PROTOCOL, **config.to_dict(), "created": time.time(),
                               config_file.EVALUATE: evaluate, "versions": config_file.versions(),
                               "hashes": config_file.hashes(config)}))
    return jobs.Job(folder)


def rename(folder: Path, name: str) -> str:
    """Give a run another name; returns it as it is kept.

    Only run.json says it: the folder stays where it is, for workers, exports and other runs know it by its place. A run
    may be running meanwhile: its worker reads run.json as it starts, and writes none.

    Raises:
        UserError: the name is none, is too long or is taken; or run.json is damaged or can't be written.
    """
    path, name = Path(folder) / jobs.RUN, cleaned_name(name)
    refused = tr("{run} wasn't renamed.", run=Path(folder).name)
    if not 0 < len(name) <= LONGEST_NAME:
        raise UserError(refused,
                        tr("A name can have 1 to {longest} characters; this one has {length:,}.", longest=LONGEST_NAME,
                           length=len(name)), tr("Choose another name."))
    taken = names_in(path.absolute().parent.parent, but=path.absolute().parent)
    if is_name_taken(name, taken):
        raise UserError(refused, tr("Another run is called “{name}”.", name=name),
                        tr("Choose another name: “{free}” is free.", free=free_name(name, taken)))
    with os_errors_as(tr("Could not rename the run.")):
        state = formats.read("run", path)
        if state is None:
            raise UserError(refused, tr("Its run.json is missing or damaged."),
                            tr("Choose a run folder that SLM Studio made."))
        # The file is a new one from now on, and must not say that the run is.
        files.write_atomically(path, files.dump_pretty({**state, "name": name, "created": _created(folder, state)}))
    return name


def skip_evaluation(folder: Path) -> None:
    """Let no evaluation follow a run. Raises UserError: its run.json can't be read or written."""
    state = jobs.Job(folder).request()
    with os_errors_as(tr("Could not create the run folder.")):
        files.write_atomically(folder / jobs.RUN, files.dump_pretty({**state, config_file.EVALUATE: False}))


def names_in(parent: Path, but: Path | None = None) -> list[str]:
    """The names of the runs in a folder, except for that of one."""
    return [str(request.get("name")) for folder, request in requests(parent) if folder != but]


def slug(name: str) -> str:
    """A folder name that every file system takes; letters of any script stay."""
    text = unicodedata.normalize("NFC", name).strip().lower()
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c == "." else "-" for c in text)
    return re.sub(r"-{2,}", "-", kept).strip("-.")[:60] or "run"


@dataclass(frozen=True)
class RunSummary(Totals):
    """What the list of runs shows of one folder.

    Attributes:
        state: "new", "running", "resting" (for the guard), "paused", or an outcome's state, of which "paused" is one
            too: saved, and ended to free the memory.
        at_work: whether a process has it.
        created: seconds since 1970; when run.json was written, where it doesn't say so itself.
        eval_loss_after: at the end, or so far; None if it wasn't measured again, NaN where it isn't a number.
        result: outcome.json's result.
    """

    folder: Path
    config: RunConfig
    created: float
    state: str
    error: dict[str, Any] | None
    eval_loss_after: float | None
    result: dict[str, Any]
    at_work: bool

    @property
    def resumable(self) -> bool:
        """Whether Resume is possible: it ended early and wasn't finished."""
        return self.state in ("crashed", "failed", "stopped", "paused", "new") and not self.at_work and (
            self.total_steps is None or self.steps < self.total_steps)

    def exports(self) -> list[Path]:
        """Finished GGUF files of the whole model, newest first."""
        return exported(self.folder)


def has_adapter(folder: Path) -> bool:
    found = result_folder(folder)
    return found is not None and found.name == ADAPTER


def exported(folder: Path) -> list[Path]:
    """A run's finished GGUF files of the whole model, newest first. A GGUF LoRA is none."""
    found = [path for path in (folder / EXPORTS).glob("*.gguf") if not path.name.endswith(paths.LORA_ENDING)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def summarise(folder: Path) -> RunSummary:
    """Read one run folder.

    Raises:
        UserError: its run.json can't be used, or a newer program wrote a file of it.
        OSError: a file of it can't be read.
    """
    job = jobs.Job(folder)
    state = job.request()
    config = RunConfig.from_dict(state, folder / jobs.RUN)
    outcome = job.outcome()
    found = RUNS.totals(folder, outcome)
    if outcome is None and (outcome := job.outcome()) is not None:  # it ended meanwhile
        found = RUNS.totals(folder, outcome)
    if outcome is not None:
        status = outcome.state
    elif not found.begun and not job.is_alive():
        status = "new"
    else:
        status = "paused" if found.paused else "resting" if found.resting else "running"
    result = outcome.result if outcome else {}
    eval_loss = number(result, "eval_loss_after")
    return RunSummary(**vars(found), folder=folder, config=config, created=_created(folder, state), state=status,
                      error=outcome.error if outcome else None, result=result,
                      eval_loss_after=found.eval_loss_so_far if eval_loss is None else eval_loss,
                      at_work=outcome is None and status != "new")


def _created(folder: Path, state: dict[str, Any]) -> float:
    """When a run was made: as its run.json says, if that is a moment, else the file's own time."""
    told = number(state, "created")
    return told if told is not None and 0 < told < LATEST else (folder / jobs.RUN).stat().st_mtime


def _made(folder: Path) -> float:
    """When a run was made, as far as its files can be read."""
    try:
        return _created(folder, jobs.Job(folder).request())
    except (UserError, OSError):
        return (folder / jobs.RUN).stat().st_mtime


def unreadable(error: OSError) -> UserError:
    """Why a run can't be shown, when the system refuses to read a file of it."""
    told = from_os_error(error, tr("Could not read the run."))
    return UserError(told.what, told.why, tr("Make its files readable for you, or move its folder elsewhere."))


PassedOver = Callable[[Path, UserError], None]


def run_folders(parent: Path | None = None, passed_over: PassedOver = lambda folder, why: None) -> list[Path]:
    """The folders that hold a run.json, in no order.

    Args:
        passed_over: called with each folder that can't be looked into, or that is a run without a usable run.json, and
            why.
    """
    parent = parent or paths.runs_dir()
    found = []
    for folder in parent.iterdir() if parent.is_dir() else ():
        try:
            if (folder / jobs.RUN).is_file():
                jobs.need_own_files(folder)
                found.append(folder)
            elif why := _without_request(folder):
                passed_over(folder, why)
        except UserError as error:
            passed_over(folder, error)
        except OSError as error:
            passed_over(folder, unreadable(error))
    return found


def _without_request(folder: Path) -> UserError | None:
    """What is wrong with a run whose run.json isn't a file; None of a folder that isn't a run."""
    remedy = tr("Restore it from a backup. If you don't need the run, delete its folder.")
    if os.path.lexists(folder / jobs.RUN):
        return UserError(tr("The run.json of {run} isn't a file.", run=folder.name),
                         tr("In its place is a folder, a link to nothing, or something else that can't be read."),
                         remedy)
    if any((folder / name).is_file() for name in (jobs.EVENTS, jobs.PROCESS, jobs.OUTCOME)):
        return UserError(tr("{run} has no run.json.", run=folder.name),
                         tr("Without it, nothing is known about what was trained."), remedy)
    return None


def all_runs(parent: Path | None = None,
             passed_over: PassedOver = lambda folder, why: None) -> Iterator[RunSummary]:
    """All runs, newest first. Folders that aren't runs are left out.

    Args:
        passed_over: called with each run that can't be shown, and why.
    """
    folders = run_folders(parent, passed_over)
    for folder in sorted(folders, key=_made, reverse=True):
        try:
            yield summarise(folder)
        except UserError as error:
            passed_over(folder, error)
        except OSError as error:
            passed_over(folder, unreadable(error))


def requests(parent: Path | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each run with its run.json, in no order; those that can't be read are left out."""
    for folder in run_folders(parent):
        with contextlib.suppress(UserError, OSError):
            yield folder, jobs.Job(folder).request()


def running(parent: Path | None = None) -> jobs.Job | None:
    """The run that a worker is training; the newest, when there are several."""
    found = [f for f in run_folders(parent) if (f / jobs.PROCESS).is_file()]
    newest_first = sorted(found, key=lambda f: (f / jobs.PROCESS).stat().st_mtime, reverse=True)
    return next((job for job in map(jobs.Job, newest_first) if job.is_alive()), None)


def wants_evaluation(folder: Path) -> bool:
    """Whether a run has ended well and an evaluation is to follow, but none was ever made. Older runs and imported ones
    ask for none.

    Raises:
        UserError: a newer program made the run.
    """
    job = jobs.Job(folder)
    outcome = job.outcome()
    return (outcome is not None and outcome.state == "finished" and job.request().get(config_file.EVALUATE) is True
            and result_folder(folder) is not None and not any((folder / "jobs").glob("evaluate-*")))


def wanting_attention(parent: Path | None = None, evaluates: bool = False) -> jobs.Job | None:
    """What the next start has to tell about: the running run, else the newest run if it was cut off or paused.

    Args:
        evaluates: tell about a newest run too that has ended and wants to be evaluated, or is.
    """
    at_work = running(parent)
    if at_work is not None:
        return at_work
    newest = next(all_runs(parent), None)
    if newest is None:
        return None
    wants = newest.state in ("crashed", "paused") or (evaluates and (wants_evaluation(newest.folder) or any(
        job.folder.name.startswith("evaluate-") for job in jobs_at_work(newest.folder))))
    return jobs.Job(newest.folder) if wants else None


def jobs_at_work(folder: Path) -> list[jobs.Job]:
    """The jobs of a run that a process is working on: exports and evaluations."""
    inner = folder / "jobs"
    made = sorted(inner.iterdir()) if inner.is_dir() else []
    return [job for job in map(jobs.Job, made) if (job.folder / jobs.PROCESS).is_file() and job.is_alive()]


def result_folder(folder: Path) -> Path | None:
    """The adapter or the model that a run left, or None."""
    for name in (ADAPTER, MODEL):
        if (folder / name).is_dir():
            return folder / name
    return None


def to_continue_from(config: RunConfig) -> Path | None:
    """The adapter or the model that `start_from` names, by its folder or by its run's; None where it names nothing.
    Raises UserError: there is none that the run's method continues from."""
    if config.start_from is None:
        return None
    given, adapter = Path(config.start_from).absolute(), config.has_adapter
    wanted, file = (ADAPTER, "adapter_config.json") if adapter else (MODEL, "config.json")
    for path in (given / wanted, given):
        if (path / file).is_file():
            return path
    raise UserError(tr("There is no adapter to continue from in {folder}.", folder=given) if adapter else
                    tr("There is no model to continue from in {folder}.", folder=given),
                    tr("The method {method} continues from a finished run of the same kind.", method=config.method),
                    tr("Choose another run, or the method of that run."),
                    [Problem(tr("{folder} contains no adapter.", folder=given) if adapter else
                             tr("{folder} contains no model.", folder=given), field="start_from")])


def no_result(folder: Path, name: str) -> UserError:
    """What to say where a run has left nothing to evaluate or to talk to."""
    return UserError(tr("{run} has no result yet.", run=name), tr("It wasn't finished, or its result was deleted."),
                     tr("Choose another run, or finish this one: {command}",
                        command=program.command("train", folder)))


def need_own_result(result: Path) -> None:
    """Refuse an adapter or a model in a run folder that isn't what the run has left there.

    Its files must be those of its manifest, and the manifest the one that the outcome names. What is elsewhere, and
    what older runs left, is taken as far as it can be checked.

    Raises:
        UserError: it was changed or replaced since.
    """
    run = result.parent
    if not (run / jobs.RUN).is_file():
        return
    outcome = jobs.Job(run).outcome()
    manifest = result / checkpoints.MANIFEST
    known = outcome.result.get(RESULT_DIGEST) if outcome else None
    found = files.sha256_of(manifest) if manifest.is_file() else None
    why = None
    if known is not None and known != found:
        why = tr("Its manifest isn't the one that the run wrote.")
    elif found is not None and (damage := checkpoints.damage(result)):
        why = join_sentences(tr("Its files don't match its manifest."), damage)
    if why:
        raise UserError(tr("“{result}” in {run} isn't what this run trained.", result=result.name, run=run.name), why,
                        tr("Restore the run's own files, resume the run to write its result again, or train a new "
                           "one."))
