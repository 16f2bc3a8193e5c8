"""What a row must hold: one of several sets of columns, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from slmstudio.core.data import column_names
from slmstudio.core.data.conversations import (
    Findings,
    Message,
    Messages,
    check_turns,
    kind_of,
    list_of_messages,
    not_messages,
    text_of,
)
from slmstudio.core.data.strict_json import printable
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import ntr, tr

EXAMPLE = '{"instruction": …, "output": …}'
PARTNERS = {"chosen": "rejected", "rejected": "chosen", "instruction": "output", "output": "instruction",
            "question": "answer", "answer": "question", "completion": "prompt", "prompt": "completion"}
SHOWN_COLUMNS = 12


class RowError(Exception):
    """A row can't be used, for all of `findings`."""

    def __init__(self, findings: Findings):
        super().__init__(findings)
        self.findings = findings

    def refusal(self, what: str, remedy: str) -> UserError:
        """The same for a user who has written the row."""
        problems = [Problem(sentence, field=key or None) for key, sentence in self.findings]
        return UserError(what, as_sentence(problems[0].message), remedy, problems)


class ColumnsMissing(Exception):
    """A row has these columns, in order, and not those needed."""

    def __init__(self, columns: tuple[str, ...]):
        super().__init__(columns)
        self.columns = columns

    @property
    def missing(self) -> str | None:
        """The one column that would make the row complete."""
        return next((partner for name, partner in PARTNERS.items()
                     if name in self.columns and partner not in self.columns), None)

    def sentence(self) -> str:
        """What is there, and why that isn't enough."""
        if not self.columns:
            return tr("the row is empty.")
        if {"role", "sender", "speaker"} & set(self.columns) and {"text", "content", "message"} & set(self.columns):
            return tr('each row is one message of a conversation, and no column says which one; a row must contain a '
                      'whole conversation, such as {example}, or have its "conversation_id".',
                      example='{"messages": [{"role": …, "content": …}, …]}')
        if marks := [column for column in self.columns if column in column_names.MARKS]:
            return tr('"{column}" marks single words of a text, for a tagger. A model that answers in text learns from '
                      "questions with answers, conversations or plain text.", column=printable(marks[0]))
        names = ", ".join(f'"{printable(name)}"' for name in self.columns[:SHOWN_COLUMNS])
        more = len(self.columns) - SHOWN_COLUMNS
        there = (ntr("the columns are {names} and {n:,} more.", "the columns are {names} and {n:,} more.", more,
                     names=names) if more > 0 else
                 ntr("the column is {names}.", "the columns are {names}.", len(self.columns), names=names))
        lacking = (tr('"{column}" is missing.', column=self.missing) if self.missing else
                   tr("The names don't say which one holds the question, and which one the answer."))
        return f"{there} {lacking}"


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


def read_row(value: Any, names: Mapping[str, str] | None = None) -> Row:
    """What a row says that has the columns of one layout, those of `_READERS`; others beside them don't count.

    Args:
        names: what the file calls the columns, where that is something else; what is wrong is said with these.

    Raises:
        RowError: everything that is wrong with it.
        ColumnsMissing: it is an object with other columns.
    """
    if not isinstance(value, dict):
        raise RowError([("", not_an_object(value))])
    columns = next((columns for columns in _READERS if columns <= value.keys()), None)
    if columns is None:
        raise ColumnsMissing(tuple(value))
    reader = _Reader(value, names or {})
    row = _READERS[columns](reader)
    if reader.findings:
        raise RowError(reader.findings)
    return row


class _Asked(NamedTuple):
    """The system message, or nothing; and the messages after it, none where the answers hold the prompt too."""

    system: list[Message]
    turns: list[Message]


