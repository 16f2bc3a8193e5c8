"""What to know of a dataset as a whole that nothing in it says."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from slmstudio.core.data import column_names, layouts
from slmstudio.core.data.column_names import KINDS
from slmstudio.core.data.dataset import Dataset
from slmstudio.core.data.mapping.mapper import SAMPLE
from slmstudio.core.i18n import tr

KRUTI_DEV = frozenset({"gS", "gSa", "dk", "dh", "ds", "esa", "ls", "dks", "vkSj", "ij", "ugha", "fd;k", "Hkh", "fy,"})
"""Frequent words of Hindi as Kruti Dev writes them: है, हैं, का, की, के, में, से, को, और, पर, नहीं, किया …"""


def notes_on(found: Dataset) -> tuple[str, ...]:
    """Sentences, each on something that isn't plain."""
    return tuple(filter(None, (note(found) for note in (_ratings, _numbered_classes, _legacy_font))))


def _ratings(found: Dataset) -> str:
    names = [f'"{name}"' for name in found.unused if column_names.rates(name)]
    if not names or layouts.kind(found.layout) != "chat":
        return ""
    return tr("The ratings in {columns} aren't used: all answers are learned equally. Remove the rows with low "
              "ratings.", columns=", ".join(names))


def _numbered_classes(found: Dataset) -> str:
    """Of texts with classes whose answers are bare numbers."""
    answer = found.mapping.get("output", "")
    said = [record.messages[-1]["content"] for record in islice(found.records, SAMPLE) if len(record.messages) == 2]
    is_kind = not set(KINDS).isdisjoint(column_names.column(answer).split("_"))
    if not is_kind or not said or not all(map(str.isdecimal, map(str, said))):
        return ""
    return tr('The number in "{column}" is learned as the answer to each text. Names tell a model more than '
              'numbers. If you know what each number stands for, write that instead.', column=answer)


def _legacy_font(found: Dataset) -> str:
    """Of Hindi that was typed for a font from before Unicode."""
    words = [word for record in islice(found.records, SAMPLE)
             for text in (record.text or "", *(str(message["content"]) for message in record.messages))
             for word in text.split()]
    of_hindi = Counter(word for word in words if word in KRUTI_DEV)
    if len(of_hindi) < 4 or 20 * of_hindi.total() < len(words):
        return ""
    return tr("This looks like Hindi typed for the font Kruti Dev: its letters are Latin ones that only this font "
              "shows as Devanagari, and a model would learn those. Convert it to Unicode first.")
