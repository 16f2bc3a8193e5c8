"""The folder with runs and models in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from slmstudio.cli.output import Json, print_json, print_table, say
from slmstudio.core import disk_space, home_folder, paths, units
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr

app = typer.Typer()


@app.command()
def place(
    folder: Annotated[Path | None, typer.Argument(help="Keep everything here from now on: an empty folder, or one "
                                                       "that SLM Studio used before.")] = None,
    usual: Annotated[bool, typer.Option("--usual", help="Go back to the usual folder.")] = False,
    as_json: Json = False,
) -> int:
    """Show or change where runs, models and chats are kept. Restart windows that are open."""
    stays = ""
    if folder is not None or usual:
        stays = home_folder.change(folder) if folder is not None else _go_back()
    else:
        home_folder.require()
    home = home_folder.absolute(paths.home())
    free = _free(home)
    warnings = _warnings(home, free)
    if as_json:
        print_json({"folder": str(home), "fixed": home_folder.is_fixed(), "stays": stays,
                    "warnings": [warning.to_dict() for warning in warnings]})
        return 0
    print_table(tr("Where runs, models and chats are kept"), [
        (tr("Folder"), str(home)), (tr("Kept there"), ", ".join(home_folder.kept(home)) or tr("nothing yet")),
        (tr("Free"), units.format_bytes(free))])
    if stays:
        say(f"\n{stays}")
    for warning in warnings:
        say(tr("note: {text}", text=warning), file=sys.stderr)
    return 0


def _go_back() -> str:
    """To the system's own place; where the chosen one is not there, without asking for room in the usual one."""
    try:
        home_folder.require()
    except UserError:
        home_folder.use_usual()
        return ""
    return home_folder.change(paths.usual_home())


def _free(home: Path) -> int:
    with os_errors_as(tr("Could not find out how much disk space is free.")):
        return disk_space.free(home)


def _warnings(home: Path, free: int) -> list[UserError]:
    from slmstudio.core.hardware import wsl

    notes = home_folder.notes(home, free)
    told = {note.what for note in notes}
    return notes + [finding for finding in wsl.findings(home) if finding.what not in told]
