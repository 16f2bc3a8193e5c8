"""Files with one message a row, joined into conversations: OASST's trees, tables with an id for each conversation, and
chats as programs export them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from slmstudio.core.data.mapping import chats
from slmstudio.core.data.mapping.speakers import role_of
from slmstudio.core.data.mapping.turns import NotText, text_of
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.i18n import tr

LOOKED_AT = 40
LINKS = ("message_tree_id", "conversation_id", "conv_id", "thread_id", "session_id", "chat_id", "dialog_id",
         "dialogue_id", "ticket_id")
"""Columns by which rows with one message each belong together, in whatever way their words are joined."""
_ROLES, _TEXTS = ("role", "sender", "speaker", "from"), ("text", "content", "message", "utterance", "value")
_SPEAKERS = (*_ROLES, "speaker_idx", "speaker_id", "sender_id", "author_id", "author")
"""Columns with who speaks, where names or numbers tell two people apart."""
_PLACES = ("turn", "turn_id", "turn_index", "turn_idx", "message_index", "message_idx", "utterance_idx", "seq",
           "position", "timestamp", "created_at", "date", "ts")


def are_messages(values: list[Any]) -> bool:
    """Whether a file's first rows are messages, or chats, that must be joined or cut before they are conversations."""
    return _way(values, []) is not None


def joined(values: list[Any], rows: Iterator[Raw], notes: list[str]) -> Iterator[Raw]:
    """The conversations of a file with such rows.

    Args:
        values: of the first rows.
        rows: all.
        notes: gets sentences on how they were joined.
    """
    way = _way(values, notes)
    return way(rows) if way is not None else rows


def _way(found: list[Any], notes: list[str]) -> Callable[[Iterator[Raw]], Iterator[Raw]] | None:
    """How the rows are joined."""
    values = [each for each in found if isinstance(each, dict)]
    if not values or len(values) < len(found):
        return None
    if all(map(chats.is_chat, values)):
        return lambda rows: chats.of_chats(rows, notes)
    if len(values) > 1 and all(map(chats.is_post, values)):
        return lambda rows: chats.people(chats.posts(rows), notes, tr("This chat"))
    if len(values) > 1 and all("mes" in each and "is_user" in each for each in values[1:]):
        return _of_tavern
    text = next((name for name in _TEXTS if all(isinstance(_text(each.get(name)), str) for each in values)), "")
    role = next((name for name in _ROLES if name != text and all(role_of(each.get(name)) for each in values)), "")
    if role and text and all("message_id" in each and "parent_id" in each for each in values):
        notes.append(tr("Each row is one message. The best-ranked path through each tree of replies is read as one "
                        "conversation."))
        return lambda rows: _trees(rows, role, text)
    known = {name.replace("_", "").casefold(): name for name in values[0]}
    link = next((name for word in LINKS if (name := known.get(word.replace("_", ""), ""))
                 and all(each.get(name) is not None for each in values)), "")
    is_ordered = link and any(name in values[0] for name in _PLACES)
    are_whole = is_ordered and all(
        "personality" in each and isinstance(each.get("history"), list) for each in values)
    who = role or next((name for name in _SPEAKERS if is_ordered and _are_two(values, name, link)), "")
    if not link or not (are_whole or (who and text)):
        return None
    notes.append(tr('Each row is one message. Those with the same "{column}" are read as one conversation.',
                    column=link))
    if are_whole:
        return lambda rows: _last_of_each(rows, link)
    if not role:
        notes.append(tr("In each conversation, the first person asks and the other one answers."))
    return lambda rows: _linked(rows, who, text, link, is_role=bool(role))


def _are_two(values: list[dict[str, Any]], who: str, link: str) -> bool:
    """Whether a column tells two people apart in each conversation, as EmpatheticDialogues' "speaker_idx"."""
    people: dict[str, set[str]] = {}
    for each in values:
        if each.get(who) in (None, ""):
            return False
        people.setdefault(str(each[link]), set()).add(str(each[who]))
    return max(map(len, people.values())) == 2


