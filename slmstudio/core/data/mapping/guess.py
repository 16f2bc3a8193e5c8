"""Which column of a row holds what, by the names of the columns and by what is in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping import choices, labels, tools, unclear
from slmstudio.core.data.mapping.turns import is_conversation

TARGETS = {
    "messages": ("messages", "system", "tools"),
    "instruction": ("instruction", "input", "output", "system", "history", "tools"),
    "preference": ("prompt", "chosen", "rejected", "input", "system", "tools", "winner"),
    "labelled": ("prompt", "completion", "label", "input", "system", "tools"),
    "text": ("text",),
}
"""What the columns of each layout may be mapped to."""
NEEDED = {"messages": ("messages",), "instruction": ("instruction", "output"), "preference": ("chosen", "rejected"),
          "labelled": ("completion", "label"), "text": ("text",)}
_SURE = (("preference", ("chosen", "rejected")), ("messages", ("messages",)),
         ("instruction", ("instruction", "output")), ("instruction", ("prompt", "completion")),
         ("instruction", ("question", "answer")), ("text", ("text",)))
_NUMBER = re.compile(r"\s*[-+]?[\d.,:/% ]+\s*")


@dataclass(frozen=True)
class ColumnMap:
    """What each column of a file holds.

    Attributes:
        layout: one of `TARGETS`.
        columns: the column of each target; of a pair with a winner "chosen" and "rejected" are the two answers, and
            "winner" says which is which.
    """

    layout: str
    columns: dict[str, str] = field(default_factory=dict)

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns without which a row says nothing."""
        return tuple(self.columns[target] for target in NEEDED[self.layout] if target in self.columns)


def guess(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], by_look: bool = True) -> ColumnMap | None:
    """What the columns hold; None where they tell nothing.

    Args:
        columns: their names, in order.
        rows: some rows with them; the more, the surer.
        by_look: whether columns without a telling name are taken for what they look like.
    """
    return _Look(columns, rows, by_look).guess()


