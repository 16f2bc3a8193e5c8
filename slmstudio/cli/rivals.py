"""Rivals of a tuned model in the terminal: their table, and the one that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slmstudio.cli.output import print_json, print_table, say
from slmstudio.core.i18n import ntr, tr


def keep_rival(run: Path | None, evaluation: Path | None, name: str, as_json: bool) -> int:
    """Keep a rival for chat and serve, of the last evaluation where none is given. Returns the exit status.

    Args:
        run: None for a trial before any run.

    Raises:
        UserError: as of `rivals.keep` and `rivals.newest`.
    """
    from slmstudio.core.evaluation import rivals

    if evaluation is None and run is not None and name != rivals.TUNED:
        evaluation = rivals.newest(run, name)
    kept = rivals.keep(run, evaluation, name)
    if as_json:
        print_json({"evaluation": str(evaluation) if evaluation else None, "kept": name,
                    "assistant": str(kept) if kept else None})
    elif kept is None:
        say(tr("Chat and the server answer with the tuned model alone."))
    else:
        say(tr("Chat and the server answer as “{name}” did: {file}", name=name, file=kept))
    return 0


def print_rivals(found: dict[str, Any]) -> None:
    """A table of what each reached and cost, and what they come to."""
    from slmstudio.core.evaluation import rivals

    head, rows = rivals.table(found)
    say()
    print_table(ntr("Rivals on {n:,} row", "Rivals on {n:,} rows", found["rows"]), rows, head)
    say(found["sentence"])
