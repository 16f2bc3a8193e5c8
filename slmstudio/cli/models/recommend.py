"""`models recommend`: which base model suits a file of rows on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slmstudio.cli import asking
from slmstudio.cli.data import Mapped, Sheet, TextBy, mapping_text
from slmstudio.cli.output import Json, print_json, print_next, print_table
from slmstudio.cli.progress import Follower
from slmstudio.core import program
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.units import format_bytes


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
