"""Messages with the conversation that each belongs to, or the message that each replies to, joined in their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from slmstudio.core.data.candidates import Part
from slmstudio.core.data.importers import people
from slmstudio.core.data.mapping.speakers import WORDS, role_of
from slmstudio.core.data.mapping.turns import NotText, text_of
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.sources.texts import turns
from slmstudio.core.i18n import tr

_NAMES: dict[str, list[str]] = WORDS["columns"]
"""Columns of tables with one message a row, in whatever way the words of "conversation" are joined."""


class _Columns(NamedTuple):
    """
    Attributes:
        link: the conversation; "" if no column names it.
        text: what is said.
        who: who says it.
        is_role: whether that is a role; otherwise people, of whom the first one asks.
        certainty: how sure that is.
    """

    link: str
    text: str = ""
    who: str = ""
    is_role: bool = False
    certainty: float = 1.0


def detect(values: list[dict[str, Any]]) -> float:
    found = _columns(values)
    return found.certainty if found.link else 0.0


def _columns(values: list[dict[str, Any]]) -> _Columns:
    known = {name.replace("_", "").casefold(): name for name in values[0]}
    link = next((name for word in _NAMES["conversation"] if (name := known.get(word.replace("_", ""), ""))
                 and all(each.get(name) is not None for each in values)), "")
    if not link:
        return _Columns("")
    role, text = role_and_text(values)
    if role and text:
        return _Columns(link, text, role, True)
    if not _first("place", values[0].__contains__):
        return _Columns("")
    certainty, who = max((_people(values, name, link), name) for name in _NAMES["speaker"])
    return _Columns(link if certainty and text else "", text, who, False, certainty)


def role_and_text(values: list[dict[str, Any]]) -> tuple[str, str]:
    """The columns with roles, and with what is said; "" where there is none."""
    text = _first("text", lambda name: all(isinstance(_text(each.get(name)), str) for each in values))
    return _first("role", lambda name: name != text and all(role_of(each.get(name)) for each in values)), text


def _first(kind: str, fits: Callable[[str], bool]) -> str:
    return next(filter(fits, _NAMES[kind]), "")


def _people(values: list[dict[str, Any]], who: str, link: str) -> float:
    """How surely a column tells two people apart in each conversation, as EmpatheticDialogues' "speaker_idx"; hardly,
    where they are mostly more, who must be named."""
    people: dict[str, set[str]] = {}
    for each in values:
        if each.get(who) in (None, ""):
            return 0.0
        people.setdefault(str(each[link]), set()).add(str(each[who]))
    two, more = (sum(map(fits, people.values())) for fits in (lambda who: len(who) == 2, lambda who: len(who) > 2))
    return float(two > 0) if not more else 0.6 if two >= more else 0.3


def read(rows: Iterator[Raw], values: list[dict[str, Any]], options: ReadOptions, part: Part) -> Iterator[Raw]:
    """The messages of each conversation; rows that aren't messages stay as they are."""
    found = _columns(values)
    part.notes.append(tr('Each row is one message. Those with the same "{column}" are read as one conversation.',
                         column=found.link))
    if not found.is_role and options.user is options.assistant is None:
        part.notes.append(tr("In each conversation, the first person asks and the other one answers."))
    threads: dict[str, list[Raw]] = {}
    for raw in rows:
        if isinstance(raw.value, dict) and isinstance(raw.value.get(found.text), list):
            raw = raw._replace(value={**raw.value, found.text: _text(raw.value[found.text])})
        if is_message(raw.value, found.who, found.text):
            threads.setdefault(str(raw.value.get(found.link)), []).append(raw)
        else:
            yield raw
    for thread in threads.values():
        yield from _thread(thread, found, options)


def _thread(rows: list[Raw], columns: _Columns, options: ReadOptions) -> Iterator[Raw]:
    """One conversation, if it can be said who asks and who answers in it."""
    place = _first("place", rows[0].value.__contains__)
    if place:
        rows.sort(key=lambda raw: _place(raw.value.get(place)))
    if not columns.is_role:
        speakers = list(dict.fromkeys(str(raw.value[columns.who]) for raw in rows))
        roles = people.named_roles(speakers, options) or dict(zip(speakers, ("user", "assistant"), strict=False))
        if len({*roles.values()}) < 2 or (len(speakers) > 2 and options.user is options.assistant is None):
            yield people.not_two(tr("This chat"), speakers, rows[0].line)
            return
        rows = [raw._replace(value={**raw.value, columns.who: roles[speaker]}) for raw in rows
                if (speaker := str(raw.value[columns.who])) in roles]
    yield conversation(rows, columns.who, columns.text, (columns.link, place))


def conversation(rows: list[Raw], role: str, text: str, left_out: Iterable[str]) -> Raw:
    """Some messages as one row, with the other columns of the first."""
    # EmpatheticDialogues writes commas as words.
    messages = turns((str(each.value[role]), each.value[text].replace("_comma_", ",")) for each in rows)
    beside = {name: value for name, value in rows[0].value.items() if name not in (role, text, *left_out)}
    return Raw({"messages": people.up_to_answer(messages), **beside}, rows[0].line)


def _text(value: Any) -> Any:
    """What a message says, also where it is in parts; those that aren't text stay as they are."""
    try:
        return text_of(value) if isinstance(value, list) else value
    except NotText:
        return value


def number(value: Any) -> float:
    """A place or a rank; what isn't a number comes last."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("inf")


def _place(value: Any) -> tuple[float, str]:
    """Where a message comes, by its number or by a date that begins with the year."""
    return number(value), value if isinstance(value, str) and re.match(r"\d{4}-", value) else ""


def is_message(value: Any, who: str, text: str) -> bool:
    return isinstance(value, dict) and value.get(who) is not None and isinstance(value.get(text), str)


def is_tree(values: list[dict[str, Any]]) -> float:
    """How sure it is that the rows are messages with the one that each replies to, as OASST's."""
    role, text = role_and_text(values)
    return float(bool(role and text) and all("message_id" in each and "parent_id" in each for each in values))


def read_trees(rows: Iterator[Raw], values: list[dict[str, Any]], _options: ReadOptions,
               part: Part) -> Iterator[Raw]:
    """The best-ranked path through each tree; rows that aren't messages stay as they are."""
    part.notes.append(tr("Each row is one message. The best-ranked path through each tree of replies is read as one "
                         "conversation."))
    role, text = role_and_text(values)
    replies: dict[str, list[Raw]] = {}
    known: set[str] = set()
    for raw in rows:
        value = raw.value
        if not is_message(value, role, text):
            yield raw
        elif not value.get("deleted"):
            known.add(str(value.get("message_id")))
            replies.setdefault(str(value.get("parent_id") or ""), []).append(raw)
    roots = [each for parent, found in replies.items() if parent not in known for each in found]
    for root in sorted(roots, key=lambda raw: raw.line):
        path, here = [root], root
        while found := replies.pop(str(here.value.get("message_id")), []):
            here = min(found, key=lambda raw: number(raw.value.get("rank")))
            path.append(here)
        yield conversation(path, role, text, ("message_id", "parent_id", "message_tree_id"))
