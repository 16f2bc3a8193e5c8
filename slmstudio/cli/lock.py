"""The network lock, tried in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from slmstudio.cli.progress import print_json, print_table, say

app = typer.Typer()


@app.command()
def lock(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")] = False,
) -> int:
    """Show whether the system keeps workers from the network: a locked process tries every way out. Exit status 1: not
    enforced."""
    from slmstudio.core.lock.proof import prove

    found = prove()
    if as_json:
        print_json(found.to_dict())
        return 0 if found.enforced else 1
    if found.attempts:
        print_table("What a locked process tried", [
            (each.what, "blocked" if each.blocked else "NOT BLOCKED", each.gave) for each in found.attempts],
            ("Attempt", "", "The system's answer"))
    say("Enforced: no process that works on your data can reach the network." if found.enforced
        else f"Not enforced. {found.reason}")
    if found.attempts and not found.files:
        say(f"Files outside of a job's own aren't closed to it: {found.state.files_open or 'see above'}.")
    return 0 if found.enforced else 1
