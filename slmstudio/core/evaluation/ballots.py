"""The user's own blind votes on the answers of an evaluation: whom they prefer, and whether the judge agrees.

They are kept with those of Chat (`core.votes`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.evaluation import answer_rows
from slmstudio.core.evaluation.answer_rows import ITEMS, Row
from slmstudio.core.evaluation.scores.judging import TIE, VotedPair, agreement
from slmstudio.core.evaluation.scores.verdicts import p_text
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.votes import store
from slmstudio.core.votes.tally import LEVEL, by_chance

JUDGE = "judge.jsonl"


@dataclass(frozen=True)
class Ballot:
    """Two answers to be voted on.

    Attributes:
        row: the question with all answers.
        shown: names of the models whose answers are at the left and at the right.
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


def add(folder: Path, row: Row, of: str, with_: str, verdict: str, better: str = "") -> None:
    """Keep a vote. Reads the models' files the first time.

    Args:
        verdict: as of `store.Vote`; of `BEST`, `better` is the name of the better one.

    Raises:
        UserError: it can't be written.
    """
    names = (of, with_)
    messages = tuple({"role": each["role"], "content": each["content"]} for each in row.messages)
    answers = tuple(store.Answer(model, messages, row.answers.get(name, ""))
                    for name, model in zip(names, models(folder, names), strict=True))
    store.add(store.Vote(time.time(), answers, 0, (0, 1), verdict, names.index(better) if better else None, True, {},
                         key_of(folder), row.id, names))


def models(folder: Path, names: Sequence[str]) -> list[store.VotedModel]:
    """The evaluation's models of these names, as votes know them. Reading a large GGUF takes a while the first time.

    Raises:
        UserError: a file can't be read.
    """
    specs = {str(spec.get("name")): spec for spec in (files.read_json(folder / jobs.REQUEST) or {}).get("models") or []
             if isinstance(spec, dict)}
    return [store.evaluated_model(specs.get(name, {"name": name})) for name in names]


def take_back(folder: Path, row: Row, of: str, with_: str) -> None:
    """Let the votes on two answers count no more. Raises as `add`."""
    add(folder, row, of, with_, store.TAKEN_BACK)


def key_of(folder: Path) -> str:
    """What votes call an evaluation: it stays the same when everything is moved to another place."""
    return "/".join(folder.absolute().parts[-3:])


def read(folder: Path, of: str, with_: str) -> dict[int, str]:
    """The votes on two models: id of the row → the better one's name, "" for neither. Rows that were removed from the
    evaluation don't count.

    Raises:
        UserError: the votes can't be read.
    """
    found: dict[int, str] = {}
    for vote in store.of_evaluation(key_of(folder)):
        if vote.item is None or set(vote.names) != {of, with_}:
            continue
        found.pop(vote.item, None)
        if vote.verdict != store.TAKEN_BACK:
            found[vote.item] = "" if vote.best is None else vote.names[vote.best]
    if not found:
        return {}  # most evaluations have no votes, and a hundred thousand rows take a while to read
    there = {row for line in files.LineReader(folder / ITEMS).read() if isinstance(row := line.get("id"), int)}
    there -= answer_rows.read_corrections(folder).removed
    return {item: winner for item, winner in found.items() if item in there}


def summary(folder: Path, of: str, with_: str) -> dict[str, Any]:
    """What the votes say about two models.

    Returns:
        {"votes", "wins_of", "wins_with", "ties", "p" (exact sign test), "sentence", "agreement": as
        `judging.agreement` gives it, or None if no judge was asked, or nothing was voted}.
    """
    voted = read(folder, of, with_)
    wins, losses = (sum(winner == name for winner in voted.values()) for name in (of, with_))
    p = by_chance(wins, losses)
    ties = len(voted) - wins - losses
    figures = tr("{first} {wins:,}, {second} {losses:,}, neither {ties:,}, {p}", first=of, wins=wins, second=with_,
                 losses=losses, ties=ties, p=p_text(p))
    if not voted:
        sentence = ""
    elif p < LEVEL:
        sentence = tr("In your own blind votes, {better} is better: {figures}.",
                      better=of if wins > losses else with_, figures=figures)
    else:
        sentence = ntr("Your {n:,} blind vote shows no difference yet: {figures}.",
                       "Your {n:,} blind votes show no difference yet: {figures}.", len(voted), figures=figures)
    return {"votes": len(voted), "wins_of": wins, "wins_with": losses, "ties": ties, "p": p, "sentence": sentence,
            "agreement": _agreement(folder, voted, of, with_) if voted else None}


def _agreement(folder: Path, voted: dict[int, str], of: str, with_: str) -> dict[str, Any] | None:
    lines, found = [], answer_rows.read_corrections(folder)
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
