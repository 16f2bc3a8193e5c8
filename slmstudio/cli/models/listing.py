"""`models` and `models vet`: what is on the disk and in the catalogue, and whether it fits and can be trusted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slmstudio.cli import asking
from slmstudio.cli.data import Mapped, Sheet, TextBy, mapping_text
from slmstudio.cli.output import Json, print_json, print_next, print_table, print_warning, say
from slmstudio.cli.progress import Follower
from slmstudio.core import program
from slmstudio.core.i18n import noop, ntr, tr
from slmstudio.core.units import format_bytes, format_count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slmstudio.core.data.record import Record
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.catalogue import CatalogueEntry
    from slmstudio.core.model.library import ListedModel
    from slmstudio.core.run.memory.fit_badge import Badge

# -- `models recommend`: which base model suits a file of rows on this machine.


def recommend(data: Annotated[Path, typer.Option(help="File or folder with the training rows.")], map_: Mapped = None,
              sheet: Sheet = None, text_by: TextBy = None, as_json: Json = False) -> int:
    """Recommend a base model for these rows on this machine, with a quicker and a better one."""
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.run import recommend as recommending

    with Follower() as follower:
        dataset = asking.read(data, mapping_text(map_, sheet, text_by), follower)
    rows = recommending.rows_of(dataset.records, dataset.layout)
    found = recommending.recommend(recommending.models_here_and_known(), rows, read_machine(),
                                   recommending.is_online())
    if as_json:
        print_json({**found.to_dict(), "models": [each.to_dict() for each in found.rated if each is not None]})
        return 0
    title = (tr("For {rows} in {language} on this machine", rows=ntr("{n:,} row", "{n:,} rows", rows.count),
                language=rows.language) if rows.language else
             tr("For {rows} on this machine", rows=ntr("{n:,} row", "{n:,} rows", rows.count)))
    print_table(title, [
        (label, each.model.title, each.time.text(), recommending.reason_text(each, rows),
         tr("on disk") if not each.download_bytes else tr("{size} to download", size=format_bytes(each.download_bytes)))
        for label, each in ((tr("Recommended"), found.recommended), (tr("Quicker"), found.quicker),
                            (tr("Better"), found.better)) if each is not None],
        ("", tr("Model"), tr("Time"), tr("Why"), tr("Here")))
    if (best := found.recommended) is not None and best.download_bytes:
        print_next(program.command("models", "get", best.model.name))
    elif best is not None:
        print_next(program.command("plan", "--model", best.model.folder, "--data", data, "--out", "RUN.json"))
    return 0


# -- `models vet`: whether a model's folder can be trusted, and its parts belong together.


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


Text = Annotated[str, typer.Argument(metavar="[TEXT]", help="Words of a name, a family or a language.")]
Fits = Annotated[bool, typer.Option("--fits", help="Only models that fit in this machine's memory with at least one "
                                                   "method.")]
Language = Annotated[str | None, typer.Option(
    help="Code or English name, such as hi or Hindi. Models that list it come first, then those that don't list all "
         "their languages.")]
Licence = Annotated[str | None, typer.Option(help='"commercial", "research", or a licence such as apache-2.0.')]
Kind = Annotated[str | None, typer.Option(help='"instruct" (already answers) or "base" (continues text).')]
MeasureDisk = Annotated[bool, typer.Option("--measure-disk", help="Also measure how fast the disk for runs writes.")]
Data = Annotated[Path | None, typer.Option(help="Rows to learn: says how long each model takes for them.")]
COLUMNS = (noop("Model"), noop("Parameters"), noop("Languages"), noop("Licence"), noop("Size"), noop("Here"))
SHOWN = 3
"""Languages that are named in the table; of more, only their number is said."""


def models(context: typer.Context, fits: Fits = False, language: Language = None, licence: Licence = None,
           kind: Kind = None, measure_disk: MeasureDisk = False, data: Data = None,
           as_json: Json = False) -> int:
    """Base models: those on disk and those that can be downloaded."""
    if context.invoked_subcommand is not None:
        return 0
    return list_("", fits, language, licence, kind, measure_disk, data, as_json)


def list_(text: Text = "", fits: Fits = False, language: Language = None, licence: Licence = None, kind: Kind = None,
          measure_disk: MeasureDisk = False, data: Data = None, as_json: Json = False) -> int:
    "List the base models on the disk and in the catalogue, and which of them fit on this machine."
    from slmstudio.core.hardware import guidance
    from slmstudio.core.hardware.machine import read_machine
    from slmstudio.core.model import library
    from slmstudio.core.model.facts import model_name

    machine = read_machine()
    found = library.listed(text, language, licence, kind)
    rows = _rows(data)
    on_disk, others = (_with_badges(models, machine, fits, rows) for models in (found.on_disk, found.catalogue))
    advice = guidance.advice(machine) + ([_disk_advice()] if measure_disk else [])
    for folder, error in found.unreadable:
        what = tr("{name} can't be used.", name=model_name(folder))
        print_warning(f"{what} {error.why}")
    if as_json:
        print_json({"on_disk": [_state(*each) for each in on_disk],
                    "catalogue": [_state(*each) for each in others],
                    "unreadable": [{"folder": str(folder), "error": error.to_dict()}
                                   for folder, error in found.unreadable],
                    "advice": advice})
        return 0
    columns = (*map(tr, COLUMNS), *((tr("Time for your rows"),) if rows else ()))
    for title, models in ((tr("On disk"), on_disk), (tr("Catalogue"), others)):
        print_table(title, [_row(*each, language) + (_time(each[1]) if rows else ()) for each in models], columns)
    for sentence in advice:
        say(sentence)
    say("\n" + tr("Download one: {command}", command=program.command("models", "get", "NAME")))
    return 0


def _rows(data: Path | None) -> list[Record]:
    """The rows of a file; none without one. Raises UserError, as `asking.read` does."""
    from slmstudio.cli import asking

    if data is None:
        return []
    with Follower() as follower:
        return asking.read(data, None, follower).records


def _with_badges(models: Iterable[ListedModel], machine: Machine, fits: bool,
                 rows: list[Record]) -> list[tuple[ListedModel, Badge | None]]:
    """Each with what fits here, for these rows or a usual number of them; of them only those that do, if `fits`."""
    from slmstudio.core.model.token_guess import tokens_per_row
    from slmstudio.core.run.memory.fit_badge import badge

    def here(model: ListedModel) -> Badge | None:
        if model.facts is None or not rows:
            return badge(model.facts, machine) if model.facts else None
        each = tokens_per_row(rows, model.entry.languages if model.entry else (), model.facts)
        return badge(model.facts, machine, len(rows), len(rows) * each)

    pairs = [(model, here(model)) for model in models]
    return [(model, here) for model, here in pairs if not fits or (here and here.fits)]


def _state(model: ListedModel, here: Badge | None) -> dict[str, Any]:
    return {**model.to_dict(), "fits": here.kind if here else None, "memory_bytes": here.bytes if here else None,
            "level": here.judgement.level if here else None, **(here.time.to_dict() if here else {})}


def _row(model: ListedModel, here: Badge | None, language: str | None) -> tuple[str, ...]:
    entry = model.entry
    measured = model.folder is not None or (entry is not None and entry.disk_bytes is not None)
    gated, size = entry and entry.gated and not model.folder, format_bytes(model.disk_bytes)
    return (model.title, format_count(model.parameters), _languages(entry, language) if entry else tr("not stated"),
            tr("{licence}, gated", licence=model.licence) if gated else model.licence,
            size if measured else tr("about {size}", size=size), str(here or tr("unknown")))


def _time(here: Badge | None) -> tuple[str]:
    return (here.time.text() if here else tr("unknown"),)


def _languages(entry: CatalogueEntry, wanted: str | None) -> str:
    """Their names, where they are few; otherwise how many, and whether the one that was asked for is named."""
    from slmstudio.core.model import catalogue

    if not entry.language_count:
        return tr("not stated")
    names = catalogue.languages()
    if entry.language_count <= SHOWN and entry.languages:
        return ", ".join(names[code] for code in entry.languages)
    if wanted is None:
        return f"{entry.language_count}"
    name = names[catalogue.language_code(wanted)]
    if entry.speaks(wanted):
        return tr("{count}, with {language}", count=entry.language_count, language=name)
    return tr("{count}, not all named", count=entry.language_count)


def _disk_advice() -> str:
    from slmstudio.core import paths
    from slmstudio.core.errors import os_errors_as
    from slmstudio.core.hardware import guidance

    folder = paths.runs_dir()
    with os_errors_as(tr("Could not find out how much disk space is free.")):
        folder.mkdir(parents=True, exist_ok=True)
        return guidance.disk_advice(guidance.write_speed(folder))
