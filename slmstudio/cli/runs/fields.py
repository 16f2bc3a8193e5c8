"""`fields`: everything that can be set in a run, with what it does."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from slmstudio.cli.output import Json, print_json, print_next, print_table
from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

app = typer.Typer()


@app.command()
def fields(
    text: Annotated[str, typer.Argument(metavar="[TEXT]", help="Only fields with this in their name.")] = "",
    as_json: Json = False,
) -> int:
    """List the fields of a run, which --set changes: what each does, and its value where no plan decides it."""
    from dataclasses import asdict

    from slmstudio.core.run.config import FIELDS, RunConfig, in_groups

    found = {name: about for name, about in FIELDS.items()
             if any(text.lower() in word for word in (name, *about.aliases))}
    if not found:
        raise UserError(tr("No field has “{text}” in its name.", text=text), "",
                        tr("To see them all: {command}", command=program.command("fields")))
    defaults = RunConfig(name="", model="", train_file="").to_dict()
    if as_json:
        print_json({"fields": [
            {"name": name, "aliases": list(about.aliases), "group": about.group, "label": about.label,
             "help": about.help, "default": defaults[name], "kind": type(about.kind).__name__.lower(),
             **asdict(about.kind)} for name, about in found.items()]})
        return 0
    for group, names in in_groups().items():
        if rows := [(name, _typed(defaults[name]), found[name].help) for name in names if name in found]:
            print_table(group, rows, (tr("Field"), tr("Default"), tr("What it does")))
    print_next(program.command("plan", "--model", "M", "--data", "FILE", "--set", "FIELD=VALUE", "--out", "RUN.json"))
    return 0


def _typed(value: Any) -> str:
    """As --set takes it."""
    if value in (None, []):
        return ""
    return value if isinstance(value, str) else json.dumps(value)
