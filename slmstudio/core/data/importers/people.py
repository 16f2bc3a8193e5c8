"""Who asks and who answers in a chat of people, and their messages as conversations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import Any

from slmstudio.core.data.candidates import Candidate, Evidence, Part
from slmstudio.core.data.mapping.speakers import content_of, role_key, role_of
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.sources.texts import AND, Message, joined, turns, who_answers
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr, tr

UNSURE = 0.5
"""How sure it is who answers in a group."""
_SWAPPED, _NEXT = 0.3, 0.4
_OFFERED = 3
"""People of a group who are offered as the one that answers."""
_NAMED = 6
"""With more people who ask, these aren't named: everyone else does."""


def day_of(when: Any) -> str:
    """The day of a time as ISO 8601 has it, or in seconds or milliseconds since 1970."""
    try:
        seconds = float(when)
    except (TypeError, ValueError):
        return str(when)[:10]
    return str(int(seconds // (86_400_000 if seconds > 1e11 else 86_400))) if seconds < 1e15 else ""


def up_to_answer(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages without what was asked last and never answered; a question alone stays."""
    return messages[:len(messages) - (len(messages) > 1 and role_of(messages[-1]["role"]) == "user")]


def conversations(said: Iterable[Message], options: ReadOptions, part: Part, name: str) -> Iterator[Raw]:
    """The conversations of a chat, one per day. Of two people, the one who begins on most days asks, and the other
    answers; of several, the one who answers most does. A user may say it otherwise.

    Args:
        name: what the chat is called in a sentence.
    """
    spoken = list(said)
    days = [list(found) for _, found in groupby(spoken, lambda each: each.day)]
    speakers = list(dict.fromkeys(each.who for each in spoken))
    roles = {each.who: each.role for each in spoken if each.role} or named_roles(speakers, options)
    if not roles:
        if named := AND.join(filter(None, (options.user, options.assistant))):
            part.notes.append(tr("Nobody in {chat} is called {names}.", chat=name, names=named))
        roles = _guessed(days, speakers, part)
    if len({*roles.values()}) < 2:
        yield not_two(name, speakers, spoken[0].line if spoken else 1)
        return
    if not any(each.role for each in spoken):
        part.notes.append(tr("{chat} is read as one conversation per day.", chat=name))
        asking, answering = (AND.join(who for who in speakers if roles.get(who) == role)
                             for role in ("user", "assistant"))
        part.notes.append(who_answers(asking, answering))
    yield from joined(spoken, roles, part.notes)


def named_roles(speakers: list[str], options: ReadOptions) -> dict[str, str]:
    """The role of each speaker as a user has said; who isn't named is left out, unless only one side was named. None of
    a chat in which none of them speaks."""
    asking, answering = ((names or "").split(AND) for names in (options.user, options.assistant))
    if {*asking, *answering}.isdisjoint(speakers):
        return {}
    rest = "user" if options.user is None else "assistant" if options.assistant is None else ""
    roles = {who: "user" if who in asking else "assistant" if who in answering else rest for who in speakers}
    return {who: role for who, role in roles.items() if role}


def _guessed(days: list[list[Message]], speakers: list[str], part: Part) -> dict[str, str]:
    """The role of each speaker, by who begins or by who answers; the part gets what else it may be."""
    if len(speakers) < 2:
        return {}
    begun = Counter(found[0].who for found in days)
    answers = Counter(other.who for found in days for one, other in pairwise(found) if one.who != other.who)
    asking = max(speakers, key=lambda who: begun[who])
    answering = [*sorted((who for who in speakers if who != asking), key=lambda who: -answers[who]), asking][:_OFFERED]
    if len(speakers) > 2:
        part.certainty, part.options = min(part.certainty, UNSURE), _options(speakers, answering[0])
    for at, who in enumerate(answering[1:]):
        part.others.append(Candidate(
            "conversation", {}, _options(speakers, who), (_SWAPPED if len(speakers) == 2 else _NEXT) - at / 100,
            (Evidence("answers", {"person": who, "messages": answers[who]}),)))
    return {who: "assistant" if who == answering[0] else "user" for who in speakers}


def _options(speakers: list[str], answering: str) -> ReadOptions:
    asking = [who for who in speakers if who != answering]
    return ReadOptions(user=AND.join(asking) if len(asking) <= _NAMED else None, assistant=answering)


def not_two(name: str, speakers: list[str], line: int) -> Raw:
    """In place of a chat in which nobody asks, or nobody answers."""
    return Raw(None, line, Problem(ntr(
        "{chat} has {n:,} person in it. In a conversation, one person asks and another answers. Export a chat of "
        "two people.", "{chat} has {n:,} people in it. In a conversation, one person asks and another answers. "
        "Export a chat of two people.", len(speakers), chat=name), line))


def has_names(values: list[dict[str, Any]]) -> float:
    """How sure it is that rows hold messages of people, who speak only as a user says."""
    return 0.1 if any(map(_columns, values)) else 0.0


def _columns(value: Any) -> dict[str, list[dict[str, Any]]]:
    """The columns of a row with messages whose speakers aren't all called by their roles."""
    return {name: each for name, each in value.items() if isinstance(each, list) and each and all(
        isinstance(message, dict) and role_key(message) for message in each) and not all(
        role_of(message[role_key(message)]) for message in each)} if isinstance(value, dict) else {}


def read_named(rows: Iterator[Raw], _values: list[dict[str, Any]], options: ReadOptions,
               _part: Part) -> Iterator[Raw]:
    for raw in rows:
        found = {name: _of_named(messages, options) for name, messages in _columns(raw.value).items()}
        yield raw._replace(value={**raw.value, **found}) if found else raw


def _of_named(messages: list[dict[str, Any]], options: ReadOptions) -> list[dict[str, Any]]:
    """The messages of the named speakers, in their roles, up to the last answer."""
    said = [(str(each[role_key(each)]), each) for each in messages]
    roles = named_roles(list(dict.fromkeys(who for who, _ in said)), options)
    return up_to_answer(turns((roles[who], str(content_of(each))) for who, each in said if who in roles))
