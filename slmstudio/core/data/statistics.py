"""What a dataset looks like: how much there is, how long it is, and in which scripts."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from slmstudio.core.data.record import Record
from slmstudio.core.i18n import noop

SAMPLE_CHARACTERS = 5_000_000
OTHER = noop("Other")

BLOCKS = (
    (0x0041, 0x024F, noop("Latin")), (0x0250, 0x02AF, noop("Latin")), (0x0370, 0x03FF, noop("Greek")),
    (0x0400, 0x052F, noop("Cyrillic")), (0x0531, 0x058F, noop("Armenian")), (0x0590, 0x05FF, noop("Hebrew")),
    (0x0600, 0x06FF, noop("Arabic")), (0x0750, 0x077F, noop("Arabic")), (0x08A0, 0x08FF, noop("Arabic")),
    (0x0900, 0x097F, noop("Devanagari")), (0x0980, 0x09FF, noop("Bengali")), (0x0A00, 0x0A7F, noop("Gurmukhi")),
    (0x0A80, 0x0AFF, noop("Gujarati")), (0x0B00, 0x0B7F, noop("Odia")), (0x0B80, 0x0BFF, noop("Tamil")),
    (0x0C00, 0x0C7F, noop("Telugu")), (0x0C80, 0x0CFF, noop("Kannada")), (0x0D00, 0x0D7F, noop("Malayalam")),
    (0x0D80, 0x0DFF, noop("Sinhala")), (0x0E00, 0x0E7F, noop("Thai")), (0x0E80, 0x0EFF, noop("Lao")),
    (0x0F00, 0x0FFF, noop("Tibetan")), (0x1000, 0x109F, noop("Myanmar")), (0x10A0, 0x10FF, noop("Georgian")),
    (0x1100, 0x11FF, noop("Korean")), (0x1200, 0x137F, noop("Ethiopic")), (0x1780, 0x17FF, noop("Khmer")),
    (0x1C50, 0x1C7F, noop("Ol Chiki")), (0x1CD0, 0x1CFF, noop("Devanagari")), (0x1E00, 0x1EFF, noop("Latin")),
    (0x3040, 0x30FF, noop("Japanese")), (0x3400, 0x4DBF, noop("Han")), (0x4E00, 0x9FFF, noop("Han")),
    (0xA8E0, 0xA8FF, noop("Devanagari")), (0xAAE0, 0xAAFF, noop("Meetei Mayek")),
    (0xABC0, 0xABFF, noop("Meetei Mayek")), (0xAC00, 0xD7AF, noop("Korean")), (0xFB50, 0xFDFF, noop("Arabic")),
    (0xFE70, 0xFEFF, noop("Arabic")), (0x20000, 0x3FFFF, noop("Han")),
)
"""(first, last, script) by the blocks of the Unicode Standard, https://www.unicode.org/Public/UNIDATA/Blocks.txt.
The scripts of the languages in the Eighth Schedule of India's constitution are all there. Files and comparisons have
the script's English name; people see it translated."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures of a dataset.

    Attributes:
        rows: records.
        messages: in all rows together; rejected answers and plain text are none.
        characters: Unicode code points in all messages, rejected answers and plain text.
        longest_characters: of the row with the most.
        longest_line: where that row begins in the file; 0 when there are no rows.
        duplicate_prompts: rows whose prompt is in an earlier row, character for character; plain text has none.
        duplicate_rows: rows that repeat an earlier row as a whole.
        scripts: share of each script, largest first; see `script_shares`.
    """

    rows: int
    messages: int
    characters: int
    longest_characters: int
    longest_line: int
    duplicate_prompts: int
    duplicate_rows: int
    scripts: dict[str, float]


def statistics(records: Sequence[Record]) -> Statistics:
    """Count everything that the Data tab shows of `records`."""
    lengths = [sum(map(len, record.contents)) for record in records]
    longest = max(range(len(records)), key=lengths.__getitem__, default=None)
    # The prompt tells whether a system message is first; after it, the roles take turns.
    whole = {(record.prompt, record.contents, record.desirable) for record in records}
    asking = [record.prompt for record in records if record.text is None]
    return Statistics(
        rows=len(records),
        messages=sum(len(record.messages) for record in records),
        characters=sum(lengths),
        longest_characters=0 if longest is None else lengths[longest],
        longest_line=0 if longest is None else records[longest].line,
        duplicate_prompts=len(asking) - len(set(asking)),
        duplicate_rows=len(records) - len(whole),
        scripts=script_shares(records),
    )


def script_shares(records: Sequence[Record]) -> dict[str, float]:
    """Share of each script among the letters, vowel signs and digits of a script, largest first; they add up to 1.

    Blanks, punctuation, symbols, emoji, and the digits 0 to 9 belong to no script, the danda (।) neither: all
    Indian scripts share it. Letters of scripts not in `BLOCKS` are "Other". Where there are more than about
    5 million characters, every k-th row is counted, so that the answer takes well under a second.
    """
    characters = sum(len(content) for record in records for content in record.contents)
    counts: Counter[str] = Counter()
    for record in records[::1 + characters // SAMPLE_CHARACTERS]:
        for content in record.contents:
            counts.update(content)
    scripts: Counter[str] = Counter()
    for character, count in counts.items():
        script = script_of(character)
        if script is not None:
            scripts[script] += count
    total = scripts.total()
    return {script: count / total for script, count in scripts.most_common()}


@lru_cache(maxsize=1 << 14)
def script_of(character: str) -> str | None:
    """The script of one character, "Other" for a letter of an unlisted script, None for what belongs to none."""
    category = unicodedata.category(character)
    if category[0] not in "LM" and (category != "Nd" or character.isascii()):
        return None
    code = ord(character)
    for first, last, script in BLOCKS:
        if first <= code <= last:
            return script
    # A mark or a digit outside every listed block (a combining accent) says nothing about the script.
    return OTHER if category[0] == "L" else None
