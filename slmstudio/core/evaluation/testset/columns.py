"""Which columns of a test set hold what training has no use for: references, choices, patterns, tags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.choices import ANSWERS, is_blank, key_of, right_ones, series_of
from slmstudio.core.data.mapping.given_map import check_columns

_WORDS = {"choices": names.LISTED, "right": names.RIGHT, "exact": names.EXACT, "pattern": names.PATTERNS,
          "references": names.REFERENCES, "category": names.CATEGORIES, "language": names.LOCALES,
          "kind": names.MATCHES, "answer": names.ANSWERED}
"""The names of columns by what they hold: all choices, the right one, what an answer must equal, good answers before
those that training knows."""
TAGS = ("category", "language", "kind")
TARGETS = ("references", "choices", "exact", "pattern", *TAGS)
"""What a user may say about a column beside the targets of training."""


@dataclass(frozen=True)
class Columns:
    """Columns of a row by their names in the file.

    Attributes:
        named: those of each of `_WORDS`; of several with one meaning the first that is filled counts.
        choices: the ways to find the choices, each one column for all of them, or one for each.
    """

    named: Mapping[str, tuple[str, ...]]
    choices: tuple[tuple[str, ...], ...] = ()

    def __getitem__(self, target: str) -> tuple[str, ...]:
        return self.named.get(target, ())

    @property
    def judging(self) -> frozenset[str]:
        """Those that say what a good answer is, where no column of training does."""
        return frozenset((*self["references"], *self["pattern"]))

    @property
    def choosing(self) -> frozenset[str]:
        """Those of choices, and of the right one."""
        return frozenset((*chain(*self.choices), *self["right"]))

    @property
    def tags(self) -> frozenset[str]:
        """Those that are beside question and answer."""
        return frozenset(column for target in TAGS for column in self[target])

    def choices_in(self, row: Mapping[str, object]) -> tuple[str, ...]:
        """The columns with the choices of a row: one for all, or one for each, or none."""
        return next((each for each in self.choices if filled(row, each)), ())

    def judged_without(self, row: Mapping[str, Any]) -> frozenset[str] | None:
        """The columns that training has no part in, where the answer of a row is in one of them; otherwise None."""
        if self.choices_in(row):
            return self.choosing | self.judging
        answer = filled(row, self["answer"])
        if filled(row, self["references"]) or (not answer and filled(row, self["pattern"])):
            return self.judging
        return self.judging | {answer} if answer and _is_several(row[answer]) else None

    def judged_by(self, row: Mapping[str, object]) -> dict[str, str]:
        """The columns by which an answer to a row is judged, as a user would write them."""
        if choices := self.choices_in(row):
            found = {"choices": ",".join(choices), "answer": filled(row, self["right"])}
        else:
            name = filled(row, (*self["references"], *self["answer"]))
            found = {"exact" if name in self["exact"] else "references": name, "pattern": filled(row, self["pattern"])}
        return {target: column for target, column in found.items() if column}


def _is_several(value: Any) -> bool:
    """Whether an answer is a list of texts, or SQuAD's {"text": […]}, and no conversation."""
    if isinstance(value, dict):
        return isinstance(value.get("text"), list)
    return isinstance(value, list) and all(
        isinstance(each, (str, int, float)) or (isinstance(each, dict) and each.keys() <= {"text", "answer_start"})
        for each in value)


def columns_of(keys: Sequence[str], rows: Sequence[Mapping[str, Any]] = ()) -> Columns:
    """What columns hold by their names, in any language that `column_names` knows.

    Args:
        rows: some with these columns, which tell whether "answers" are choices.
    """
    known: dict[str, str] = {}
    for name in keys:
        known.setdefault(names.column(name), name)
    known |= {name: name for name in keys if names.column(name) == name}
    named = {target: tuple(dict.fromkeys(known[word] for word in words if word in known))
             for target, words in _WORDS.items()}
    # Beside a column that is called "answer", one called "answer_count" says nothing of it.
    named["right"] = named["right"] or tuple(right_ones(keys, known))
    listed = named.pop("choices")
    if rows and (answers := known.get(ANSWERS)) and key_of((answers,), named["right"], rows):
        listed += (answers,)
    return Columns(named, (*((name,) for name in listed), *series_of(known, with_gaps=True)))


def given_columns(given: Mapping[str, str], keys: Sequence[str]) -> tuple[Columns, dict[str, str]]:
    """What a user says about the columns, and what of that is training's to read.

    Args:
        given: the column of each target; "choices" may name several, with commas between.

    Raises:
        UserError: there is no such column.
    """
    rest = {target.strip().casefold(): column for target, column in given.items()}
    chosen: dict[str, tuple[str, ...]] = {target: (rest.pop(target),) for target in list(rest) if target in TARGETS}
    answers = [target for target in ("answer", "output") if target in rest]
    choices: tuple[tuple[str, ...], ...] = ()
    if "choices" in chosen:
        name, = chosen.pop("choices")
        choices = ((name,) if name in keys else tuple(map(str.strip, name.split(","))),)
        chosen["right"] = tuple(rest.pop(target) for target in answers)
    elif not chosen.keys() & {"exact", "references"}:
        chosen["answer"] = tuple(rest[target] for target in answers)
    if "exact" in chosen:
        chosen["references"] = chosen["exact"]
    found, by_name = Columns(chosen, choices), columns_of(keys)
    check_columns((*found.choosing, *found.judging, *found.tags), keys)
    if not rest and not choices and chosen.keys() <= {*TAGS, "answer"}:
        return Columns({**by_name.named, **{tag: chosen[tag] for tag in TAGS if tag in chosen}}, by_name.choices), rest
    return Columns({**{tag: by_name[tag] for tag in TAGS}, **chosen}, choices), rest


def filled(row: Mapping[str, object], columns: Iterable[str]) -> str:
    """The first of the columns in which a row has something; "" if none has."""
    return next((name for name in columns if row.get(name) != [] and not is_blank(row.get(name))), "")
