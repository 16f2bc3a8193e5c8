"""Texts whose lines begin with who speaks, as conversations; and with the fields of a record, as rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import dropwhile, groupby
from re import IGNORECASE, compile
from typing import Any

from slmstudio.core.data.candidates import Candidate, Evidence
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.labels import END, OUT, Block, Labels, Line, blocks, role
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.i18n import ntr, tr

LEAST_TURNS, LEAST_SHARE = 4, 0.2
"""A conversation has at least this many turns, and at least this share of its lines begins with who speaks: fewer may
where both are known as speakers, which is less sure."""
FEW, LEAST_OF_PAIR = 0.05, 0.4
"""Share of turns up to which other labels don't make a conversation one of more than two people, and the share that the
two have at least."""
MOST_NAMED = 8
"""People that are proposed as one side of a conversation."""
KNOWN, ONE_KNOWN, UNKNOWN, GROUP = 0.9, 0.7, 0.6, 0.5
"""How sure a conversation is whose speakers are called by two known roles (or that a messenger wrote), by one, by none,
and one of more than two people."""
_NO_TEXT = compile(
    r"[\u200e\u200f]*(?:<.*(?:omitted|attached).*>|.*\bomitted|.*\(file attached\)|this message was deleted\.?|"
    r"you deleted this message\.?|missed (?:voice|video) call.*|null)", IGNORECASE)
"""What WhatsApp writes for a picture, a deleted message or a call."""


def candidates(labels: Labels) -> list[Candidate]:
    """The conversations that the labels may be; none if they hardly are speakers."""
    turns = [key for unit in labels.units for at, key in enumerate(unit) if not at or unit[at - 1] != key]
    counts = Counter(turns)
    ranked = sorted(counts, key=lambda key: (-counts[key], turns.index(key)))
    known = [next((key for key in ranked if role(key) == wanted), "") for wanted in ("user", "assistant")]
    is_said = all(known) or labels.share >= LEAST_SHARE
    if len(counts) < 2 or len(turns) < LEAST_TURNS or labels.are_fields or not is_said:
        return []
    pair = known if all(known) else ranked[:2]
    if not all(known) and role(pair[0]) != "user" and role(pair[1]) != "assistant":
        begins = Counter(next(key for key in unit if key in pair) for unit in labels.units
                         if not set(pair).isdisjoint(unit))
        pair = sorted(pair, key=lambda key: (role(key) == "assistant", role(key) != "user", -begins[key]))
    if sum(counts[key] for key in pair) < LEAST_OF_PAIR * len(turns):
        return []
    inner = sum(key not in pair for unit in labels.units
                for key in dropwhile(lambda each: each not in pair, unit))
    is_group = inner > FEW * len(turns)
    is_known = (all(known) and labels.share >= LEAST_SHARE) or (labels.dated and len(counts) == 2)
    everyone = [key for key in ranked if key != pair[1]][:MOST_NAMED]
    ways = [(pair[:1], pair[1:], ONE_KNOWN if all(known) else GROUP), (everyone, pair[1:], GROUP - 0.1),
            (pair[1:], pair[:1], GROUP - 0.2)] if is_group else [
        (pair[:1], pair[1:], KNOWN if is_known else ONE_KNOWN if any(map(role, pair)) else UNKNOWN),
        *([] if all(known) else [(pair[1:], pair[:1], UNKNOWN - 0.1)])]
    found = []
    for *sides, certainty in ways:
        user, assistant = (" + ".join(labels.names[key] for key in keys) for keys in sides)
        found.append(Candidate("conversation", {}, ReadOptions(text_by="dialogue", user=user, assistant=assistant),
                               certainty, (Evidence("speakers", {"user": user, "assistant": assistant}),)))
    return found


def turns(said: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Roles and texts as messages, those of one role in a row as one."""
    found: list[dict[str, Any]] = []
    for side, text in said:
        if found and found[-1]["role"] == side:
            found[-1]["content"] = "\n".join(filter(None, (found[-1]["content"], text)))
        else:
            found.append({"role": side, "content": text})
    return found


def conversations(lines: Iterable[Line], labels: Labels, user: str, assistant: str, notes: list[str]) -> Iterator[Raw]:
    """The conversations of two sides.

    Args:
        labels: as found at the beginning of the text.
        user, assistant: as of `ReadOptions`.
        notes: gets a sentence on who speaks, and later on what was left out.
    """
    roles = {name.strip().casefold(): side for side, names in (("user", user), ("assistant", assistant))
             for name in [names, *names.split(" + ")]}
    notes.append(tr("“{user}” asks and “{assistant}” answers; the model learns these answers.", user=user,
                    assistant=assistant))
    others: Counter[str] = Counter()
    unanswered = 0
    messages: list[Block] = []
    for block in blocks(labels.events(lines, roles)):
        if block.key in roles and not _NO_TEXT.fullmatch(block.lines[0].text):
            messages.append(block)
        elif block.key not in (OUT, END, *roles):
            others[labels.names[block.key]] += 1
    for _, unit in groupby(messages, key=lambda each: each.unit):
        found = [(roles[each.key], each) for each in unit]
        inner = list(dropwhile(lambda each: each[0] == "assistant", found))
        answered = turns((side, each.text) for side, each in inner)
        if answered and answered[-1]["role"] == "user":
            del answered[-1]
        unanswered += len(turns((side, "") for side, _ in found)) - len(answered)
        if answered:
            yield Raw({"messages": answered}, inner[0][1].lines[0].number)
    if shown := [f"“{name}”" for name, n in others.most_common(5) if n]:
        notes.append(tr("What is labelled {names} was left out.", names=", ".join(shown)))
    if unanswered:
        notes.append(ntr("{n:,} message was left out: it is before a first question, or nobody answers it.",
                         "{n:,} messages were left out: they are before a first question, or nobody answers them.",
                         unanswered))


def records(lines: Iterable[Line], labels: Labels) -> Iterator[Raw]:
    """A row for each record, by its labels."""
    row: dict[str, str] = {}
    begin = 0
    for block in blocks(labels.events(lines)):
        if block.key not in (OUT, END):
            name = labels.names[block.key]
            if name in row:
                yield Raw(row, begin)
                row = {}
            begin = begin if row else block.lines[0].number
            row[name] = block.text
    if row:
        yield Raw(row, begin)
