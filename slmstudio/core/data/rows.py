"""What a row must hold: one of several sets of columns, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

from slmstudio.core.data import answers
from slmstudio.core.data.column_names import LANGUAGE, MARKS
from slmstudio.core.data.conversations import (
    Findings,
    Messages,
    check_turns,
    keys_beside,
    kind_of,
    list_of_messages,
    text_of,
)
from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import ntr, tr

EXAMPLE = '{"instruction": …, "output": …}'
PARTNERS = {"chosen": "rejected", "rejected": "chosen", "instruction": "output", "output": "instruction",
            "question": "answer", "answer": "question", "completion": "prompt", "prompt": "completion"}
SHOWN_COLUMNS = 12


class RowError(Exception):
    """A row can't be used.

    Attributes:
        findings: (key concerned, sentence) for everything that is wrong.
    """

    def __init__(self, findings: Findings):
        super().__init__(findings)
        self.findings = findings


class ColumnsMissing(Exception):
    """A row has columns other than those needed.

    Attributes:
        columns: those it has, in order.
    """

    def __init__(self, columns: tuple[str, ...]):
        super().__init__(columns)
        self.columns = columns

    @property
    def missing(self) -> str | None:
        """The one column that would make the row complete."""
        return next((partner for name, partner in PARTNERS.items()
                     if name in self.columns and partner not in self.columns), None)

    def sentence(self) -> str:
        """Names what is there and what is missing."""
        if not self.columns:
            return tr("the row is empty.")
        if {"role", "sender", "speaker"} & set(self.columns) and {"text", "content", "message"} & set(self.columns):
            return tr('each row is one message of a conversation, and no column says which one; a row must contain a '
                      'whole conversation, such as {example}, or have its "conversation_id".',
                      example='{"messages": [{"role": …, "content": …}, …]}')
        languages = list(filter(LANGUAGE.fullmatch, self.columns))
        if len(languages) > 1:
            return ntr("the columns contain the same in {n:,} language; choose what is asked and what is answered, "
                       "for example {option}.",
                       "the columns contain the same in {n:,} languages; choose what is asked and what is answered, "
                       "for example {option}.", len(languages),
                       option=f"--map instruction={languages[0]},output={languages[1]}")
        if marks := [column for column in self.columns if column in MARKS]:
            return tr('"{column}" marks single words of a text, for a tagger. A model that answers in text learns from '
                      "questions with answers, conversations or plain text.", column=printable(marks[0]))
        names = ", ".join(f'"{printable(name)}"' for name in self.columns[:SHOWN_COLUMNS])
        more = len(self.columns) - SHOWN_COLUMNS
        if more > 0:
            there = ntr("the columns are {names} and {n:,} more.", "the columns are {names} and {n:,} more.", more,
                        names=names)
        else:
            there = ntr("the column is {names}.", "the columns are {names}.", len(self.columns), names=names)
        lack = [tr('"{column}" is missing.', column=self.missing)] if self.missing else []
        return " ".join((there, *(lack or [tr("The names don't say which one holds the question, and which one the "
                                              "answer.")])))


class Row(NamedTuple):
    """What one row says; see `reader.Record`.

    Attributes:
        layout: any but "mixed".
        unused: names of the columns that nothing was made of.
        note: what was left out of it on purpose: the sentences for one such row and for several, for `ntr`.
    """

    layout: str
    messages: Messages
    rejected: str | None = None
    desirable: bool | None = None
    text: str | None = None
    unused: frozenset[str] | set[str] = frozenset()
    tools: tuple[dict[str, Any], ...] = ()
    note: tuple[str, str] | None = None


def not_an_object(value: Any) -> str:
    """What is wrong with a row that has no columns."""
    return tr("the row is {kind}; it must be an object, {example}.", kind=kind_of(value), example=EXAMPLE)


def as_sentence(reason: str) -> str:
    """A reason as a sentence of its own, with a capital letter; elsewhere it follows the number of its line."""
    return reason[:1].upper() + reason[1:]


def read_row(value: Any) -> Row:
    """What one parsed row says.

    Of several sets of columns, the first in `_READERS` counts; columns that are null don't, where others are filled.

    Raises:
        RowError: everything that is wrong with it.
        ColumnsMissing: it is an object with other columns.
    """
    if not isinstance(value, dict):
        raise RowError([("", not_an_object(value))])
    here = _complete(tuple(value))
    for columns in here:
        if value[columns[0]] is not None or value[columns[-1]] is not None:
            break
    else:
        # Null messages are a column that a table has for other rows.
        columns = next((columns for columns in here if columns != ("messages",)), ())
    if not columns:
        raise ColumnsMissing(tuple(value))
    if columns == ("text",) and (other := next((name for name in PARTNERS if value.get(name) is not None), "")):
        raise RowError([("text", tr('the row has "text" as well as "{column}"; plain text has no such column.',
                                    column=other))])
    if columns == ("prompt", "completion") and value.get("question") is not None and value.get("answer") is not None:
        raise RowError([("", tr('the row has "prompt" and "completion" as well as "question" and "answer"; keep one '
                                'pair.'))])
    findings: Findings = []
    row, used = _READERS[columns](value, findings)
    if findings:
        raise RowError(findings)
    return row._replace(unused=unused) if (unused := keys_beside(value, used)) else row


@lru_cache(maxsize=64)  # the rows of a file have the same columns, or few different ones
def _complete(names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The sets of columns that are wholly among `names`."""
    return tuple(columns for columns in _READERS if set(columns) <= set(names))


