"""What a dataset looks like: how much there is, how long it is, and in which scripts."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from slmstudio.core.data.record import Record, message_text
from slmstudio.core.i18n import noop, tr
from slmstudio.core.paths import resources

SAMPLE_CHARACTERS = 5_000_000
OTHER = noop("Other")

_SCRIPTS: dict[str, list[str]] = json.loads((resources() / "importing" / "scripts.json").read_text(encoding="utf-8"))
BLOCKS = sorted((int(first, 16), int(last, 16), script) for script, blocks in _SCRIPTS.items()
                for first, last in (block.split("-") for block in blocks))
"""(first, last, script) by the blocks of the Unicode Standard, https://www.unicode.org/Public/UNIDATA/Blocks.txt.
The scripts of the languages in the Eighth Schedule of India's constitution are all there. Files and comparisons have
the script's English name; people see it translated."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Figures of a dataset.

    Attributes:
        rows: records.
        characters: Unicode code points in all messages, rejected answers and plain text.
        longest_characters: of the row with the most.
        longest_line: where that row begins in the file; 0 when there are no rows.
        scripts: share of each script, largest first; see `script_shares`.
    """

    rows: int
    characters: int
    longest_characters: int
    longest_line: int
    scripts: dict[str, float]


def statistics(records: Sequence[Record]) -> Statistics:
    """Count everything that the Data tab shows of `records`."""
    lengths = [sum(map(len, record.contents)) for record in records]
    longest = max(range(len(records)), key=lengths.__getitem__, default=None)
    return Statistics(
        rows=len(records),
        characters=sum(lengths),
        longest_characters=0 if longest is None else lengths[longest],
        longest_line=0 if longest is None else records[longest].line,
        scripts=script_shares(records),
    )


def answer_counts(records: Sequence[Record]) -> str:
    """The most frequent last answers, each with its rows, in a line; "" if no row has one."""
    counts = Counter(" ".join(message_text(record.messages[-1]).split()) for record in records if record.messages)
    return " · ".join(tr("“{answer}”: {count:,} of {rows:,} rows", count=count, rows=len(records),
                         answer=answer[:40] + "…" * (len(answer) > 40)) for answer, count in counts.most_common(3))


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
