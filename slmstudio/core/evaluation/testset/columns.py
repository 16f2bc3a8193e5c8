"""Which columns of a test set hold what training has no use for: references, choices, patterns, tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.choices import LISTED, RIGHT, SERIES, is_blank
from slmstudio.core.data.mapping.choices import columns_of as choices_in
from slmstudio.core.data.mapping.given_map import check_columns

LISTS = (*LISTED, "mc1_targets")
EXACT = ("exact", "expected")
REFERENCES = (*EXACT, "references", "reference", "answers", "ideal", "targets", "target", "reference_answer",
              "correct_answers", "expected_answer", "gold", "correct_answer")
"""Columns that hold one good answer or a list of them, before those that training knows."""
PATTERNS = ("pattern", "regex", "regexp")
CATEGORIES = ("category", "subject", "subject_name", "topic", "tag", "tags")
LANGUAGES = ("language", "lang", "locale")
KIND = ("kind", "type", "match")
TARGETS = {"references": "references", "choices": "lists", "exact": "exact", "pattern": "patterns",
           "category": "categories", "language": "languages", "kind": "kinds"}
"""What a user may say about a column beside the targets of training, and the attribute of `Columns`."""


@dataclass(frozen=True)
class Columns:
    """Columns of a row by what they hold, each by its name in the file; of several with one meaning the first that is
    filled counts.

    Attributes:
        lists: those that hold all choices; `series`: those that hold one each, in turn.
        right: those that may say which choice is right.
        exact: those of `references` that an answer must equal.
        answers: those that training takes for the answer.
    """

    lists: tuple[str, ...] = ()
    series: tuple[tuple[str, ...], ...] = ()
    right: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()

    @cached_property
    def tags(self) -> frozenset[str]:
        """Those that are beside question and answer."""
        return frozenset((*self.categories, *self.languages, *self.kinds))

    @cached_property
    def judging(self) -> frozenset[str]:
        """Those that say what a good answer is, where no column of training does."""
        return frozenset((*self.references, *self.patterns))

    @cached_property
    def choosing(self) -> frozenset[str]:
        """Those of choices, and of the right one."""
        return frozenset((*self.lists, *(name for columns in self.series for name in columns), *self.right))


def columns_of(keys: Sequence[str]) -> Columns:
    """What columns hold by their names, in any language that `column_names` knows."""
    known: dict[str, str] = {}
    for name in keys:
        known.setdefault(names.column(name), name)
    known |= {name: name for name in keys if names.column(name) == name}

    def found(words: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(known[word] for word in words if word in known))

    series = tuple(columns for each in SERIES if (columns := choices_in(each, known)))
    return Columns(found(LISTS), series, found(RIGHT), found(REFERENCES), found(EXACT), found(PATTERNS),
                   found(CATEGORIES), found(LANGUAGES), found(KIND), found(names.ANSWERED))


def given_columns(given: Mapping[str, str], keys: Sequence[str]) -> tuple[Columns, dict[str, str]]:
    """What a user says about the columns, and what of that is training's to read.

    Args:
        given: the column of each target; "choices" may name several, with commas between.

    Raises:
        UserError: there is no such column.
    """
    rest = {target.strip().casefold(): column for target, column in given.items()}
    told: dict[str, Any] = {TARGETS[target]: (rest.pop(target),) for target in list(rest) if target in TARGETS}
    if "lists" in told and told["lists"][0] not in keys and "," in told["lists"][0]:
        told["series"] = (tuple(name.strip() for name in told.pop("lists")[0].split(",")),)
    if "exact" in told:
        told["references"] = told["exact"]
    if "lists" in told or "series" in told:
        told["right"] = tuple(rest.pop(target) for target in ("answer", "output") if target in rest)
    elif "references" not in told:
        told["answers"] = tuple(rest[target] for target in ("answer", "output") if target in rest)
    found = Columns(**told)
    check_columns((*found.choosing, *found.judging, *found.tags), keys)
    by_name = columns_of(keys)
    if not rest and told.keys() <= {"categories", "languages", "kinds"}:
        return replace(by_name, **told), rest
    tags = {name: getattr(by_name, name) for name in ("categories", "languages", "kinds")}
    return Columns(**{**tags, **told}), rest


def filled(row: Mapping[str, Any], columns: Iterable[str]) -> str:
    """The first of the columns in which a row has something; "" if none has."""
    return next((name for name in columns if row.get(name) != [] and not is_blank(row.get(name))), "")
