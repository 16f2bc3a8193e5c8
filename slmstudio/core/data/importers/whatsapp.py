"""A chat that WhatsApp has exported as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from slmstudio.core.data.candidates import Candidate, Readable
from slmstudio.core.data.importers import people
from slmstudio.core.data.importers.people import Message
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.i18n import tr

_LINE = re.compile(
    r"[\u200e\u200f\ufeff]?\[?(?P<day>\d{1,4}[./-]\d{1,2}[./-]\d{1,4}),?\s+\d{1,2}[:.]\d{2}(?:[:.]\d{2})?"
    r"(?:\s*[AaPp]\.?\s?[Mm]\.?)?\]?(?:\s+[-\u2013])?\s(?P<said>.*)", re.DOTALL)
"""How WhatsApp begins a message, on Android and on iPhones: "12/03/24, 9:41 am - Asha: Hello"."""
_LEFT_OUT = re.compile(
    r"[\u200e\u200f]*(?:<.*(?:omitted|attached).*>|.*\bomitted|.*\(file attached\)|this message was deleted\.?|"
    r"you deleted this message\.?|missed (?:voice|video) call.*|null)", re.IGNORECASE)
_AS_TEXT = 0.3


def detect(first: str) -> float:
    """How sure it is that a text is such a chat of two people or more, by its beginning."""
    lines = [line for line in first.split("\n")[:60] if line.strip()]
    begun = sum(_LINE.match(line) is not None for line in lines)
    is_chat = len(lines) > 2 and _LINE.match(lines[0]) is not None and 2 * begun > len(lines)
    return float(is_chat and len({each.who for each in _messages([first.encode()])}) > 1)


def read(chunks: Iterable[bytes], options: ReadOptions, part: Readable) -> Iterator[Raw]:
    """Its conversations, in UTF-8."""
    yield from people.conversations(_messages(chunks), options, part, tr("This WhatsApp chat"))
    if part.certainty < 1:
        part.others.append(Candidate("text", {}, ReadOptions(text_by="paragraph"), _AS_TEXT))


def _messages(chunks: Iterable[bytes]) -> Iterator[Message]:
    begun: Message | None = None
    for number, line in enumerate(b"".join(chunks).decode("utf-8", "replace").splitlines(), 1):
        found = _LINE.match(line)
        if found is None:
            begun = begun._replace(text=f"{begun.text}\n{line}") if begun is not None else None
            continue
        if begun is not None and not _LEFT_OUT.fullmatch(begun.text.strip()):
            yield begun
        who, colon, text = found["said"].partition(": ")
        begun = Message(who.strip("\u200e\u200f ~"), text, found["day"], number) if colon else None
    if begun is not None and not _LEFT_OUT.fullmatch(begun.text.strip()):
        yield begun
