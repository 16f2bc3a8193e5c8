"""Files with one message a row, joined into conversations: OASST's trees, tables with an id for each conversation, and
chats as Telegram, Slack, Discord and WhatsApp export them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from slmstudio.core.data.mapping.speakers import role_of
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr, tr

LOOKED_AT = 40
LINKS = ("message_tree_id", "conversation_id", "conv_id", "thread_id", "session_id", "chat_id", "dialog_id",
         "dialogue_id", "ticket_id")
"""Columns by which rows with one message each belong together."""
_ROLES, _TEXTS = ("role", "sender", "speaker", "from"), ("text", "content", "message", "utterance", "value")
_SPEAKERS = (*_ROLES, "speaker_idx", "speaker_id", "sender_id", "author_id", "author")
"""Columns with who speaks, where names or numbers tell two people apart."""
_PLACES = ("turn", "turn_id", "turn_index", "turn_idx", "message_index", "message_idx", "utterance_idx", "seq",
           "position")
_LINE = re.compile(
    r"[\u200e\u200f\ufeff]?\[?(?P<day>\d{1,4}[./-]\d{1,2}[./-]\d{1,4}),?\s+\d{1,2}[:.]\d{2}(?:[:.]\d{2})?"
    r"(?:\s*[AaPp]\.?\s?[Mm]\.?)?\]?(?:\s+[-\u2013])?\s(?P<said>.*)", re.DOTALL)
"""How WhatsApp begins a message, on Android and on iPhones: "12/03/24, 9:41 am - Asha: Hello"."""
_LEFT_OUT = re.compile(
    r"[\u200e\u200f]*(?:<.*(?:omitted|attached).*>|.*\bomitted|.*\(file attached\)|this message was deleted\.?|"
    r"you deleted this message\.?|missed (?:voice|video) call.*|null)", re.IGNORECASE)


class Said(NamedTuple):
    """One message of a chat: who said it, on which day, and where it begins in the file."""

    who: str
    text: str
    day: str
    line: int


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
    if all(map(_is_chat, values)):
        return lambda rows: _chats(rows, notes)
    if len(values) > 1 and all(map(_is_post, values)):
        return lambda rows: _people(_posts(rows), notes, tr("This chat"))
    text = next((name for name in _TEXTS if all(isinstance(each.get(name), str) for each in values)), "")
    role = next((name for name in _ROLES if name != text and all(role_of(each.get(name)) for each in values)), "")
    if role and text and all("message_id" in each and "parent_id" in each for each in values):
        notes.append(tr("Each row is one message. The best-ranked path through each tree of replies is read as one "
                        "conversation."))
        return lambda rows: _trees(rows, role, text)
    link = next((name for name in LINKS if all(each.get(name) is not None for each in values)), "")
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
            here = min(found, key=lambda raw: _number(raw.value.get("rank")))
            way.append(here)
        yield _conversation(way, role, text, ("message_id", "parent_id", "message_tree_id"))


def _linked(rows: Iterator[Raw], who: str, text: str, link: str, is_role: bool) -> Iterator[Raw]:
    """The messages of each conversation.

    Args:
        is_role: whether `who` has roles; else it has people, of whom the first one asks.
    """
    threads: dict[str, list[Raw]] = {}
    for raw in rows:
        if _is_message(raw.value, who, text):
            threads.setdefault(str(raw.value.get(link)), []).append(raw)
        else:
            yield raw
    for found in threads.values():
        place = next((name for name in _PLACES if name in found[0].value), "")
        if place:
            found.sort(key=lambda raw: _number(raw.value.get(place)))
        if not is_role:
            people = list(dict.fromkeys(raw.value[who] for raw in found))
            if len(people) != 2:
                yield _not_two(tr("This chat"), len(people), found[0].line)
                continue
            found = [raw._replace(value={**raw.value, who: ("user", "assistant")[people.index(raw.value[who])]})
                     for raw in found]
        yield _conversation(found, who, text, (link, place))


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


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("inf")


# -- chats of people -------------------------------------------------------------------------------------------------


def _is_chat(value: Mapping[str, Any]) -> bool:
    """Whether a row is a chat as Telegram, Discord, or Facebook and Instagram export it."""
    said = value.get("messages")
    if not isinstance(said, list) or not said or not all(isinstance(each, dict) for each in said):
        return False
    telegram = all(each.get("type") in ("message", "service") and "date" in each for each in said)
    return telegram or ("channel" in value and all("author" in each and "timestamp" in each for each in said)) or all(
        "sender_name" in each and "timestamp_ms" in each for each in said)


def _chats(rows: Iterator[Raw], notes: list[str]) -> Iterator[Raw]:
    for raw in rows:
        if not isinstance(raw.value, dict) or not _is_chat(raw.value):
            yield raw
            continue
        said = []
        # Facebook's begin with the last one.
        for each in sorted(raw.value["messages"], key=lambda each: _number(each.get("timestamp_ms", 0))):
            author = each.get("author")
            who = author.get("name") if isinstance(author, dict) else each.get("from", each.get("sender_name"))
            text = _flat(each.get("text", each.get("content")))
            if "timestamp_ms" in each:
                who, text = _mended(who), _mended(text)
            if isinstance(who, str) and text.strip() and each.get("type") != "service":
                day = str(each.get("date", each.get("timestamp")))[:10] if "timestamp_ms" not in each else str(
                    int(_number(each["timestamp_ms"]) // 86_400_000))
                said.append(Said(who, text, day, raw.line))
        name = raw.value.get("name", _mended(raw.value.get("title")))
        yield from _people(said, notes, f"“{name}”" if isinstance(name, str) else tr("This chat"))


def _mended(text: Any) -> Any:
    """A text whose bytes in UTF-8 were written as letters, as Facebook's export does; any other as it is."""
    try:
        return text.encode("latin-1").decode("utf-8") if isinstance(text, str) else text
    except UnicodeError:
        return text


