"""Commands that bring a base model here: from the hub (`get`, with `token` for gated ones), or `import`ed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from slmstudio.cli.output import Json, print_error, print_json, print_next, print_table, print_time, print_warning, say
from slmstudio.cli.progress import carry_out
from slmstudio.core import jobs, paths, program, settings, units
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import noop, tr
from slmstudio.core.jobs import new

# -- `models import`: a GGUF file, a model's folder, an adapter from elsewhere, or a starter model, made usable here.

KIND = {"gguf": noop("GGUF file, unpacked"), "model": noop("model folder"), "adapter": noop("adapter"),
        "starter": noop("starter model")}
OTHER_TEMPLATE = noop("The chat template in the adapter's folder differs from its base model's. The base model's is "
                      "used here. If the adapter was trained with its own, its answers will be worse.")


def import_(
    what: Annotated[Path | None, typer.Argument(metavar="FILE_OR_FOLDER", help="A GGUF file, a model's folder, or the "
                                                "folder of an adapter that PEFT wrote.")] = None,
    name: Annotated[str | None, typer.Option(help="What to call it here: the model's folder, or the adapter's run.")
                    ] = None,
    base: Annotated[Path | None, typer.Option(help="Folder of the base model that an adapter was trained on.")] = None,
    starter: Annotated[str | None, typer.Option(help="Download a starter model instead, such as gemma-3-270m.")] = None,
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="Accept the starter model's terms.")
                              ] = False,
    as_json: Json = False,
) -> int:
    """Use a model or an adapter from elsewhere: unpack a GGUF file, remember a folder, make a run of an adapter."""
    from slmstudio.core.model import peft_adapter
    from slmstudio.core.model.gguf.model import is_gguf

    if (what is None) == (starter is None):
        raise UserError(tr("Give either a file or folder, or --starter NAME."))
    if starter is not None:
        if name is not None or base is not None:
            raise UserError(tr("A starter model has its own name and no base."), "", tr("Leave out --name and --base."))
        return _fetch(starter, accept_licence, as_json)
    assert what is not None
    with os_errors_as(tr("Could not read {file}.", file=what)):
        gguf = what.is_file() and is_gguf(what)
    if gguf:
        if base is not None:
            raise UserError(tr("{file} is a GGUF file, which doesn't need a base model.", file=what.name), "",
                            tr("Leave out --base."))
        return _unpack(what.absolute(), name, as_json)
    if what.is_dir() and peft_adapter.is_adapter(what):
        return _adapter(what.absolute(), base, name, as_json)
    return _remember(what.absolute(), as_json)


def _unpack(file: Path, name: str | None, as_json: bool) -> int:
    from slmstudio.core.model.gguf import model as gguf

    facts = gguf.read_gguf(file)
    target = paths.models_dir() / _checked(name or gguf.folder_name(facts))
    say(facts.cost(), file=sys.stderr)
    return _do(new.unpack(file, target), "gguf", {"cost": facts.cost(), "quantization": facts.quantization}, as_json)


def _checked(name: str) -> str:
    """Raises UserError: it can't be a folder's name."""
    if name in ("", ".", "..") or name.startswith(".") or any(char in name for char in '/\\:*?"<>|\0'):
        raise UserError(tr("“{name}” can't be used as a model's name.", name=name),
                        tr("The name is also the name of its folder."), tr("Choose another name: --name."))
    return name


def _fetch(key: str, accepted: bool, as_json: bool) -> int:
    from slmstudio.core.model import library

    starter = library.find_starter(key)
    if not accepted and not starter.is_ready():
        raise starter.need_consent()
    return _do(new.fetch_starter(starter.folder, starter.request()), "starter", {"licence": starter.licence}, as_json)


def _do(job: jobs.Job, kind: str, told: dict[str, Any], as_json: bool) -> int:
    """Follow a job that makes a model's folder, and say what the model is."""
    from slmstudio.core.model.vetting import vet

    outcome = carry_out(job, tr("import"), tr("Cancelling. Nothing unfinished is kept."))
    if not outcome.was_successful():
        print_error(outcome.user_error(), as_json)
        return outcome.exit_status
    model = vet.read_vetted(Path(outcome.result["folder"]))
    return _told(kind, model, {**told, "reused": outcome.result["reused"]}, as_json)


def _remember(folder: Path, as_json: bool) -> int:
    from slmstudio.core.model.vetting import vet

    model = vet.read_vetted(folder)
    known, trouble = settings.load_to_change()
    if trouble:
        say(tr("note: {text}", text=trouble), file=sys.stderr)
    if folder.parent != paths.models_dir():  # those of the library are found anyway
        known.remember_model(folder)
        known.save()
    return _told("model", model, {}, as_json)


def _told(kind: str, model: Any, told: dict[str, Any], as_json: bool) -> int:
    if as_json:
        print_json({"kind": kind, "folder": str(model.path), "name": model.name, "family": model.family,
                    "parameters": model.parameters, "has_chat_template": model.has_chat_template, **told})
        return 0
    print_table(tr("Ready to be trained: {model}", model=model.name), [
        (tr("Imported from"), tr(KIND[kind])), (tr("Folder"), str(model.path)), (tr("Family"), model.family),
        (tr("Parameters"), units.format_count(model.parameters)), (tr("Licence"), model.licence or tr("not stated")),
        (tr("Chat template"), tr("its own") if model.has_chat_template else tr("none"))])
    print_next(program.command("plan", "--model", model.path, "--data", "FILE", "--out", "RUN.json"))
    return 0


def _adapter(folder: Path, base: Path | None, name: str | None, as_json: bool) -> int:
    from slmstudio.core.model import library, peft_adapter
    from slmstudio.core.run import adapter_import

    adapter = peft_adapter.read_adapter(folder)
    try:
        found = base.absolute() if base else peft_adapter.find_base(adapter, library.local_models())
    except UserError as error:
        command = program.command("models", "import", folder, "--base", "FOLDER")
        raise UserError(error.what, error.why,
                        f"{error.remedy} {tr('In the terminal: {command}', command=command)}") from error
    run = adapter_import.import_adapter(adapter, found, name)
    warning = tr(OTHER_TEMPLATE) if adapter_import.template_differs(adapter, found) else ""
    if warning:
        print_warning(warning)
    if as_json:
        print_json({"kind": "adapter", "run_dir": str(run), "base": str(found), "rank": adapter.rank,
                    "alpha": adapter.alpha, "warning": warning})
        return 0
    print_table(tr("The adapter is now a run: {run}", run=run.name), [
        (tr("Adapter"), str(folder)), (tr("Base model"), str(found)),
        (tr("Rank, alpha"), f"{adapter.rank}, {adapter.alpha:g}"), (tr("Run folder"), str(run))])
    say("\n" + tr("Export it: {command}", command=program.command("export", run)))
    say(tr("Continue training: {command}",
           command=program.command("continue", run, "--data", "FILE", "--out", "RUN.json")))
    return 0


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
    from slmstudio.core.model import catalogue
    from slmstudio.core.model.hub import on_disk
    from slmstudio.core.model.hub import place as endpoints
    from slmstudio.core.run.time_estimate import downloading

    if name is None:
        return _list_unfinished(as_json)
    named = on_disk.repo_name(name)
    if "/" not in name:
        name, revision = named.repo, revision or named.revision
    endpoints.current(endpoint)
    with os_errors_as(tr("Could not start the download.")):
        job = new.download(name, revision, endpoint)
    if known := catalogue.find(named.repo):
        print_time(downloading(known.download_bytes))
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
