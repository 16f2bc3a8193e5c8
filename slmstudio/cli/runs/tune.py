"""The command that searches for better settings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli.data import Mapped, Sheet, TextBy, mapping_text
from slmstudio.cli.evaluate import after_training
from slmstudio.cli.output import Json, Set, print_json, print_next, print_table, print_warning, say
from slmstudio.cli.progress import Follower
from slmstudio.cli.runs.plan import read_inputs
from slmstudio.cli.runs.queue import interruptions, next_job
from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs.outcome import state_text

if TYPE_CHECKING:
    from slmstudio.core.run.searching.search import Search

app = typer.Typer()


@app.command()
def tune(
    data: Annotated[Path | None, typer.Argument(help="File or folder with the rows; without it, the searches are "
                                                     "listed.")] = None,
    model: Annotated[str | None, typer.Option(help='Folder of the base model, its hub name if it is on this machine, '
                                                   'or "starter".')] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the search may take.")] = 60.0,
    field: Annotated[list[str] | None, typer.Option(
        metavar="FIELD=VALUES", help="A field to search, with a range such as learning_rate=1e-4..4e-3, or values such "
                                     "as lora_rank=8,16,32. Can be given several times. By default the learning rate, "
                                     "the rank and the epochs, around those of the plan.")] = None,
    test: Annotated[Path | None, typer.Option(help="File with rows for the final score. By default, some rows of DATA "
                                                   "are held out.")] = None,
    map_: Mapped = None,
    sheet: Sheet = None,
    text_by: TextBy = None,
    set_: Set = None,
    seed: Annotated[int, typer.Option(help="A different seed tries different settings.")] = 0,
    only_print: Annotated[bool, typer.Option("--print", help="Say what the search would do, and don't start "
                                                             "it.")] = False,
    resume: Annotated[str | None, typer.Option(metavar="NAME", help="Continue a search that was interrupted, or show "
                                                                    "what came of it.")] = None,
    as_json: Json = False,
) -> int:
    """Search for better settings within a time budget: many are trained briefly, and the best again for longer.

    The best is scored on rows that the search never used. Ctrl-C interrupts the search; --resume continues it.
    """
    from slmstudio.core.data.reader import read_as
    from slmstudio.core.run.planning import plan_inputs, planner
    from slmstudio.core.run.searching import search as searches

    if resume is not None:
        searches.resume(place := searches.named(resume))
    elif data is None:
        return _list([searches.read(place) for place in searches.folders()], as_json)
    else:
        if model is None:
            raise UserError(tr("No base model was chosen."), "", tr("Add {option}.", option="--model M"))
        given = plan_inputs.parse_settings(field or [])
        inputs = read_inputs(model, data, test, mapping_text(map_, sheet, text_by), set_)
        final = read_as(inputs.eval_file, inputs.eval_map).records if inputs.eval_file else None
        designed, parts = searches.prepare(planner.plan(inputs), inputs.model, inputs.dataset.records, final, given,
                                           60 * minutes, seed)
        say(searches.outline(designed), file=sys.stderr)
        if only_print:
            if as_json:
                print_json(designed.to_dict())
            return 0
        place = searches.create(designed, parts).folder
    say(tr("Search folder: {path}", path=place), file=sys.stderr)
    _carry_out(place, as_json)
    return _report(searches.read(place), as_json)


def _carry_out(place: Path, as_json: bool) -> None:
    """Follow its trials and evaluations, and runs of the queue that come before them. Ctrl-C interrupts it."""
    from slmstudio.core.evaluation import search_end
    from slmstudio.core.run.searching import search as searches

    with interruptions() as pressed:
        try:
            while not pressed:
                job, kind = search_end.advance(place), "evaluate"
                if job is None:
                    if searches.read(place).state != searches.RUNNING or (job := next_job()) is None:
                        break
                    kind = "train"
                    say(tr("Run folder: {path}", path=job.folder), file=sys.stderr)
                with Follower(stopping=tr("Interrupting the search. What it has found is kept."),
                              command="free" if kind == "train" else "stop") as follower:
                    outcome = follower.follow(job, kind)
                if kind == "train" and outcome.was_successful() and not pressed:
                    after_training(job, as_json)
        except KeyboardInterrupt:
            pass
        if pressed:
            searches.stop(place)


def _list(found: list[Search], as_json: bool) -> int:
    from slmstudio.core.evaluation import search_end

    if as_json:
        print_json({"searches": [each.to_dict() for each in found]})
    else:
        print_table(tr("Searches"), [(each.folder.name, state_text(each.state), str(len(each.trials)),
                                      search_end.sentence(each)) for each in found],
                    (tr("Search"), tr("State"), tr("Trials"), tr("Result")))
    return 0


def _report(search: Search, as_json: bool) -> int:
    from slmstudio.core.evaluation import search_end
    from slmstudio.core.run.searching import search as searches

    sentence, values = search_end.sentence(search), search.better_values
    if as_json:
        result: dict[str, Any] = {**search.to_dict(), "best": search.best, "values": values, "sentence": sentence}
        print_json(result)
    else:
        heads, rows = searches.table(search)
        print_table(tr("What was tried"), rows, heads)
        if sentence:
            say(sentence)
    if search.state != searches.FINISHED:
        print_warning(tr("The search was interrupted. To continue it: {command}",
                         command=program.command("tune", "--resume", search.folder.name)))
        return 1
    if values and not as_json:
        print_next(program.command("plan", "--model", "M", "--data", "FILE", "--out", "RUN.json", *(
            word for name, value in values.items() for word in ("--set", f"{name}={value}"))))
    return 0