_Read = tuple[Row, tuple[str, ...]]
"""The row and the columns it was read from."""


def _preference(value: Mapping[str, Any], findings: Findings) -> _Read:
    prompt = answers.asked(value, findings)
    messages, rejected = answers.preference(value, prompt, findings)
    return Row("preference", tuple(messages), rejected=rejected), ("chosen", "rejected", *_columns(prompt))


def _messages(value: Mapping[str, Any], findings: Findings) -> _Read:
    messages = list_of_messages(value["messages"], "messages", findings)
    if not findings:
        check_turns(messages, "messages", findings)
    return Row("messages", tuple(messages)), ("messages",)


def _completion(value: Mapping[str, Any], findings: Findings) -> _Read:
    prompt = answers.asked(value, findings, ("prompt",))
    messages = tuple(answers.answered(value, "completion", prompt, findings))
    columns = ("completion", *_columns(prompt))
    if "label" in value:
        return Row("labelled", messages, desirable=answers.is_good(value, findings)), ("label", *columns)
    plain = isinstance(value["prompt"], str) and isinstance(value["completion"], str)
    return Row("instruction" if plain else "messages", messages), columns


def _pair(question: str, answer: str, value: Mapping[str, Any], findings: Findings) -> _Read:
    prompt = answers.asked(value, findings, (question,))
    content = text_of(value, answer, findings)
    if prompt is None:
        return Row("instruction", ()), ()
    messages = (*prompt.system, *prompt.turns, {"role": "assistant", "content": content})
    return Row("instruction", messages), (answer, *prompt.columns)


def _columns(prompt: answers.Asked | None) -> tuple[str, ...]:
    return prompt.columns if prompt is not None else ()


def _text(value: Mapping[str, Any], findings: Findings) -> _Read:
    return Row("text", (), text=text_of(value, "text", findings)), ("text",)


_READERS: dict[tuple[str, ...], Callable[[Mapping[str, Any], Findings], _Read]] = {
    ("chosen", "rejected"): _preference,
    ("messages",): _messages,
    ("instruction", "output"): partial(_pair, "instruction", "output"),
    ("prompt", "completion"): _completion,
    ("question", "answer"): partial(_pair, "question", "answer"),
    ("text",): _text,
}
