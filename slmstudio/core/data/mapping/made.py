"""Columns that a user makes of a file's: several joined, a part of what is in one, a cell with a question and its
answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmstudio.core.data.mapping.values import as_text, passage, search
from slmstudio.core.data.sources.labels import Line, marked
from slmstudio.core.data.sources.questions import rows

AND = " + "
"""Between the names of columns that are joined: "Title + Body"."""
_BEFORE_MARK = re.compile(r"\s+(?=[^\s:：]{1,20}\s?[:：])")
"""Where a mark such as "Answer:" may begin within a line."""


@dataclass(frozen=True)
class MadeColumn:
    """A column that the file doesn't have.

    Attributes:
        columns: those that it is made of.
        parts: what is joined: the names of columns, or JMESPath expressions for what is inside of them.
        join: the text between them.
    """

    columns: tuple[str, ...]
    parts: tuple[Any, ...]
    join: str

    def of(self, row: Mapping[str, Any]) -> Any:
        """What it holds in a row; None if that is nothing."""
        found = [row.get(part) if isinstance(part, str) else search(part, row) for part in self.parts]
        if len(found) == 1:
            return found[0]
        texts = [str(text) for each in found if (text := as_text(passage(each))) not in (None, "", [], {})]
        return self.join.join(texts) if texts else None


def made_of(name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], join: str) -> MadeColumn | None:
    """What a name stands for that no column has; None if one of its parts is nowhere in the rows.

    https://jmespath.org/specification.html
    """
    parts: list[Any] = []
    used: list[str] = []
    for part in map(str.strip, name.split(AND)):
        if part in columns:
            parts.append(part)
            used.append(part)
        elif (path := _path(part)) is not None and any(search(path, row) is not None for row in rows):
            parts.append(path)
            used += _names(path.parsed)
        else:
            return None
    return MadeColumn(tuple(used), tuple(parts), join)


def _path(text: str) -> Any:
    import jmespath

    try:
        return jmespath.compile(text)
    except jmespath.exceptions.JMESPathError:
        return None


def _names(node: Mapping[str, Any]) -> list[str]:
    """The columns in which a path begins: one, or those of each member of the object that it makes."""
    parts = node["children"] if node["type"] == "multi_select_dict" else node["children"][:1]
    return [name for each in parts for name in _names(each)] if parts else [str(node.get("value", ""))]


def questions_in(cell: Any, between: str | None) -> Iterator[tuple[str, str]]:
    """The questions and answers in a cell.

    Args:
        between: the text that ends a question; None finds marks in any language, such as "Q:" and "A:".

    >>> list(questions_in("Question: Who pays? Answer: The tenant.", None))
    [('Who pays?', 'The tenant.')]
    """
    if not isinstance(cell, str):
        return
    if between is not None:
        question, mark, answer = cell.partition(between)
        if mark and question.strip() and answer.strip():
            yield question.strip(), answer.strip()
        return
    text = _BEFORE_MARK.sub(lambda gap: "\n" if marked(cell[gap.end():]) else gap[0], cell)
    for raw in rows((Line(line, at) for at, line in enumerate(text.splitlines(), 1)), "marks"):
        if raw.value["answer"]:
            yield raw.value["question"], raw.value["answer"]
