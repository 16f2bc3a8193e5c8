"""What one column holds, computed from some rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.speakers import are_texts

_DIGITS = re.compile(r"\d+")
_NUMBER = re.compile(r"\s*[-+]?[\d.]+\s*")
_NUMBERS = re.compile(r"\s*(?=\S)[-+]?[\d.,:/% -]+\s*")
"""A number, a time, or a date."""
_CODE = re.compile(r"\s*[!-~]*[0-9_/\\@][!-~]*\s*")
"""A link, an e-mail address, a path, or a word with digits in it."""
_PERSON = re.compile(r"(?:[A-Z][\w.'-]*\s*){1,4}")
"""Words that all begin with a capital letter, as the parts of a person's name do."""
_OBJECT = re.compile(r"\s*\[?\s*\{.*\}\s*\]?\s*$", re.DOTALL)
_ADDRESS = re.compile(r"\s*\S+[/\\@]\S+\s*")
_END = re.compile(r"\s\S+[.?!।॥۔؟]\s*$")
_ASKS, _ENDS = re.compile(r"[?？؟](?:\s|$)"), re.compile(r"[.?!।॥۔。？！؟](?:\s|$)")
_WITHOUT_SPACES = re.compile("[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Letters of Thai, Lao, Tibetan, Burmese, Khmer, Japanese and Chinese."""
_MOST_CLASSES = 100
_LONGEST_CLASS = 60
_LONGEST_STATE = 20
_LEAST_WORDS, _LEAST_LETTERS, _LEAST_SIGNS = 4, 20, 8
"""Of a sentence, on average: names and places have fewer words, and languages that join words have longer ones, or
signs for whole syllables."""
_WORDS_OF_LINE = 2
"""Keywords have fewer on average."""
_OWN = 0.8
"""Share of different values from which on each row has its own."""
_FEW = 3
"""Values that are too few to tell whether they come again."""


@dataclass(frozen=True)
class ColumnProfile:
    """A column of some rows.

    Attributes:
        name: what the file calls it.
        values: what it holds, except nothing.
        rows: how many there are, with something in it or not.
    """

    name: str
    values: list[Any]
    rows: int

    @cached_property
    def known(self) -> str:
        """Its name as `column_names.column` has it."""
        return names.column(self.name)

    @property
    def words(self) -> frozenset[str]:
        """Those of its name."""
        return names.all_words(self.name)

    def are_mostly(self, fits: Callable[[str], Any]) -> bool:
        """Whether more than half of the values are such texts."""
        return 2 * sum(bool(fits(str(each))) for each in self.values) > len(self.values)

    @cached_property
    def kind(self) -> str:
        """"empty", "pictures", "numbers", "lists", "objects", "dates", "classes", "ids" or "words"."""
        kinds: tuple[tuple[str, Callable[[], bool]], ...] = (
            ("empty", lambda: not self.values), ("pictures", lambda: self.known in names.PICTURES),
            ("numbers", lambda: self.is_number), ("lists", lambda: all(isinstance(each, list) for each in self.values)),
            ("objects", lambda: not self.is_text or self.are_mostly(_OBJECT.match)),
            ("dates", lambda: self.is_number_or_date), ("classes", lambda: self.is_class or self.is_same),
            ("ids", lambda: self.are_codes))
        return next((kind for kind, is_so in kinds if is_so()), "words")

    @property
    def has_words(self) -> bool:
        """Whether a model could learn from it: words or sentences, and not about its row, as a name or a date."""
        is_beside = self.known in names.BESIDE and self.known not in names.BESIDE_WITH_WORDS
        return self.kind == "words" and (names.is_head(self.name) or not (
            self.is_about_row or is_beside))

    @property
    def is_told(self) -> bool:
        """Whether it has sentences that aren't about its row."""
        return self.is_sentence and not self.is_about_row

    @cached_property
    def is_about_row(self) -> bool:
        """Whether its name says that it is about its row; whole sentences say more than the name does, as "Corrected by
        senior officer" may hold them."""
        return names.is_about(self.name) and not (self.is_sentence and self.are_mostly(_END.search))

    @property
    def are_codes(self) -> bool:
        """Whether most values are numbers, or have digits within a word, as the number of a route has."""
        return self.are_mostly(_CODE.fullmatch)

    @property
    def may_be_told_apart(self) -> bool:
        """Whether values are codes with letters, each its own, that a text may explain, as those of diseases are, and
        not links or what is called a number of its row."""
        return self.kind == "ids" and self.weight > _OWN and self.known not in names.BESIDE and not (
            self.is_number_or_date or self.is_address or names.is_about(self.name))

    @property
    def weight(self) -> float:
        """How much it may tell, 0 to 1: it is there in each row, and differs."""
        return self.distinct / max(self.rows, 1)

    @cached_property
    def is_address(self) -> bool:
        """Whether most values are paths, links or e-mail addresses."""
        return self.are_mostly(_ADDRESS.fullmatch)

    @cached_property
    def is_text(self) -> bool:
        return all(isinstance(value, str) for value in self.values)

    @cached_property
    def are_lines(self) -> bool:
        """Whether most values are the lines of a text, or its paragraphs, in a list: a poem, the steps of a recipe."""
        lists = [each for each in self.values if isinstance(each, list) and are_texts(each)]
        lines = [line for each in lists for line in each]
        return 2 * len(lists) > len(self.values) and (_mean([len(line.split()) for line in lines]) > _WORDS_OF_LINE or (
            any(map(_WITHOUT_SPACES.search, lines)) and _mean(list(map(len, lines))) > _WORDS_OF_LINE))

    @cached_property
    def is_number(self) -> bool:
        """Whether all values are numbers, or true and false."""
        return bool(self.values) and all(
            isinstance(value, (int, float)) or (isinstance(value, str) and _NUMBER.fullmatch(value) is not None)
            for value in self.values)

    @cached_property
    def ascends(self) -> bool:
        """Whether values are numbers that never fall from row to row, as those of pages and chapters."""
        found = [list(map(int, _DIGITS.findall(str(each)))) for each in self.values] if self.is_number else []
        return len(found) > _FEW and all(one <= other for one, other in pairwise(found))

    @cached_property
    def is_number_or_date(self) -> bool:
        return bool(self.values) and self.is_text and all(map(_NUMBERS.fullmatch, self.values))

    @cached_property
    def is_class(self) -> bool:
        """Whether values are few short ones that come again and again."""
        return len(self.values) > _FEW and 1 < self.distinct <= min(_MOST_CLASSES, len(self.values) // 2) and all(
            len(str(value)) <= _LONGEST_CLASS for value in self.values)

    @cached_property
    def distinct(self) -> int:
        """How many different values there are."""
        return len(set(map(str, self.values)))

    @cached_property
    def is_same(self) -> bool:
        """Whether all rows have the same: that is neither asked nor answered."""
        return len(self.values) > _FEW and self.distinct == 1

    @cached_property
    def is_word(self) -> bool:
        """Whether values are single words. Scripts without spaces don't tell."""
        return len(self.values) > _FEW and all(
            isinstance(value, str) and len(value.split()) < 2 and not _WITHOUT_SPACES.search(value)
            for value in self.values)

    @property
    def may_name(self) -> bool:
        """Whether values may name something: they are the same few again and again, or single words."""
        return self.is_class or self.is_same or self.is_word or (
            len(self.values) > _FEW and all(_PERSON.fullmatch(str(value)) for value in self.values))

    @property
    def is_state(self) -> bool:
        """Whether values are few short words, as "Fixed" and "Won't do" are: the state of a ticket."""
        return self.is_class and max(len(str(each)) for each in self.values) <= _LONGEST_STATE

    @cached_property
    def is_sentence(self) -> bool:
        """Whether most rows have a sentence, each its own: neither names, places, dates and codes, nor remarks on some
        of them."""
        if not self.is_text or 2 * len(self.values) <= self.rows or self.may_name or self.is_number_or_date:
            return False
        least = _LEAST_SIGNS if any(map(_WITHOUT_SPACES.search, self.values)) else _LEAST_LETTERS
        return self.mean_words >= _LEAST_WORDS or self.mean_length >= least or self.are_mostly(_END.search)

    @cached_property
    def mean_words(self) -> float:
        return _mean([len(str(each).split()) for each in self.values])

    @cached_property
    def mean_length(self) -> float:
        """In characters."""
        return _mean([len(str(each).strip()) for each in self.values])

    @cached_property
    def asks(self) -> float:
        """Share of values in which half of the sentences ask, or more."""
        texts = map(str, self.values)
        return _mean([2 * len(_ASKS.findall(text)) >= max(1, len(_ENDS.findall(text))) for text in texts])


def _mean(figures: Sequence[float]) -> float:
    return sum(figures) / len(figures) if figures else 0.0