class _Reader:
    """Reads one row, and finds what is wrong with it."""

    def __init__(self, row: Mapping[str, Any], names: Mapping[str, str]):
        self._row = row
        self._names = names
        self.findings: Findings = []

    def _column(self, key: str) -> str:
        return self._names.get(key, key)

    def _shown(self, key: str) -> str:
        return printable(self._column(key))

    def _complain(self, key: str, sentence: str) -> None:
        self.findings.append((self._column(key), sentence))

    def _text(self, key: str, may_be_blank: bool = False) -> str:
        column = self._column(key)
        return text_of({column: self._row[key]} if key in self._row else {}, column, self.findings,
                       may_be_blank=may_be_blank)

    def text(self) -> Row:
        return Row("text", (), text=self._text("text"))

    def messages(self) -> Row:
        column = self._column("messages")
        found = list_of_messages(self._row["messages"], column, self.findings, is_row=True)
        if not self.findings:
            check_turns(found, column, self.findings, is_row=True)
        return Row("messages", tuple(found))

    def pair(self) -> Row:
        prompt = self._asked("instruction")
        content = self._text("output")
        turns = (*prompt.system, *prompt.turns) if prompt is not None else ()
        return Row("instruction", (*turns, {"role": "assistant", "content": content}))

    def completion(self) -> Row:
        prompt = self._asked("prompt")
        messages = tuple(self._answered("completion", prompt))
        if "label" in self._row:
            return Row("labelled", messages, desirable=self._is_good())
        is_plain = isinstance(self._row["prompt"], str) and isinstance(self._row["completion"], str)
        return Row("instruction" if is_plain else "messages", messages)

    def preference(self) -> Row:
        """The conversation with the better answer, and the worse answer."""
        prompt = self._asked("prompt", is_needed=False)
        chosen, rejected = (self._answered(column, prompt) for column in ("chosen", "rejected"))
        if not chosen or not rejected:
            return Row("preference", ())
        names = {"chosen": self._shown("chosen"), "rejected": self._shown("rejected")}
        if chosen[:-1] != rejected[:-1]:
            self._complain("rejected", tr('"{chosen}" and "{rejected}" differ before their last answer; what comes '
                                          "before it must be the same.", **names))
        elif chosen[-1] == rejected[-1]:
            self._complain("rejected", tr('"{chosen}" and "{rejected}" are the same, so neither is better.', **names))
        return Row("preference", tuple(chosen), rejected=rejected[-1]["content"])

    def _asked(self, key: str, is_needed: bool = True) -> _Asked | None:
        """The prompt: "prompt", which may be a list of messages, or "instruction" with "input"; and "system". None if
        something is wrong with it."""
        before = len(self.findings)
        turns: list[Message] = []
        if key == "prompt" and isinstance(self._row.get(key), list):
            turns = list_of_messages(self._row[key], self._column(key), self.findings)
        elif is_needed or self._row.get(key) is not None:
            question = self._text(key)
            context = self._optional("input") if key == "instruction" else ""
            turns = [{"role": "user", "content": f"{question}\n\n{context}" if context.strip() else question}]
        own = turns[:1] if turns and turns[0]["role"] == "system" else []
        text = self._optional("system")  # blank means none: tables that have the column have it in every row
        system = [{"role": "system", "content": text}] if text.strip() else []
        if system and own and system != own:
            self._complain("system", tr('"{column}" differs from the system message of "{prompt}"; keep one of them.',
                                        column=self._shown("system"), prompt=self._shown("prompt")))
        return None if len(self.findings) > before else _Asked(own or system, turns[len(own):])

    def _optional(self, key: str) -> str:
        return self._text(key, may_be_blank=True) if self._row.get(key) is not None else ""

    def _answered(self, key: str, prompt: _Asked | None) -> list[Message]:
        """The conversation that ends with the answer in a column, which is text, messages, or both prompt and answer.

        Without a prompt, since something is wrong with that, the answer is checked alone.
        """
        before = len(self.findings)
        value, column = self._row[key], self._column(key)
        is_alone = prompt is not None and not prompt.turns
        written: list[Message] = []
        if isinstance(value, list):
            written = list_of_messages(value, column, self.findings)
        elif isinstance(value, str):
            written = [{"role": "assistant", "content": self._text(key)}]
            if is_alone and len(self.findings) == before:
                self._complain(key, tr('the question is missing: there is no "{prompt}", and "{column}" isn\'t a '
                                       "whole conversation.", prompt=self._shown("prompt"), column=self._shown(key)))
        else:
            self._complain(key, not_messages(column, value))
        if len(self.findings) > before or prompt is None:
            return []
        conversation = self._joined(prompt, written, key)
        if len(self.findings) == before:
            check_turns(conversation, column, self.findings)
        return conversation

    def _joined(self, prompt: _Asked, written: list[Message], key: str) -> list[Message]:
        """Prompt and answer as one conversation. Where the answer begins with the prompt, it is kept once."""
        if written[0]["role"] == "assistant":
            return [*prompt.system, *prompt.turns, *written]
        own = written[:1] if written[0]["role"] == "system" else []
        turns = written[len(own):]
        if own and prompt.system and own != prompt.system:
            self._complain("system", tr('the system message of "{column}" differs from the prompt\'s.',
                                        column=self._shown(key)))
        opening, asked = ([(message["role"], message["content"].strip()) for message in each]
                          for each in (turns[:len(prompt.turns)], prompt.turns))
        if opening != asked:
            self._complain(key, tr('"{column}" is a whole conversation, but doesn\'t begin with the prompt.',
                                   column=self._shown(key)))
        return [*(own or prompt.system), *turns]

    def _is_good(self) -> bool:
        """What "label" says about the answer."""
        label = self._row["label"]
        if isinstance(label, (bool, int, float)) and label in (0, 1):
            return bool(label)
        found = f"{label:g}" if isinstance(label, (int, float)) else kind_of(label)
        self._complain("label", tr('"{column}" is {value}; it must be true for a good answer and false for a bad one.',
                                   column=self._shown("label"), value=found))
        return False


_READERS: dict[frozenset[str], Callable[[_Reader], Row]] = {
    frozenset({"chosen", "rejected"}): _Reader.preference,
    frozenset({"messages"}): _Reader.messages,
    frozenset({"instruction", "output"}): _Reader.pair,
    frozenset({"prompt", "completion"}): _Reader.completion,
    frozenset({"text"}): _Reader.text,
}
