"""Chats of people as Telegram, Slack, Discord, Facebook, Instagram and WhatsApp export them, as conversations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from slmstudio.core.data.sources.row import Raw
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr, tr

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


def is_chat(value: Mapping[str, Any]) -> bool:
    """Whether a row is a chat as Telegram, Discord, or Facebook and Instagram export it."""
    said = value.get("messages")
    if not isinstance(said, list) or not said or not all(isinstance(each, dict) for each in said):
        return False
    telegram = all(each.get("type") in ("message", "service") and "date" in each for each in said)
    return telegram or ("channel" in value and all("author" in each and "timestamp" in each for each in said)) or all(
        "sender_name" in each and "timestamp_ms" in each for each in said)


def of_chats(rows: Iterator[Raw], notes: list[str]) -> Iterator[Raw]:
    """The conversations of such chats; rows that are none stay as they are."""
    for raw in rows:
        if not isinstance(raw.value, dict) or not is_chat(raw.value):
            yield raw
            continue
        said = []
        # Facebook's begin with the last one.
        for each in sorted(raw.value["messages"], key=lambda each: number(each.get("timestamp_ms", 0))):
            author = each.get("author")
            who = author.get("name") if isinstance(author, dict) else each.get("from", each.get("sender_name"))
            text = _flat(each.get("text", each.get("content")))
            if "timestamp_ms" in each:
                who, text = _mended(who), _mended(text)
            if isinstance(who, str) and text.strip() and each.get("type") != "service":
                day = str(each.get("date", each.get("timestamp")))[:10] if "timestamp_ms" not in each else str(
                    int(number(each["timestamp_ms"]) // 86_400_000))
                said.append(Said(who, text, day, raw.line))
        name = raw.value.get("name", _mended(raw.value.get("title")))
        yield from people(said, notes, f"“{name}”" if isinstance(name, str) else tr("This chat"))


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


def is_post(value: Mapping[str, Any]) -> bool:
    """Whether a row is a message as Slack exports it."""
    return value.get("type") == "message" and isinstance(value.get("ts"), str) and "text" in value


def posts(rows: Iterator[Raw]) -> Iterator[Said]:
    """The messages of such rows that have a text and weren't written by Slack itself."""
    for raw in rows:
        value = raw.value
        if isinstance(value, dict) and isinstance(value.get("user"), str) and isinstance(value.get("text"), str) and (
                value["text"].strip() and "subtype" not in value):
            day = int(number(value["ts"]) // 86400) if number(value.get("ts")) < 1e12 else 0
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
    return people(_whatsapp(chunks), notes, tr("This WhatsApp chat"))


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


def people(said: Iterable[Said], notes: list[str], name: str) -> Iterator[Raw]:
    """The conversations of two people, one per day: the person who begins on most days asks, the other answers."""
    days: dict[str, list[Said]] = {}
    for each in said:
        days.setdefault(each.day, []).append(each)
    first = [found[0] for found in days.values()]
    people = list(dict.fromkeys(each.who for found in days.values() for each in found))
    if len(people) != 2:
        line = first[0].line if first else 1
        yield not_two(name, len(people), line)
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


def not_two(name: str, people: int, line: int) -> Raw:
    """In place of a chat that isn't one of two people."""
    return Raw(None, line, Problem(ntr(
        "{chat} has {n:,} person in it. In a conversation, one person asks and another answers. Export a chat of "
        "two people.", "{chat} has {n:,} people in it. In a conversation, one person asks and another answers. "
        "Export a chat of two people.", people, chat=name), line))


def number(value: Any) -> float:
    """A place or a rank; what isn't a number comes last."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("inf")