def _flat(value: Any) -> str:
    """Telegram's text: a string, or a list of strings and of links, mentions and the like."""
    parts = value if isinstance(value, list) else [value]
    return "".join(part if isinstance(part, str) else str(part.get("text", "")) if isinstance(part, dict) else ""
                   for part in parts)


def _is_post(value: Mapping[str, Any]) -> bool:
    """Whether a row is a message as Slack exports it."""
    return value.get("type") == "message" and isinstance(value.get("ts"), str) and "text" in value


def _posts(rows: Iterator[Raw]) -> Iterator[Said]:
    for raw in rows:
        value = raw.value
        if isinstance(value, dict) and isinstance(value.get("user"), str) and isinstance(value.get("text"), str) and (
                value["text"].strip() and "subtype" not in value):
            day = int(_number(value["ts"]) // 86400) if _number(value.get("ts")) < 1e12 else 0
            yield Said(value["user"], value["text"], str(day), raw.line)


def is_whatsapp(first: str) -> bool:
    """Whether a text begins as WhatsApp's exports do."""
    lines = [line for line in first.split("\n")[:60] if line.strip()]
    return len(lines) > 2 and _LINE.match(lines[0]) is not None and (
        2 * sum(_LINE.match(line) is not None for line in lines) > len(lines))


def whatsapp_speakers(first: str) -> set[str]:
    """Who speaks at the beginning of a WhatsApp chat."""
    return {each.who for each in _whatsapp([first.encode()])}


def of_whatsapp(chunks: Iterable[bytes], notes: list[str]) -> Iterator[Raw]:
    """The conversations of a chat that WhatsApp has exported, in UTF-8."""
    return _people(_whatsapp(chunks), notes, tr("This WhatsApp chat"))


def _whatsapp(chunks: Iterable[bytes]) -> Iterator[Said]:
    begun: Said | None = None
    for number, line in enumerate(b"".join(chunks).decode("utf-8", "replace").splitlines(), 1):
        found = _LINE.match(line)
        if found is None:
            begun = begun._replace(text=f"{begun.text}\n{line}") if begun is not None else None
            continue
        if begun is not None and not _LEFT_OUT.fullmatch(begun.text.strip()):
            yield begun
        who, colon, text = found["said"].partition(": ")
        begun = Said(who.strip("\u200e\u200f ~"), text, found["day"], number) if colon else None
    if begun is not None and not _LEFT_OUT.fullmatch(begun.text.strip()):
        yield begun


def _people(said: Iterable[Said], notes: list[str], name: str) -> Iterator[Raw]:
    """The conversations of two people, one a day: who begins most days asks, the other answers."""
    days: dict[str, list[Said]] = {}
    for each in said:
        days.setdefault(each.day, []).append(each)
    first = [found[0] for found in days.values()]
    people = list(dict.fromkeys(each.who for found in days.values() for each in found))
    if len(people) != 2:
        line = first[0].line if first else 1
        yield _not_two(name, len(people), line)
        return
    begun = {who: sum(each.who == who for each in first) for who in people}
    asks = max(people, key=lambda who: begun[who])
    answers = next(who for who in people if who != asks)
    notes.append(tr("{chat} is read as one conversation per day. “{asking}” asks, and “{answering}” answers; the model "
                    "learns these answers.", chat=name, asking=asks, answering=answers))
    for found in days.values():
        turns: list[dict[str, str]] = []
        for each in found:
            role = "user" if each.who == asks else "assistant"
            if turns and turns[-1]["role"] == role:
                turns[-1]["content"] += f"\n{each.text}"
            else:
                turns.append({"role": role, "content": each.text})
        if turns[0]["role"] == "assistant":
            del turns[0]
        if turns and turns[-1]["role"] == "user":
            del turns[-1]
        if turns:
            yield Raw({"messages": turns}, found[0].line)


def _not_two(name: str, people: int, line: int) -> Raw:
    """In place of a chat that isn't one of two people."""
    return Raw(None, line, Problem(ntr(
        "{chat} has {n:,} person in it. In a conversation, one person asks and another answers. Export a chat of "
        "two people.", "{chat} has {n:,} people in it. In a conversation, one person asks and another answers. "
        "Export a chat of two people.", people, chat=name), line))
