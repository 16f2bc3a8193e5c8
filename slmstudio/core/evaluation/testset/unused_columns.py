"""Columns of a test set that nothing was made of, though they say something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from slmstudio.core.data.column_names import column
from slmstudio.core.data.strict_json import printable
from slmstudio.core.evaluation.testset.cells import value_in
from slmstudio.core.evaluation.testset.known_layouts import COPA, DOUBTFUL
from slmstudio.core.evaluation.testset.passages import PASSAGES
from slmstudio.core.evaluation.testset.row_kinds import (
    ANSWERS,
    CATEGORIES,
    EXACT,
    KIND,
    LANGUAGES,
    QUESTIONS,
    REFERENCES,
    Draft,
)

LONG = 40
"""Characters of a text that is more than a tag."""
NAMED = 8
MOST = 1000
"""Columns that are counted: files with names of their own in each row would fill the memory."""
_MARKS = ("label", "correct", "is_correct")
_ROLES = ("role", "from")
_ASKED = frozenset({*QUESTIONS, *PASSAGES})
_ANSWERED = frozenset({*EXACT, *REFERENCES, *ANSWERS})
_READ = frozenset({*CATEGORIES, *LANGUAGES, *KIND, "rejected", "id"})
"""Columns of which something is made that does not show in what is asked and answered, or that need not be."""


class UnusedColumns:
    """Counts in how many rows each column holds a text that stands nowhere in what was read of the row: a long one, or
    any in a column that asks or answers; or any where the answer is but one sign, which may name a choice."""

    def __init__(self) -> None:
        self._filled: Counter[str] = Counter()
        self._unread: Counter[str] = Counter()
        self._short: Counter[str] = Counter()

    def add(self, row: Mapping[str, Any], draft: Draft) -> None:
        """Count a row that was read."""
        read = ""
        is_name = draft.choice is None and bool(draft.references) and all(
            len(each.strip()) == 1 for each in draft.references)
        for name, value in row.items():
            known = column(name)
            texts = [] if known in _READ else [each.strip() for each in _texts(value)]
            text = max(texts, key=len, default="")
            is_mark = (known in _MARKS and isinstance(value, (int, float)) and draft.choice is None
                       and "completion" not in row)
            if not (text or is_mark) or (name not in self._filled and len(self._filled) >= MOST):
                continue
            self._filled[name] += 1
            counts = is_mark or _is_long(text) or known in _ASKED or DOUBTFUL.fullmatch(known) is not None or (
                known in _ANSWERED and draft.choice is None)
            if not counts and not is_name:
                continue
            read = read or _read(draft)
            is_read = text in COPA or text in read or (
                known in REFERENCES and any(each in text for each in draft.references)) or (
                known == "messages" and any(each and each in read for each in texts))
            self._unread[name] += is_mark or (counts and not is_read)
            self._short[name] += is_name and not is_read

    def notes(self) -> tuple[str, ...]:
        """A sentence that names the columns of which most texts count and are unread; nothing where there are none."""
        short = [name for name, count in self._short.items() if 2 * count > self._filled[name]]
        unread = {name for name, count in self._unread.items() if 2 * count > self._filled[name]}
        unread.update(short if len(short) > 1 else ())
        found = [f'"{printable(name)}"' for name in self._filled if name in unread]
        if not found:
            return ()
        more = f" and {len(found) - NAMED:,} more" if len(found) > NAMED else ""
        what = "column" if len(found) == 1 else "columns"
        return (f"Nothing was made of the {what} {', '.join(found[:NAMED])}{more}.",)


def _is_long(text: str) -> bool:
    """Whether it is more than a tag, and no link or key."""
    return len(text) > LONG and not text.startswith(("http://", "https://")) and (
        not text.isascii() or any(map(str.isspace, text)))


def _read(draft: Draft) -> str:
    choices = draft.choice.choices if draft.choice else ()
    return "\n".join((*(each["content"] for each in draft.messages), *draft.references, *choices, draft.pattern or ""))


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """All texts of a value, and of a list in a cell of a table."""
    if isinstance(value, str):
        value = value_in(value) if depth == 0 else value
        if isinstance(value, str):
            yield value
            return
    if depth < 4:
        inner = [each for key, each in value.items() if key not in _ROLES] if isinstance(value, dict) else value
        for each in inner if isinstance(inner, list) else ():
            yield from _texts(each, depth + 1)
