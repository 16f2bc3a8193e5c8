"""Rivals of a tuned model in the terminal: their table, and the one that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slmstudio.cli.output import print_json, print_table, say
from slmstudio.core import units
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


def print_rivals(rivals: dict[str, Any]) -> None:
    """A table of what each reached and cost, and what they come to."""
    from slmstudio.core.evaluation.scores.metrics import METRICS
    from slmstudio.core.evaluation.scores.verdicts import score_text

    metric = rivals["metric"]
    lines = [(each["name"], tr("{score} ({low} to {high})", **{
        name: score_text(metric, each[key]) for name, key in (("score", "value"), ("low", "low"), ("high", "high"))}),
              *("–" if text is None else text for text in (
                  each["prompt_tokens"] and f"{each['prompt_tokens']:,.0f}",
                  each["seconds"] and tr("{seconds:.2f} s", seconds=each["seconds"]),
                  each["memory_bytes"] and units.format_bytes(each["memory_bytes"])))) for each in rivals["table"]]
    say()
    print_table(ntr("Rivals on {n:,} row", "Rivals on {n:,} rows", rivals["rows"]), lines,
                (tr("Model"), tr(METRICS[metric].label), tr("Tokens read per answer"), tr("Time per answer"),
                 tr("Memory")))
    say(rivals["sentence"])
