"""Datasets made from documents, in the terminal: `slmstudio data from-documents`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli.output import Json, print_error, print_json, print_next, print_table, print_time, print_warning, say
from slmstudio.cli.progress import Follower
from slmstudio.core import program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import ntr, tr

if TYPE_CHECKING:
    from slmstudio.core.documents.project import Project
    from slmstudio.core.documents.teacher import Teacher

def from_documents(
    sources: Annotated[list[Path], typer.Argument(
        metavar="FILE...", help="PDF, Word, HTML, Markdown, EPUB and text files, or folders of them. To continue, the "
                                "folder of a project that was begun.")],
    teacher: Annotated[str, typer.Option(
        help='What writes the questions: a GGUF file, a run, "starter", or http://127.0.0.1:PORT of a server with '
             "OpenAI's API, where #MODEL at the end names one of its models.")] = "starter",
    language: Annotated[list[str] | None, typer.Option(
        metavar="CODE", help="Language of the questions, such as hi or en. Can be given several times. By default, "
                             "that of each passage.")] = None,
    kinds: Annotated[str | None, typer.Option(
        metavar="KIND,…", help="fact, how_to, condition, comparison, unanswerable. By default, all but the last.")]
    = None,
    per_passage: Annotated[int, typer.Option(min=1, max=10, help="Questions for each passage, in each language.")] = 3,
    held_out: Annotated[float, typer.Option(
        min=0.0, max=0.5, help="Share of the document, in whole sections, that is held out for the test set.")] = 0.1,
    out: Annotated[Path | None, typer.Option(
        metavar="ROWS.jsonl", help="File for the rows that pass the checks; the test set is written beside it. By "
                                   "default, in the folder of datasets.")] = None,
    accepted: Annotated[bool, typer.Option(
        "--accepted", help="Write only rows that were accepted in the window.")] = False,
    try_: Annotated[bool, typer.Option("--try", help="Only try the models on this machine on three passages, and say "
                                                     "which is good enough.")] = False,
    allow_address: Annotated[bool, typer.Option(
        "--allow-address", help="Let the teacher be a server on another machine. The documents are sent there.")]
    = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before it starts.")] = False,
    as_json: Json = False,
) -> int:
    """Make questions and answers from documents, each with the sentence that it comes from.

    What a machine can tell to be wrong is left out, and listed with its reason. Continue an interrupted one with its
    folder.
    """
    from slmstudio.core.documents import project as projects
    from slmstudio.core.documents import reading
    from slmstudio.core.documents import teacher as teachers

    if len(sources) == 1 and (sources[0] / projects.FILE).is_file():
        made = projects.open(sources[0])
        model = teachers.Teacher.from_dict(made.settings.teacher)
    else:
        missing = [Problem(tr("{path} doesn't exist.", path=each)) for each in sources if not each.exists()]
        if missing:
            raise UserError(tr("The documents can't be read."), "", tr("Check the paths."), missing)
        model = teachers.find(teacher, allow_address)
        settings = projects.Settings((), model.to_dict(), _languages(language), _kinds(kinds), per_passage,
                                     held_out=held_out)
        with Follower() as follower:
            made = reading.new_project(sources, settings, follower.on_bytes)
    _read(made)
    if try_:
        return _try(made, as_json)
    _agree(made, model, yes)
    status = _carry_out(made, as_json)
    return status or _write(made, accepted, out, as_json)


def _kinds(text: str | None) -> tuple[str, ...]:
    """Raises UserError: a kind is unknown."""
    from slmstudio.core.documents.project import ASKED, USUAL

    wanted = tuple(each.strip() for each in text.split(",")) if text else USUAL
    if unknown := [each for each in wanted if each not in ASKED]:
        raise UserError(tr("“{kind}” isn't a kind of question.", kind=unknown[0]), "",
                        tr("Choose from: {kinds}.", kinds=", ".join(ASKED)))
    return wanted


def _languages(codes: list[str] | None) -> tuple[str, ...]:
    """Raises UserError: a language is unknown."""
    from slmstudio.core.documents.prompting import is_language

    if unknown := [each for each in codes or () if not is_language(each)]:
        raise UserError(tr("“{code}” isn't a language's code.", code=unknown[0]), "",
                        tr("Give a language's code, such as hi or en."))
    return tuple(codes or ())


def _read(made: Project) -> None:
    from slmstudio.core.documents import reading

    if not made.is_read:
        with Follower() as follower:
            reading.read_into(made, follower.on_bytes)
    for document in made.documents():
        for problem in document.problems:
            print_warning(f"{document.name}: {problem}")


def _agree(made: Project, model: Teacher, yes: bool) -> None:
    """Say what it is and what it takes; ask, unless that was answered. Raises typer.Abort: they don't want it."""
    from slmstudio.core.documents import work
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.units import format_energy

    machine, waiting = read_machine(), len(made.passages()) - len(made.finished)
    if not waiting:
        return
    say(ntr("{model} is to ask about {n:,} passage.", "{model} is to ask about {n:,} passages.", waiting,
            model=model.name), file=sys.stderr)
    expected = work.estimate(made, machine)
    print_time(expected)
    if (drawn := work.energy(expected.likely, machine)) is not None:
        say(tr("It uses about {energy}.", energy=format_energy(drawn * 3600)), file=sys.stderr)
    if (tried := work.trial_of(made)) is not None:
        say(tried.sentence(), file=sys.stderr)
    if model.leaves_machine:
        from rich.console import Console

        Console(stderr=True, markup=False, emoji=False).print(
            tr("The text of your documents leaves this machine: it is sent to {address}.", address=model.place),
            style="bold red")
    if not yes:
        typer.confirm(tr("Start?"), err=True, abort=True)


