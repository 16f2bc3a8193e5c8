"""`models get` and `models token`: a base model from the hub, and what opens gated ones."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from slmstudio.cli.output import Json, print_error, print_json, print_table, say
from slmstudio.cli.progress import carry_out
from slmstudio.core import jobs, program, units
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr


def get(
    name: Annotated[str | None, typer.Argument(help="The model: owner/name, such as Qwen/Qwen2.5-1.5B-Instruct, its "
                                               "page, or its name in the catalogue. Without it, unfinished downloads "
                                               "are listed.")] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, a tag or a commit; by default the newest.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Address of the hub, if it isn't the usual one.")] = None,
    as_json: Json = False,
) -> int:
    """Download a base model from the hub. Ctrl-C pauses; the same command downloads the rest.

    Only safetensors, configuration, tokenizer and template are downloaded, and each file is verified.
    """
    from slmstudio.core.jobs import new
    from slmstudio.core.model.hub import on_disk
    from slmstudio.core.model.hub import place as endpoints

    if name is None:
        return _list_unfinished(as_json)
    named = on_disk.repo_name(name)
    if "/" not in name:
        name, revision = named.repo, revision or named.revision
    endpoints.current(endpoint)
    with os_errors_as(tr("Could not start the download.")):
        job = new.download(name, revision, endpoint)
    outcome = carry_out(job, "models get", tr("Pausing: what was downloaded is kept."), "pause")
    again = program.command("models", "get", name, *(("--revision", revision) if revision else ()),
                            *(("--endpoint", endpoint) if endpoint else ()))
    return _report(outcome, named.repo, again, as_json)


def _list_unfinished(as_json: bool) -> int:
    """What was begun, and what fetches the rest of it."""
    from slmstudio.core.model.hub import place
    from slmstudio.core.model.hub import place as endpoints

    found, usual = place.unfinished(), endpoints.current()
    again = [program.command("models", "get", each.repo + (f"@{each.revision}" if each.revision else ""),
                             *(("--endpoint", each.endpoint) if each.endpoint not in (None, usual) else ()))
             for each in found]
    if as_json:
        print_json({"unfinished": [
            {"repo": each.repo, "revision": each.revision, "bytes": each.done, "total": each.total,
             "folder": str(each.partial), "resume": command} for each, command in zip(found, again, strict=True)]})
        return 0
    print_table(tr("Unfinished downloads"), [
        (each.repo, _share(each.done, each.total), command)
        for each, command in zip(found, again, strict=True)],
        (tr("Model"), tr("Downloaded"), tr("Download the rest with")))
    return 0


def _report(outcome: jobs.Outcome, repo: str, again: str, as_json: bool) -> int:
    """Print how it ended; 2 where the person has to change something."""
    result, problem = outcome.result, outcome.result.get("problem")
    if as_json:
        print_json({"outcome": outcome.state, **result, "resume": None if outcome.was_successful() else again,
                    "error": outcome.error})
    if outcome.state == "paused":
        say(tr("Paused. What was downloaded is kept: {share}.\nDownload the rest with: {command}",
               share=_share(result["bytes"], result["total"]), command=again), file=sys.stderr)
        return 1
    if not outcome.was_successful():
        print_error(outcome.user_error(), as_json=False)
        return outcome.exit_status
    if problem:
        print_error(UserError.from_dict(problem), as_json=False)
    if not as_json:
        print_table(tr("{model} is on this machine", model=repo) if result["fetched"]
                    else tr("{model} was already on this machine", model=repo), _rows(result))
    return 2 if problem else 0


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(tr("Folder"), result["path"]), (tr("Size"), units.format_bytes(result["bytes"])),
            (tr("Commit"), result["commit"]), (tr("Can be trained"), tr("NO") if result["problem"] else tr("yes"))]


def _share(done: int, total: int | None) -> str:
    return tr("{done} of {total}", done=units.format_bytes(done), total=units.format_bytes(total))


def token(
    set_: Annotated[bool, typer.Option("--set", help="Ask for a token, or read it from stdin, and keep it.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the token that is kept.")] = False,
    endpoint: Annotated[str | None, typer.Option(help="Address of the hub, if it isn't the usual one.")] = None,
    as_json: Json = False,
) -> int:
    """Show whether there is a token for gated models, save one, or remove it. It is never shown.

    It is kept in the system's keyring, or, without one, in a file that only you can read.
    """
    from slmstudio.core.model.hub import place as endpoints
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
