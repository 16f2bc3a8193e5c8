"""`models vet`: whether a model's folder can be trusted, and its parts belong together."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from slmstudio.cli.output import Json, print_json, print_warning, say
from slmstudio.core.i18n import tr


def vet(
    folder: Annotated[str, typer.Argument(help="A model's folder, or the name of one that is on this machine.")],
    accept_tokenizer: Annotated[bool, typer.Option(
        "--accept-tokenizer", help="Use the model although its tokenizer.json seems to be another model's. This is "
                                   "remembered for this model.")] = False,
    as_json: Json = False,
) -> int:
    """Check a model's folder without loading it: no code, no pickles, complete weights, a matching tokenizer.

    Exit status 2 if the model is refused.
    """
    from slmstudio.core.model.hub import on_disk
    from slmstudio.core.model.vetting import vet as vetting
    from slmstudio.core.model.vetting.vet import accept, how_to_accept

    path = on_disk.resolve(folder)
    found = vetting.vet(path)
    if accept_tokenizer and found.is_acceptable:
        accept(path)
        found = vetting.vet(path)
    if as_json:
        print_json(found.to_dict())
    else:
        for check in found.checks:
            say(f"{'✓' if check.passed else '✗'} {check.sentence}")
    for warning in found.warnings:
        print_warning(warning)
    for problem in found.problems:
        say(tr("error: {text}", text=problem), file=sys.stderr)
    if found.is_acceptable:
        say(how_to_accept(path), file=sys.stderr)
    return 0 if found.passed else 2
