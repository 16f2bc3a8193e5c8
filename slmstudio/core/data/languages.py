"""The language of a row: what a column says, or else a guess by the script of its letters.

The guess knows scripts, not languages: Devanagari counts as Hindi, though Marathi and Nepali are written in it too. So
items say whether their language was guessed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import lru_cache
from typing import Any

from slmstudio.core.data.statistics import OTHER, script_of
from slmstudio.core.paths import resources

SAMPLE = 200
"""Characters that are looked at of each text."""
LATIN = "und-Latn"
"""BCP 47 for "Latin letters, language not known"."""

_WORD = re.compile(r"[a-z']+")
_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    """Names that tables use, and ISO 639-3 codes of languages that have a shorter one; of each script the language with
    most writers, and letters that others with the same script have; and short words of English."""
    found: dict[str, Any] = json.loads((resources() / "importing" / "languages.json").read_text(encoding="utf-8"))
    return found


def from_column(value: str) -> str | None:
    """BCP 47 of what a column says: "Hindi", "hin", "hi_IN" → "hi", "hi", "hi-IN". Other words stay as they are."""
    text = value.strip()
    names = _table()["names"]
    known: str | None = names.get(text.casefold())
    if known or not text:
        return known
    if not _TAG.fullmatch(text):
        return text
    language, *rest = re.split("[-_]", text)
    language = names.get(language.casefold(), language.casefold())
    return "-".join([language, *(_subtag(part) for part in rest)])


def _subtag(part: str) -> str:
    """As RFC 5646 writes them: "Deva", "IN"."""
    return part.title() if len(part) == 4 and part.isalpha() else part.upper() if len(part) == 2 else part.lower()


def guess(*texts: str) -> str | None:
    """The language that most letters of the texts suggest; None if there are no letters.

    Only the first `SAMPLE` characters of each text are looked at. Latin letters count as English if some of
    English's short words are among them; otherwise the language isn't known: `LATIN`.
    """
    sample = "\n".join(text[:SAMPLE] for text in texts)
    if sample.isascii():
        return _latin(sample) if any(map(str.isalpha, sample)) else None
    scripts = Counter(script for script in map(script_of, sample) if script not in (None, OTHER))
    if not scripts:
        return None
    if "Japanese" in scripts:  # which is written in kana and Chinese characters
        scripts["Japanese"] += scripts.pop("Han", 0)
    found = max(scripts, key=scripts.__getitem__)
    if found == "Latin":
        return _latin(sample)
    others: dict[str, str] = _table()["letters"].get(found, {})
    return next((language for language, own in others.items() if not set(sample).isdisjoint(own)),
                str(_table()["of_script"][found]))


def _latin(sample: str) -> str:
    words, english = _WORD.findall(sample.casefold()), _table()["english_words"]
    return "en" if sum(word in english for word in words) * 10 >= len(words) > 0 else LATIN