class _Look:
    """The columns of some rows.

    Attributes:
        by_name: the column of each name in English, by `column_names.column`; the first of several.
    """

    def __init__(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], by_look: bool):
        self.rows, self._may_look = rows, by_look
        self.columns = [name for name in columns if any(_filled(row.get(name)) for row in rows)] or list(columns)
        self.by_name: dict[str, str] = {}
        for name in self.columns:
            self.by_name.setdefault(names.column(name), name)
        for name in self.columns:
            self.by_name.setdefault(name.strip().casefold(), name)
        for name in self.columns:
            for word in sorted(names.words_in(name)):
                self.by_name.setdefault(word, name)

    def guess(self) -> ColumnMap | None:
        for look in (self._preference, self._with_winner, self._conversation):
            if (found := look()) is not None:
                return found
        if (compared := unclear.compared(self.by_name)) is not None:
            return self._classified(*compared)
        if unclear.is_message(self.by_name, self.values) or unclear.are_rivals(self.columns, self.values):
            return None
        for look in (self._asked, self._plain, self._by_look, self._by_names):
            if (found := look()) is not None:
                return found
        return None

    def _classified(self, one: str, other: str, kind: str) -> ColumnMap | None:
        """Two texts and how they compare in words, which is asked for; numbers for it say nothing to a model."""
        if not self._is_class(kind) or all(map(_NUMBER.fullmatch, self.values(kind))):
            return None
        return self._map("instruction", instruction=one, input=other, output=kind)

    def values(self, column: str) -> list[Any]:
        return [row[column] for row in self.rows if _filled(row.get(column))]

    def first(self, words: Iterable[str], without: Iterable[str] = ()) -> str:
        """The column that is called by one of the words, the first of them first; "" where none is."""
        return next((self.by_name[word] for word in words if word in self.by_name
                     and self.by_name[word] not in without), "")

    def is_text(self, column: str) -> bool:
        return all(isinstance(value, str) for value in self.values(column))

    def _beside(self, used: Mapping[str, str]) -> dict[str, str]:
        """System message, tools and history, where there are such columns."""
        found = {"system": self.first(("system",)), "tools": self.first(names.TOOLS)}
        if found["tools"] and not self._are_tools(found["tools"]):
            del found["tools"]
        return {target: column for target, column in found.items() if column and column not in used.values()}

    def _are_tools(self, column: str) -> bool:
        values = [value for value in self.values(column)[:20] if value not in ("[]", "null")]
        return all(tools.schemas(value, column, []) for value in values)

    def _map(self, layout: str, **columns: str) -> ColumnMap:
        used = {target: column for target, column in columns.items() if column}
        return ColumnMap(layout, used | self._beside(used))

    # -- pairs -----------------------------------------------------------------------------------------------

    def _preference(self) -> ColumnMap | None:
        rejected = self.first(names.REJECTED)
        chosen = self.first(names.CHOSEN, (rejected,))
        if not chosen or not rejected or not all(map(self._is_answer, (chosen, rejected))):
            return None
        return self._compared(chosen, rejected)

    def _is_answer(self, column: str) -> bool:
        return all(isinstance(value, (str, list, dict)) for value in self.values(column))

    def _compared(self, chosen: str, rejected: str, **more: str) -> ColumnMap:
        taken = (chosen, rejected, *more.values())
        prompt = self.first((*names.CONVERSATION, "prompt", *names.ASKED, "input", *names.BELOW), taken)
        if prompt and prompt == self.first(names.CONVERSATION) and not self._is_prompt(prompt):
            prompt = self.first(("prompt", *names.ASKED, "input"), (*taken, prompt))
        below = self.first(names.BELOW, (*taken, prompt)) if prompt else ""
        return self._map("preference", prompt=prompt, chosen=chosen, rejected=rejected, input=below, **more)

    def _is_prompt(self, column: str) -> bool:
        """Whether a conversation ends with what is asked; UltraFeedback's "messages" hold the chosen answer too."""
        from slmstudio.core.data.mapping.turns import messages_of

        ends = [messages_of(value, column, [], set())[0] for value in self.values(column)[:20]]
        return all(isinstance(each, list) and each and isinstance(each[-1], dict)
                   and each[-1].get("role") != "assistant" for each in ends)

    def _with_winner(self) -> ColumnMap | None:
        """Two answers, and a column that says which is better, as in the files of Chatbot Arena."""
        series: dict[str, dict[str, str]] = {}
        for column in self.columns:
            found = unclear.MARKED.fullmatch(names.column(column))
            if found and self._is_answer(column) and found["base"] not in ("model", "model_name"):
                series.setdefault(found["base"], {})[found["mark"]] = column
        for marks in series.values():
            for one, other in ("ab", "01", "12"):
                if one in marks and other in marks:
                    winner = self.first(names.WINNER, (marks[one], marks[other]))
                    if winner and self._names_winner(winner, (one, other)):
                        return self._compared(marks[one], marks[other], winner=winner)
        return None

    def _names_winner(self, column: str, marks: tuple[str, str]) -> bool:
        return all(labels.winner_of(value, marks) is not None for value in self.values(column))

    # -- one answer ------------------------------------------------------------------------------------------

    def _conversation(self) -> ColumnMap | None:
        named = [self.by_name[word] for word in names.CONVERSATION if word in self.by_name]
        found = next((column for column in (*named, *self.columns) if self._is_conversation(
            column, column in named)), "")
        if not found:
            return None
        answer = self.first((word for word in names.ANSWERED if word != "chosen"), (found,))
        if answer and self._is_prompt(found):
            calls = self.values(answer)
            if all(isinstance(value, (str, dict, list)) for value in calls):
                return self._answered(found, answer)
        if found not in named and answer:
            return None  # a "prompt" of messages beside its completion
        label = self._label((found,))
        if label:
            return self._map("labelled", completion=found, label=label)
        return self._map("messages", messages=found)

    def _is_conversation(self, column: str, is_named: bool) -> bool:
        values = self.values(column)
        if is_named and values and all(isinstance(value, list) and value and all(isinstance(each, str) or (
                isinstance(each, list) and len(each) == 2) for each in value) for value in values):
            return True
        return bool(values) and sum(map(is_conversation, values)) * 2 > len(values)

    def _asked(self) -> ColumnMap | None:
        answer = self.first(names.ANSWERED)
        # Beside another answer than its translation, a source is where the row is from.
        sources = () if names.column(answer).startswith(("target", "tgt", "translation")) else names.SOURCES
        question = self.first((word for word in names.ASKED if word not in sources), (answer,))
        if not answer and question:
            return self._answer_unknown(question)
        if not answer:
            return None
        is_sure = self.is_text(answer) and names.column(answer) not in names.WEAK_ANSWERS
        if not question and is_sure:
            question = self.first((*names.BELOW, *names.TEXT), (answer,))
        if not question and is_sure:
            others = self._texts((answer,))
            question = others[0] if len(others) == 1 else ""
        return self._answered(question, answer) if question else None

    def _answer_unknown(self, question: str) -> ColumnMap | None:
        """A question beside the only other text of the table, which then is its answer."""
        others = self._texts((question,))
        if len(others) != 1 or names.column(others[0]) in (*names.BELOW, *names.TEXT, "source") or (
                unclear.hold_more(self.columns, others, self.values)):
            return None
        return self._answered(question, others[0])

    def _answered(self, question: str, answer: str) -> ColumnMap:
        label = self._label((question, answer))
        below = self.first(names.BELOW, (question, answer))
        if below and not all(isinstance(value, (str, list)) for value in self.values(below)):
            below = ""
        if label:
            return self._map("labelled", prompt=question, completion=answer, label=label, input=below)
        history = self.first(names.HISTORY, (question, answer))
        return self._map("instruction", instruction=question, input=below, output=answer,
                         history=history if history and self._is_list(history) else "", choices=self._choices(answer))

    def _choices(self, answer: str) -> str:
        found = self.first(("choices", "options"), (answer,))
        return found if found and choices.are_read(
            (row.get(found), row.get(answer)) for row in self.rows) else ""

    def _is_list(self, column: str) -> bool:
        return all(isinstance(value, list) for value in self.values(column))

    def _label(self, without: tuple[str, ...]) -> str:
        found = (self.by_name[word] for word in names.LABEL if word in self.by_name)
        return next((column for column in found if column not in without and labels.are_labels(
            self.values(column), bad=names.column(column) not in names.SURE_LABEL)), "")

    # -- by look ---------------------------------------------------------------------------------------------

    def _plain(self) -> ColumnMap | None:
        """One column of text; or a text and its class, which is asked for."""
        found = self.first(names.TEXT)
        if not found or not self.is_text(found):
            return None
        kind = self.first(("label", "labels", "class", "category", "sentiment", "intent", "emotion", "topic"), (found,))
        if kind and self._is_class(kind) and (names.column(kind) in (
                "label", "labels", "class", "sentiment", "intent", "emotion") or (
                    len(self.columns) == 2 and unclear.are_sorted(self.values(found), self.values(kind)))):
            return self._map("instruction", instruction=found, output=kind)
        return ColumnMap("text", {"text": found})

    def _is_class(self, column: str) -> bool:
        values = self.values(column)
        return bool(values) and all(isinstance(value, str) and len(value) <= 60 for value in values)

    def _by_look(self) -> ColumnMap | None:
        texts = self._texts()
        is_unclear = unclear.hold_more(self.columns, texts, self.values)
        if len(texts) == 2:
            found = self._answered(*unclear.in_order(texts[0], texts[1], self.values))
            return None if is_unclear and found.layout == "instruction" else found
        if is_unclear:
            return None
        if len(texts) != 1 or names.column(texts[0]) in (
                *names.ASKED, *names.ANSWERED, *names.CHOSEN, *names.REJECTED, *names.CONVERSATION):
            return None
        return ColumnMap("text", {"text": texts[0]})

    def _by_names(self) -> ColumnMap | None:
        """By names that can mean nothing else, whatever is in the columns: then what is wrong there can be said."""
        for layout, wanted in _SURE:
            if set(wanted) <= set(self.columns):
                return self._map(layout, **dict(zip(NEEDED[layout] if len(wanted) == len(NEEDED[layout]) else (
                    "prompt", *NEEDED[layout]), wanted, strict=True)))
        return None

    def _texts(self, without: tuple[str, ...] = ()) -> list[str]:
        """Columns of text that are none of those that stand beside question and answer: numbers, names, dates."""
        found: list[str] = []
        if not self._may_look:
            return found
        for column in self.columns:
            values = self.values(column)
            if column in without or names.column(column) in names.BESIDE or not values or not self.is_text(column):
                continue
            if not all(map(_NUMBER.fullmatch, values)):
                found.append(column)
        return found


def _filled(value: Any) -> bool:
    return value is not None and value != "" and value != []
