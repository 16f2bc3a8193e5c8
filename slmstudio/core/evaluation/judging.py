"""What a judge model said of two models' answers, and whether it can be believed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def judge_summary(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Wins of each pair of models; the two orders must agree, else the row is a tie.

    Args:
        lines: of judge.jsonl: {"id", "order": "ab" | "ba", "a": name, "b": name, "winner": "a" | "b" | "tie" | None}.

    Returns:
        A dictionary a pair: {"a", "b", "wins": [a's, b's], "ties", "orders_differ", "unreadable", "rows", "p",
        "sentence"}.
    """
    raise NotImplementedError
