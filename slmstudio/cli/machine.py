"""Commands about this machine: where runs and models are kept, the network lock, setting up again, and the doctor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slmstudio.cli.output import Json, print_json, print_table, say
from slmstudio.cli.progress import Follower
from slmstudio.core import disk_space, home_folder, paths, program, units
from slmstudio.core.chat.devices import Choice
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr

if TYPE_CHECKING:
    from slmstudio.core.hardware.doctor.facts import Line

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




@app.command()
def lock(as_json: Json = False) -> int:
    """Show whether the network lock works: a locked process tries every way out. Exit status 1 if it isn't enforced."""
    from slmstudio.core.lock.proof import prove

    found = prove()
    if as_json:
        print_json(found.to_dict())
        return 0 if found.enforced else 1
    if found.attempts:
        print_table(tr("What a locked process tried"), [
            (each.what, tr("blocked") if each.blocked else tr("NOT BLOCKED"), each.gave) for each in found.attempts],
            (tr("Attempt"), "", tr("The system's answer")))
    say(tr("Enforced: no process that works on your data can reach the network.") if found.enforced
        else f"{tr('Not enforced.')} {found.reason}")
    if found.attempts and not found.files:
        say(tr("A job can open files other than its own: {reason}.", reason=found.state.files_open) if
            found.state.files_open else tr("A job can open files other than its own: see above."))
    return 0 if found.enforced else 1


@app.command()
def setup(
    chat_device: Annotated[Choice | None, typer.Option("--chat-device", help=(
        "What to build the chat engine for; auto is the best that works here."))] = None,
    as_json: Json = False,
) -> int:
    """Set up what is missing or has changed, such as a missing chat engine, or PyTorch for a new card.

    With --json, each line of stdout is an object that reports progress; the last one says what each step did.
    """
    command = [*program.setup_words(), *(["--json"] if as_json else []),
               *(["--chat-device", chat_device] if chat_device else [])]
    if os.name == "nt":
        return subprocess.call(command)
    # The setup may replace the very Python that runs this, so it takes this process's place.
    os.execv(command[0], command)


@app.command()
def doctor(
    copyable: Annotated[bool, typer.Option("--copyable", help="Print plain text (with --json, the same object) "
                                                              "without personal data, so that you can send it to "
                                                              "somebody.")] = False,
    as_json: Json = False,
) -> int:
    """Check this machine: graphics cards, driver and PyTorch, libraries, memory, disk, system.

    Each line says whether it is fine, a warning or a problem, why, and how to fix it. Takes up to half a minute and
    changes nothing. Exit status: 0 no problem (there may be warnings), 1 at least one problem.
    """
    from slmstudio.core import checkup
    from slmstudio.core.hardware.doctor import facts

    with Follower() as follower:
        lines = checkup.visit(lambda done, total: follower.on_event("doctor", {
            "type": "progress", "phase": tr("checking"), "done": done, "total": total,
            "detail": "".join(map(tr, checkup.PARTS[done:done + 1])), "seconds_left": None}))
    worst = facts.worst(lines)
    if as_json:
        told = checkup.shared(lines) if copyable else lines
        print_json({"state": worst, "lines": [each.to_dict() for each in told]})
    elif copyable:
        say(checkup.report(lines), end="")
    else:
        _show(lines)
    return int(worst == "problem")


def _show(lines: list[Line]) -> None:
    from slmstudio.core.hardware.doctor import facts

    for topic in facts.TOPICS:
        here = [each for each in lines if each.topic == topic]
        if here:
            print_table(tr(topic), [(tr(facts.STATE_WORDS[each.state]), each.title, each.why) for each in here],
                        ("", tr("Found"), tr("Details")))
    to_do = [each for state in facts.STATES for each in lines if each.state == state != "fine"]
    # Below the tables, where no column breaks a command that somebody wants to copy.
    for each in to_do:
        say(f"\n{tr(facts.STATE_WORDS[each.state])}: {each.title} {each.remedy}")
        if each.command:
            say(f"    {each.command}")
    if not to_do:
        say("\n" + tr("Nothing needs to be done."))
