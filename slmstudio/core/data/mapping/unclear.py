"""Tables in which two columns look like a question and its answer, but are something else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.speakers import content_of, role_of

PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("text1", "text2"),
         ("question1", "question2"), ("question_1", "question_2"), ("text_a", "text_b"), ("sentence_a", "sentence_b"))
"""Two texts that are compared, as in SNLI, MRPC and QQP: neither answers the other."""
KINDS = ("label", "labels", "gold_label", "label_text", "class", "is_duplicate", "relation", "entailment", "similarity",
         "score", "relatedness_score", "entailment_judgment")
"""Columns that say how they compare."""
_SPEAKERS = ("role", "speaker", "sender", "from")
_MARKED = re.compile(r"(?P<base>.+?)_?(?P<mark>[ab012])$")
_NUMBER = re.compile(r"\s*[-+]?[\d.]+\s*")
_END = re.compile(r"\s\S+[.?!।॥۔؟]\s*$")
_WITHOUT_SPACES = re.compile("[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Letters of Thai, Lao, Tibetan, Burmese, Khmer, Japanese and Chinese."""
_SAID_OF_ROW = frozenset({"metadata", "meta", "extra", "info"})
ANSWERS = frozenset({"answer", "response", "completion", "reply", "output", "ref", "summary", "conversation"})
_MESSAGE = (*names.TEXT, "message", "msg", "utterance", "value")
_MOST_CLASSES = 50
_LONGEST_CLASS = 60
_LONGEST_STATE = 20
_LEAST_WORDS, _LEAST_LETTERS = 4, 20
"""Of a sentence, on average: names and places have fewer words, and languages that join words have longer ones."""
_SHORT = 300
"""Characters of a text that is sent or said, on average; an article has more."""

Values = Callable[[str], list[Any]]


def compared(by_name: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Two texts and the column that says how they compare."""
    for one, other in PAIRS:
        if one in by_name and other in by_name:
            kind = next((by_name[word] for word in KINDS if word in by_name), "")
            return (by_name[one], by_name[other], kind) if kind else None
    return None


def is_message(by_name: Mapping[str, str], values: Values) -> bool:
    """Whether each row is one message of a conversation that goes over several rows, as in OASST1."""
    column = next((by_name[word] for word in _SPEAKERS if word in by_name), "")
    said = values(column) if column else []
    return bool(said) and any(word in by_name for word in _MESSAGE) and all(map(role_of, said))


def twins(columns: Sequence[str]) -> set[str]:
    """Columns of which there are two that differ in their mark alone: neither is the one to learn."""
    return {column for each in _twos(columns).values() for column in each}


def are_rivals(columns: Sequence[str], values: Values) -> bool:
    """Whether there are two answers with a number each, or with numbers that say which of them won."""
    pairs = _twos(columns)
    return any(set(base.split("_")) & ANSWERS for base in pairs) and any(
        all(_is_number(value) for column in each for value in values(column)) for each in pairs.values())


def marked(columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """The columns whose names end with a mark, such as "answer_a", by the name without it, and by the mark."""
    series: dict[str, dict[str, str]] = {}
    for column in columns:
        if found := _MARKED.fullmatch(names.column(column)):
            series.setdefault(found["base"], {})[found["mark"]] = column
    return series


def _twos(columns: Sequence[str]) -> dict[str, set[str]]:
    """The two columns of each name that has two marks."""
    return {base: set(each.values()) for base, each in marked(columns).items() if len(each) == 2}


def hold_more(columns: Sequence[str], texts: Sequence[str], values: Values, *, of_register: bool = False) -> bool:
    """Whether a column beside some texts of unknown names holds objects, or numbers of classes: it may be what is to be
    learned.

    Args:
        of_register: whether there are names, states and the like too: then most numbers are of wards or counters.
    """
    for column in columns:
        name, here = names.column(column), values(column)
        if column in texts or name in _SAID_OF_ROW or not here:
            continue
        if name in names.BESIDE and not any(isinstance(each, list) and any(
                isinstance(part, dict) and content_of(part) for part in each) for each in here):
            continue  # comments on a ticket may answer it
        if any(isinstance(each, dict) or (isinstance(each, list) and any(isinstance(part, dict) for part in each))
               for each in here):
            return True
        if all(map(_is_number, here)) and are_classes(here) and (
                (len(texts) > 1 and not of_register) or set(map(str, here)) == {"0", "1"}):
            return True
    return False


def are_classes(values: Sequence[Any]) -> bool:
    """Whether values are few short ones that come again and again."""
    return len(values) > 3 and 1 < len(set(map(str, values))) <= min(_MOST_CLASSES, len(values) // 2) and all(
        len(str(value)) <= _LONGEST_CLASS for value in values)


def are_same(values: Sequence[Any]) -> bool:
    """Whether all rows have the same: that is neither asked nor answered."""
    return len(values) > 3 and len(set(map(str, values))) == 1


def are_words(values: Sequence[Any]) -> bool:
    """Whether values are single words. Scripts without spaces don't tell."""
    return len(values) > 3 and all(isinstance(value, str) and len(value.split()) < 2 and not _WITHOUT_SPACES.search(
        value) for value in values)


def are_heads(texts: Sequence[str], below: Sequence[str]) -> bool:
    """Whether texts are titles of those that stand beside them: much shorter, and none comes again."""
    return len(set(texts)) == len(texts) and 3 * sum(map(len, texts)) < sum(map(len, below))


def are_names(values: Sequence[Any]) -> bool:
    """Whether values may name something: they are the same few again and again, or single words."""
    return are_classes(values) or are_same(values) or are_words(values)


def are_sorted(texts: Sequence[str], kinds: Sequence[str]) -> bool:
    """Whether short texts are sorted by classes that come again, as in Banking77."""
    return 1 < len(set(kinds)) < len(kinds) and sum(map(len, texts)) <= _SHORT * len(texts)


def in_order(one: str, other: str, values: Values) -> tuple[str, str]:
    """Two columns of texts, the one first that is asked: a class is the answer, as in the table of SMS spam whose first
    column says which it is."""
    is_class = are_classes(values(one)) and len(set(values(other))) > 2 * len(set(values(one)))
    return (other, one) if is_class else (one, other)


def are_sentences(values: Sequence[str], rows: int) -> bool:
    """Whether most of some rows have a sentence, each its own: neither names, places, dates and codes, nor remarks on
    some of them."""
    if 2 * len(values) <= rows or are_names(values) or all(map(_NUMBER.fullmatch, values)):
        return False
    return sum(len(each.split()) for each in values) >= _LEAST_WORDS * len(values) or (
        sum(map(len, values)) >= _LEAST_LETTERS * len(values)) or (
            2 * sum(_END.search(each) is not None for each in values) > len(values))


def is_state(values: Sequence[Any]) -> bool:
    """Whether values are few short words, as "Fixed" and "Won't do" are: the state of a ticket."""
    return are_classes(values) and max(len(str(each)) for each in values) <= _LONGEST_STATE


def are_numbers(values: Sequence[Any]) -> bool:
    """Whether all values are numbers, or true and false."""
    return all(map(_is_number, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and _NUMBER.fullmatch(value) is not None)
