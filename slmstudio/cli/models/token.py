"""`models token`: what opens gated models."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from slmstudio.cli.output import Json, print_json, say
from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr


def token(
    set_: Annotated[bool, typer.Option("--set", help="Ask for a token, or read it from stdin, and keep it.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the token that is kept.")] = False,
    endpoint: Annotated[str | None, typer.Option(help="Address of the hub, if it isn't the usual one.")] = None,
    as_json: Json = False,
) -> int:
    """Show whether there is a token for gated models, save one, or remove it. It is never shown.

    It is kept in the system's keyring, or, without one, in a file that only you can read.
    """
    from slmstudio.core.model.hub import endpoint as endpoints
    from slmstudio.core.model.hub import token as tokens

    hub = endpoints.current(endpoint)
    if set_ and remove:
        raise UserError(tr("--set and --remove can't be used together."), "", tr("Give --set or --remove."))
    if set_:
        tokens.save(hub, _asked())
    removed = tokens.remove(hub) if remove else None
    found = tokens.find(hub)
    where = found.where if found else None
    if as_json:
        print_json({"endpoint": hub, "token": found is not None, "where": where, "removed": removed})
        return 0
    if removed is not None:
        say(tr("The token was removed.") if removed else tr("There was no token to remove."))
    if found is not None:
        say(tr("There is a token for {hub} in {place}.", hub=hub, place=tr(tokens.PLACES[found.where])))
    elif removed is None:
        say(tr("There's no token for {hub}. Add one with: {command}", hub=hub,
               command=program.command("models", "token", "--set")))
    return 0


def _asked() -> str:
    """The token: typed without being shown, or the first line of stdin."""
    if sys.stdin.isatty():
        return str(typer.prompt(tr("Token"), hide_input=True, err=True))
    return sys.stdin.readline()