def _carry_out(made: Project, as_json: bool) -> int:
    from slmstudio.core.documents import work

    if len(made.passages()) == len(made.finished):
        return 0
    job = work.job_for(made)
    job.start()
    with Follower(stopping=tr("Stopping. The questions so far are kept.")) as follower:
        outcome = follower.follow(job, "documents")
    made.refresh()
    if outcome.was_successful():
        return 0
    if outcome.state == "cancelled":
        print_warning(tr("Cancelled. The questions so far are kept."))
    else:
        print_error(outcome.user_error(), as_json=False)
    print_next(program.command("data", "from-documents", made.folder))
    if as_json:
        print_json({"project": str(made.folder), "outcome": outcome.state, "error": outcome.error})
    return outcome.exit_status


def _try(made: Project, as_json: bool) -> int:
    from slmstudio.core.documents import teacher as teachers
    from slmstudio.core.documents import work

    known = {each.place: each for each in (
        teachers.Teacher.from_dict(made.settings.teacher), *teachers.installed())}
    job = work.job_for(made, list(known.values()))
    job.start()
    with Follower() as follower:
        outcome = follower.follow(job, "documents")
    if not outcome.was_successful():
        print_error(outcome.user_error(), as_json)
        return outcome.exit_status
    found = {place: trial for place, trial in teachers.trials().items() if place in known}
    if as_json:
        print_json({"project": str(made.folder), "trials": [
            {**known[place].to_dict(), "pairs": trial.pairs, "passed": trial.passed, "seconds": trial.seconds,
             "good": trial.is_good} for place, trial in found.items()]})
    else:
        print_table(tr("Teachers"), [(known[place].name, trial.sentence(), tr("{seconds:.1f} s a passage",
                                                                              seconds=trial.seconds))
                                     for place, trial in found.items()])
    return 0


def _write(made: Project, accepted: bool, out: Path | None, as_json: bool) -> int:
    from slmstudio.core import paths
    from slmstudio.core.documents import project as projects
    from slmstudio.core.documents.evidence import DOUBTS

    counts = made.counts()
    told: dict[str, Any] = {
        "project": str(made.folder), "pairs": counts.all, "waiting": counts.waiting, "accepted": counts.accepted,
        "rejected": counts.rejected, "left_out": counts.left_out, "by_doubt": counts.by_doubt}
    if not as_json:
        print_table(tr("Left out"), [(tr(DOUBTS.get(code, code)), f"{count:,}")
                                     for code, count in counts.by_doubt.items()])
    rows, test = projects.write_dataset(made, accepted, out.absolute().parent if out else paths.datasets_dir(),
                                        out.stem if out else "")
    told |= {"rows": str(rows), "test": str(test) if test else None, "findings": _findings(rows)}
    if as_json:
        print_json(told)
        return 0
    print_table(tr("Done"), [(tr("Questions"), f"{counts.all:,}"), (tr("Left out"), f"{counts.left_out:,}"),
                             (tr("Rows"), str(rows)), (tr("Test set, of sections that no row is about"),
                                                       str(test or tr("none")))])
    for each in told["findings"]:
        print_warning(each["sentence"])
    print_next(program.command("data", "check", rows))
    return 0


def _findings(rows: Path) -> list[dict[str, Any]]:
    """What the health check finds in the new dataset."""
    from slmstudio.core.data.health.finding import to_decide
    from slmstudio.core.data.health.survey import check
    from slmstudio.core.data.reader import read_dataset
    from slmstudio.core.run import rows_report

    dataset = read_dataset(rows)
    found = check(dataset.records, rows_report.context_of(None, (), len(dataset.records), None, None))
    return [{"kind": each.kind, "sentence": each.sentence, "rows": each.count}
            for each in to_decide(found, dataset.problems, dataset.rows_left_out)]
