"""The network lock, tried in the terminal."""

from __future__ import annotations

import typer

from slmstudio.cli.output import Json, print_json, print_table, say
from slmstudio.core.i18n import tr

app = typer.Typer()


@app.command()
def lock(
    as_json: Json = False,
) -> int:
    """Show whether the network lock holds: a locked process tries every way out. Exit status 1: it isn't enforced."""
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
