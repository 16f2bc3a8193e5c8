"""The user's own blind votes on the answers of an evaluation: whom they prefer, and whether the judge agrees.

own-votes.jsonl in the evaluation's folder, a line a vote, append-only; the last vote on two answers counts:
{"id": item, "a", "b": names of the models, "winner": "a" | "b" | "tie" | "none", "time": seconds since 1970}
"none" takes back what was voted before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.chat.tally import LEVEL, by_chance
from slmstudio.core.errors import from_os_error
from slmstudio.core.evaluation import corrections
from slmstudio.core.evaluation.answer_rows import ITEMS, Row
from slmstudio.core.evaluation.scores.judging import TIE, WINNERS, VotedPair, agreement
from slmstudio.core.evaluation.scores.verdicts import p_text

FILE, JUDGE = "own-votes.jsonl", "judge.jsonl"
TAKEN_BACK = "none"


@dataclass(frozen=True)
class Ballot:
    """Two answers to be voted on.

    Attributes:
        row: the question with all answers.
        shown: names of the models whose answers stand at the left and at the right.
    """

    row: Row
    shown: tuple[str, str]


def ballots(rows: Sequence[Row], of: str, with_: str, voted: dict[int, str], seed: int) -> list[Ballot]:
    """The rows that two models answered differently and nobody has voted on, in an order, and with sides, that the
    seed draws."""
    draw = random.Random(seed)
    found = [Ballot(row, (of, with_) if draw.random() < 0.5 else (with_, of)) for row in rows
             if row.id not in voted and row.kind != "choice" and of in row.answers and with_ in row.answers
             and row.answers[of].strip() != row.answers[with_].strip()]
    draw.shuffle(found)
    return found


def add(folder: Path, item: int, of: str, with_: str, winner: str) -> None:
    """Keep a vote.

    Args:
        winner: the name of the better model, or "" for none.

    Raises:
        UserError: it cannot be written.
    """
    _append(folder, item, of, with_, {of: "a", with_: "b"}.get(winner, TIE), "keep the vote")


def take_back(folder: Path, item: int, of: str, with_: str) -> None:
    """Let the votes on two answers count no more.

    Raises:
        UserError: that cannot be written.
    """
    _append(folder, item, of, with_, TAKEN_BACK, "take the vote back")


def _append(folder: Path, item: int, of: str, with_: str, winner: str, doing: str) -> None:
    try:
        files.append_line(folder / FILE, {"id": item, "a": of, "b": with_, "winner": winner, "time": time.time()})
    except OSError as error:
        raise from_os_error(error, doing) from error


def read(folder: Path, of: str, with_: str) -> dict[int, str]:
    """The votes on two models: id of the row → the better one's name, "" for neither. Rows that were removed from the
    evaluation do not count."""
    found: dict[int, str] = {}
    for line in files.LineReader(folder / FILE).read():
        item, winner = line.get("id"), line.get("winner")
        if not isinstance(item, int) or {line.get("a"), line.get("b")} != {of, with_}:
            continue
        if winner == TAKEN_BACK:
            found.pop(item, None)
        elif winner in WINNERS:
            found[item] = "" if winner == TIE else str(line[winner])
    if not found:
        return {}  # most evaluations have no votes, and a hundred thousand rows take a while to read
    there = {row for line in files.LineReader(folder / ITEMS).read() if isinstance(row := line.get("id"), int)}
    there -= corrections.read(folder).removed
    return {item: winner for item, winner in found.items() if item in there}


def summary(folder: Path, of: str, with_: str) -> dict[str, Any]:
    """What the votes say of two models.

    Returns:
        {"votes", "wins_of", "wins_with", "ties", "p" (exact sign test), "sentence", "agreement": as
        `judging.agreement` gives it, or None where no judge was asked, or nothing was voted}.
    """
    voted = read(folder, of, with_)
    wins, losses = (sum(winner == name for winner in voted.values()) for name in (of, with_))
    p = by_chance(wins, losses)
    ties = len(voted) - wins - losses
    figures = f"{of} {wins:,}, {with_} {losses:,}, neither {ties:,}, {p_text(p)}"
    if not voted:
        sentence = ""
    elif p < LEVEL:
        sentence = f"In your own blind votes {of if wins > losses else with_} is better: {figures}."
    else:
        votes = "one blind vote shows" if len(voted) == 1 else f"{len(voted):,} blind votes show"
        sentence = f"Your own {votes} no difference yet: {figures}."
    return {"votes": len(voted), "wins_of": wins, "wins_with": losses, "ties": ties, "p": p, "sentence": sentence,
            "agreement": _agreement(folder, voted, of, with_) if voted else None}


def _agreement(folder: Path, voted: dict[int, str], of: str, with_: str) -> dict[str, Any] | None:
    lines, found = [], corrections.read(folder)
    for line in files.LineReader(folder / JUDGE).read():
        if not found.counts(line.get("id")):
            continue
        if (line.get("a"), line.get("b")) == (of, with_):
            lines.append({**line, "id": str(line.get("id"))})
        elif (line.get("a"), line.get("b")) == (with_, of):
            turned = {"a": "b", "b": "a"}
            lines.append({**line, "id": str(line.get("id")), "winner": turned.get(str(line.get("winner")),
                                                                                   line.get("winner")),
                          "order": str(line.get("order"))[::-1]})
    if not lines:
        return None
    pairs = [VotedPair(str(item), (), "", "", "a" if winner == of else "b" if winner else TIE)
             for item, winner in voted.items()]
    return agreement(pairs, lines)