def _conversation(rows: list[Raw], role: str, text: str, left_out: Iterable[str]) -> Raw:
    """Some messages as one row, with the other columns of the first."""
    said: list[dict[str, str]] = []
    for each in rows:
        # EmpatheticDialogues writes commas as words, so that its tables need no quotation marks.
        made = {"role": str(each.value[role]), "content": each.value[text].replace("_comma_", ",")}
        if said and said[-1]["role"] == made["role"]:
            said[-1]["content"] += f"\n{made['content']}"
        else:
            said.append(made)
    while len(said) > 1 and role_of(said[-1]["role"]) == "user":  # asked, and never answered
        said.pop()
    beside = {name: value for name, value in rows[0].value.items() if name not in (role, text, *left_out)}
    return Raw({"messages": said, **beside}, rows[0].line)


def _trees(rows: Iterator[Raw], role: str, text: str) -> Iterator[Raw]:
    """The best-ranked way through each tree; rows that aren't messages stay as they are."""
    replies: dict[str, list[Raw]] = {}
    known: set[str] = set()
    for raw in rows:
        value = raw.value
        if not _is_message(value, role, text):
            yield raw
        elif not value.get("deleted"):
            known.add(str(value.get("message_id")))
            replies.setdefault(str(value.get("parent_id") or ""), []).append(raw)
    roots = [each for parent, found in replies.items() if parent not in known for each in found]
    for root in sorted(roots, key=lambda raw: raw.line):
        way, here = [root], root
        while found := replies.pop(str(here.value.get("message_id")), []):
            here = min(found, key=lambda raw: chats.number(raw.value.get("rank")))
            way.append(here)
        yield _conversation(way, role, text, ("message_id", "parent_id", "message_tree_id"))


def _linked(rows: Iterator[Raw], who: str, text: str, link: str, is_role: bool) -> Iterator[Raw]:
    """The messages of each conversation.

    Args:
        is_role: whether `who` has roles; otherwise it has people, of whom the first one asks.
    """
    threads: dict[str, list[Raw]] = {}
    for raw in rows:
        if isinstance(raw.value, dict) and isinstance(raw.value.get(text), list):
            raw = raw._replace(value={**raw.value, text: _text(raw.value[text])})
        if _is_message(raw.value, who, text):
            threads.setdefault(str(raw.value.get(link)), []).append(raw)
        else:
            yield raw
    for found in threads.values():
        place = next((name for name in _PLACES if name in found[0].value), "")
        if place:
            found.sort(key=lambda raw: _place(raw.value.get(place)))
        if not is_role:
            people = list(dict.fromkeys(raw.value[who] for raw in found))
            if len(people) != 2:
                yield chats.not_two(tr("This chat"), len(people), found[0].line)
                continue
            found = [raw._replace(value={**raw.value, who: ("user", "assistant")[people.index(raw.value[who])]})
                     for raw in found]
        yield _conversation(found, who, text, (link, place))


def _text(value: Any) -> Any:
    """What a message says, also where it is in parts; those that aren't text stay as they are."""
    try:
        return text_of(value) if isinstance(value, list) else value
    except NotText:
        return value


def _place(value: Any) -> tuple[float, str]:
    """Where a message comes, by its number or by a date that begins with the year."""
    return chats.number(value), value if isinstance(value, str) and re.match(r"\d{4}-", value) else ""


def _of_tavern(rows: Iterator[Raw]) -> Iterator[Raw]:
    """A chat as SillyTavern keeps it, below a row that names the two."""
    said = [raw._replace(value={"role": "user" if raw.value["is_user"] else "assistant", "content": raw.value["mes"]})
            for raw in rows if isinstance(raw.value, dict) and isinstance(raw.value.get("mes"), str)
            and "is_user" in raw.value and not raw.value.get("is_system")]
    if said:
        yield _conversation(said, "role", "content", ())


def _last_of_each(rows: Iterator[Raw], link: str) -> Iterator[Raw]:
    """The last row of each conversation, which repeats what was said before: PersonaChat has a row for each answer."""
    last: dict[str, Raw] = {}
    for raw in rows:
        if isinstance(raw.value, dict):
            key = str(raw.value.get(link))
            last[key] = max(last.get(key, raw), raw, key=lambda each: len(each.value.get("history") or ()))
        else:
            yield raw
    yield from last.values()


def _is_message(value: Any, who: str, text: str) -> bool:
    return isinstance(value, dict) and value.get(who) is not None and isinstance(value.get(text), str)
