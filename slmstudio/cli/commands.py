"""The terminal: one command per capability. It parses, calls core, and prints; nothing else.

Progress goes to stderr. With --json the last line of stdout is one JSON object. Exit status: 0 done; 1 it failed, was
cancelled, or a check didn't pass; 2 the user has to change something. For a job, `Outcome.exit_status` says which.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from slmstudio import __version__
from slmstudio.cli import (
    asking,
    chat,
    data,
    documents,
    energy,
    estimate,
    evaluate,
    exports,
    machine,
    models,
    runs,
    words,
)
from slmstudio.cli.output import Json, figure, print_error, print_json, print_next, print_table, say
from slmstudio.cli.progress import Follower
from slmstudio.core import home_folder, paths, program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

app = typer.Typer(
    cls=words.Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": words.HELP},
    help="Fine-tune a small language model on your own machine, on your own data, offline.\n\n"
         "Exit status: 0 done; 1 it failed, was cancelled, or a check didn't pass; 2 you have to change something "
         "first.",
)
data.app.command("from-documents")(documents.from_documents)
for room in (runs, data, exports, models, estimate, chat, evaluate, energy, machine):
    app.add_typer(room.app)
WHEN = ("before", "after")


def main(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        if arguments[:1] not in (["place"], ["doctor"], ["--version"]) and not set(arguments).intersection(words.HELP):
            home_folder.require()
            home_folder.keep_private(paths.home())
        return int(words.translate(typer.main.get_command(app))(arguments, standalone_mode=False) or 0)
    except UserError as error:
        asking.show(error, arguments, as_json)
        return 2
    except typer.TyperException as error:
        words.show(error, as_json)
        return 2
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        print_error(home_folder.explain(error, tr("Could not finish the command.")), as_json)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        say(tr("Cancelled."), file=sys.stderr)
        return 1
    except Exception as error:
        import traceback

        say(traceback.format_exc(), file=sys.stderr, end="")
        print_error(UserError(tr("Something went wrong in SLM Studio itself."), f"{type(error).__name__}: {error}",
                              tr("Please report the lines above.")), as_json)
        return 1


def _show_version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def _whole(version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_show_version,
                                                 help="Show the version.")] = False) -> None:
    pass


@app.command()
def quickstart(out: Annotated[Path, typer.Option(help="Folder for the run.")], as_json: Json = False) -> int:
    """Tune the starter model on the sample data, ask it before and after, export it, and prove the export."""
    from slmstudio.core import quickstart as flow

    with Follower() as follower:
        result = flow.run(out, follower.on_event)
    if as_json:
        print_json(result)
        return 0
    _show_first_run(result)
    return 0


def _show_first_run(result: dict[str, Any]) -> None:
    """What a newcomer looks for first: the same question, answered before the training and after it."""
    from slmstudio.core import units

    say("\n" + tr("Question: {question}\nA good answer: {answer}\n", question=result["question"],
                  answer=result["reference"]))
    print_table(tr("Your first tuned model"), [
        (tr("Its answer"), result["answer_before"], result["answer_after"]),
        (tr("Eval loss (lower is better)"), *(units.format_loss(result[f"eval_loss_{when}"]) for when in WHEN)),
        (tr("chrF++ of its answers to questions it never saw (higher is better)"),
         *(figure(result[f"chrf_{when}"], ".1f") for when in WHEN)),
    ], ("", tr("Before training"), tr("After training")))
    rows = [(tr("Run folder"), result["run_dir"]), (tr("Training steps"), str(result["steps"]))]
    if not result["left_out"]:
        parity = result["parity"]
        same = tr("yes") if parity["passed"] else tr("NO")
        rows += [
            (tr("Exported file"), result["gguf"]),
            (tr("Same answers as the trained model"), f"{same} (NMSE {figure(parity['nmse'], '.1e')}, "
                                                       f"top-1 {figure(parity['top1'], '.1%')})"),
            (tr("The exported file in chat"), result["reply"]),
        ]
    say()
    print_table(tr("What was made"), [*rows, (tr("Time"), units.format_duration(result["seconds"]["total"]))])
    if result["left_out"]:
        say(f"\n{result['left_out']}")
    print_next(program.command("report", result["run_dir"]) if result["left_out"]
               else program.command("chat", result["gguf"]))
