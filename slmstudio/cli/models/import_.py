"""`models import`: a GGUF file, a model's folder, an adapter from elsewhere, or a starter model, made usable here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from slmstudio.cli.output import Json, print_error, print_json, print_next, print_table, print_warning, say
from slmstudio.cli.progress import carry_out
from slmstudio.core import jobs, paths, program, settings, units
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import noop, tr
from slmstudio.core.jobs import new

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
