"""What a command is about (the run that it is given), and where it writes: never over what it reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr


def run_named(text: str) -> Path:
    from slmstudio.core.run import named

    return named.need(text)


def run_or_folder(text: str) -> Path:
    """A run's folder, or a model's; the caller finds out which."""
    from slmstudio.core.run import named

    return named.or_path(text)


def run_or_file(text: str) -> Path:
    """A run's folder, or a configuration; if it is missing, the reader says how to write one."""
    return Path(text) if Path(text).suffix == ".json" else run_or_folder(text)


Run = Annotated[Path, typer.Argument(parser=run_named, help="A run, by its name or folder.")]
RunOrFile = Annotated[Path, typer.Argument(parser=run_or_file, help="A run configuration, or a run by its name or "
                                                                    "folder.")]
Set = Annotated[list[str] | None, typer.Option(
    "--set", metavar="FIELD=VALUE", help="Override a field that `fields` lists. Can be given several times.")]


def spare(sources: Iterable[Path | str | None], *targets: Path) -> None:
    """Check that no target is a source, under any name, or a file in a source that is a folder. Call it before the
    work; a source that doesn't exist, or isn't given, is left to others.

    Raises:
        UserError: a target would overwrite a source.
    """
    read = [Path(source) for source in sources if source is not None and Path(source).exists()]
    for target in targets:
        if not target.exists():
            continue
        for source in read:
            if target.samefile(source) if not source.is_dir() else target.resolve().is_relative_to(source.resolve()):
                why = tr("The command reads from it.") if not source.is_dir() else tr(
                    "It's part of {folder}, which the command reads.", folder=source)
                raise UserError(tr("{target} would be overwritten.", target=target), why,
                                tr("Choose another name for the result."))
