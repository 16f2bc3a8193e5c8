"""Reads rows with one set of columns, whose meaning is known: values become turns, and these a checked row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.conversations import Findings
from slmstudio.core.data.conversations import text_of as checked_text
from slmstudio.core.data.mapping import choices, look, ratings, tools, values
from slmstudio.core.data.mapping.look import ColumnMap
from slmstudio.core.data.mapping.speakers import are_texts, in_turn
from slmstudio.core.data.mapping.turns import (
    NotText,
    is_asked,
    is_conversation,
    is_message,
    messages_of,
    text_of,
    without_end,
    without_greeting,
)
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.rows import Row, RowError, read_row
from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import nnoop, tr

NOTES = {
    "tree": nnoop("Of the replies in a tree, the best-ranked ones are read as one conversation ({n:,} row).",
                  "Of the replies in a tree, the best-ranked ones are read as one conversation ({n:,} rows)."),
    "templated": nnoop("Text that a chat template wrote is read as a conversation; the chosen model's template writes "
                       "it again ({n:,} row).",
                       "Texts that a chat template wrote are read as conversations; the chosen model's template writes "
                       "them again ({n:,} rows)."),
    "people": nnoop("In a conversation of two people, the first one asks and the other one answers ({n:,} row).",
                    "In a conversation of two people, the first one asks and the other one answers ({n:,} rows)."),
    "unanswered": nnoop("A last message without an answer is left out ({n:,} row).",
                        "Last messages without an answer are left out ({n:,} rows)."),
    "greeting": nnoop("What the assistant says before the first question is left out ({n:,} row).",
                      "What the assistant says before the first question is left out ({n:,} rows)."),
}
"""What is said about rows by the form of their conversation or what was left out, for one such row and for several."""
_CANONICAL = {"instruction": "prompt", "output": "completion"}
"""What `read_row` calls a target, where that is something else."""


class _Row:
    """One row while it is read.

    Attributes:
        findings, unused, tools, note: as of what `read_row` makes of it.
    """

    def __init__(self, value: Mapping[str, Any], columns: Mapping[str, str], unused: set[str]):
        self.value = value
        self._columns = columns
        self.findings: Findings = []
        self.unused = unused
        self.note: tuple[str, str] | None = None
        self.tools = tools.schemas(self.of("tools"), self.column("tools"), self.findings)
        system = self.of("system")
        if isinstance(system, (dict, list)):  # Gemini's {"parts": [{"text": …}]}, Anthropic's list of parts
            system = text_of(system.get("parts", system) if isinstance(system, dict) else system)
        if isinstance(system, str):
            system, offered = tools.offered_in(system.removeprefix("SYSTEM: "))
            self.tools += offered
        self.system = system

    def column(self, target: str) -> str:
        return self._columns.get(target, target)

    def of(self, target: str) -> Any:
        column = self._columns.get(target)
        return self.value.get(column) if column is not None else None

    def turns(self, value: Any, target: str) -> tuple[list[Any], str]:
        """The turns that a value holds, and the form they had."""
        found, offered, form = messages_of(value, self.column(target), self.findings, self.unused)
        self.tools += [each for each in offered if each not in self.tools]
        return found, form


class RowReader:
    """Reads rows with one set of columns.

    Args:
        first: as `choices.counting` finds it; of two answers with a winner, as `labels.counted_from`.
        has_templates: as of `Mapper`.
        may_need_pictures: whether a picture beside the texts belongs to what is asked.
    """

    def __init__(self, columns: ColumnMap, keys: tuple[str, ...], first: Any, has_templates: bool,
                 options: ReadOptions = NO_OPTIONS, may_need_pictures: bool = True):
        self._map = columns
        self._has_templates = has_templates
        self._first = first
        self._options = options
        self._columns = columns.columns
        self._needed = columns.needed
        self._names = {_CANONICAL.get(target, target): column for target, column in self._columns.items()}
        self._may_need_pictures = may_need_pictures
        self._beside = tuple(name for name in keys if name not in columns.used)
        self._canonical: Callable[[_Row], list[dict[str, Any]]] = {
            "messages": self._messages, "instruction": self._instruction, "preference": self._preference,
            "labelled": self._labelled, "text": self._text}[columns.layout]
        self._is_plain = columns.layout == "instruction" and not columns.series and not has_templates and (
            {"instruction", "output"} <= set(self._columns) <= {"instruction", "input", "output"})

    def fits(self, value: Mapping[str, Any]) -> bool:
        """Whether a row has something in one of the columns that are needed."""
        return any(value.get(name) is not None for name in self._needed)

    def read(self, value: dict[str, Any]) -> list[Row]:
        unused = {name for name in self._beside if value[name] not in (None, "", [], {})} if self._beside else set()
        for name in unused if self._may_need_pictures else ():
            if names.column(name) in names.PICTURES and not str(value[name]).startswith("http"):
                raise RowError([(name, tr("the row has a picture, a sound or a video; models learn only from text "
                                          "here."))])
        if self._is_plain and (plain := self._pair(value)) is not None:
            return [plain._replace(unused=unused) if unused else plain]
        try:
            row = _Row(value, self._columns, unused)
            found = self._canonical(row)
        except NotText as error:
            raise RowError([("content", tr('the row has a part of the type "{type}"; models learn only from text here.',
                                           type=error.what))]) from error
        if row.findings:
            raise RowError(row.findings)
        if row.system is not None and self._map.layout != "messages":
            found = [{"system": row.system, **each} for each in found]
        return [read_row(each, self._names)._replace(unused=unused, tools=tuple(row.tools), note=row.note)
                for each in found]

    def _pair(self, value: Mapping[str, Any]) -> Row | None:
        """A plain question with its answer, which most rows of most files are; None if it needs a closer look."""
        columns = self._columns
        question, answer = value.get(columns["instruction"]), value.get(columns["output"])
        if type(question) is not str or type(answer) is not str or not question.strip() or not answer.strip() or (
                answer[:1] in "[{" or question.startswith("\n\nHuman:")):
            return None
        if "input" in columns and (below := value.get(columns["input"])):
            if type(below) is not str:
                return None
            if below.strip():
                question = f"{question}\n\n{below}"
        try:
            question.encode(), answer.encode()
        except UnicodeEncodeError:
            return None
        return Row("instruction", ({"role": "user", "content": question}, {"role": "assistant", "content": answer}))

    # -- each layout in the columns that `read_row` knows ------------------------------------------------------

    def _text(self, row: _Row) -> list[dict[str, Any]]:
        return [{"text": values.as_text(values.joined(row.of("text")))}]

    def _messages(self, row: _Row) -> list[dict[str, Any]]:
        found, form = row.turns(row.of("messages"), "messages")
        row.note = NOTES.get(form)
        if isinstance(found, list) and len(found) > 1 and (form == "turns" or self._options.unanswered == "drop") and (
                isinstance(found[-1], dict) and found[-1].get("role") == "user"):
            found, row.note = found[:-1], NOTES["unanswered"]
        if (asked := without_greeting(found)) is not found:
            found, row.note = asked, NOTES["greeting"]
        return [{"messages": _with_system(found, row.system)}]

    def _instruction(self, row: _Row) -> list[dict[str, Any]]:
        if "cell" in self._columns:
            column = self._columns["cell"]
            pairs = list(look.questions_in(row.of("cell"), self._options.between))
            if not pairs:
                raise RowError([(column, tr('"{column}" holds no question with an answer behind it.',
                                            column=printable(column)))])
            return [{"prompt": question, "completion": answer} for question, answer in pairs]
        asked, answer, below = row.of("instruction"), row.of("output"), row.of("input")
        if are_texts(asked) and are_texts(answer) and len(asked) == len(answer) > 1:  # each has its answer
            return [{"messages": in_turn(text for pair in zip(asked, answer, strict=True) for text in pair)}]
        asked = self._asked(row, "instruction")
        if self._map.choices:
            written = choices.written(row.value, self._map.choices, answer, self._first)
            if written is None:
                raise RowError([(row.column("output"), tr("the answer isn't one of the choices."))])
            asked, below = values.below(values.below(values.as_text(asked), below), written[0]), None
            answer = written[1]
        if answer == [] or (isinstance(answer, dict) and answer.get("text") == []):  # as SQuAD's, of one without
            raise RowError([(row.column("output"), tr("the question has no answer, so there is nothing to learn."))])
        answer = self._answer(row, answer, "output")
        return [{"prompt": self._prompt(row, "instruction", asked, below), "completion": answer}]

    def _preference(self, row: _Row) -> list[dict[str, Any]]:
        if "ranked" in self._columns:
            pair = list(ratings.best_and_worst(row.of("ranked"), self._columns["ranked"]))
        else:
            pair = [self._answer(row, row.of(target), target) for target in ("chosen", "rejected")]
            if {"winner", "score_chosen"} & self._columns.keys() and self._is_second_better(row):
                pair.reverse()
        asked = self._asked(row, "prompt")
        if asked not in (None, ""):
            prompt = self._prompt(row, "prompt", asked, row.of("input"))
        elif asked is None and isinstance(pair[0], list) and isinstance(pair[1], str):  # as ms-swift's
            prompt, pair[0] = pair[0][:-1], pair[0][-1:]
        else:
            prompt = None
        return [{"chosen": pair[0], "rejected": pair[1], **({} if prompt is None else {"prompt": prompt})}]

    def _labelled(self, row: _Row) -> list[dict[str, Any]]:
        said = row.of("label")
        label = ratings.is_good(said)
        completion = self._answer(row, row.of("completion"), "completion")
        if "prompt" not in self._columns and isinstance(completion, list):
            prompt, completion = completion[:-1], completion[-1:]
        else:
            prompt = self._prompt(row, "prompt", self._asked(row, "prompt"), row.of("input"))
        return [{"prompt": prompt, "completion": completion, "label": said if label is None else label}]

    # -- their parts -------------------------------------------------------------------------------------------

    def _asked(self, row: _Row, target: str) -> Any:
        """What is asked; of a list of texts, what was said in turn, the user last, or one text of all its parts."""
        asked = row.of(target)
        if not are_texts(asked) or len(asked) < 2 or is_conversation(asked):
            return asked
        column = names.column(self._columns[target])
        if column == "questions":  # each of them in other words
            return asked[0]
        if column not in (*names.DIALOGUE, *names.CONVERSATION, *names.HISTORY, "context"):
            return "\n\n".join(asked)
        return without_greeting(in_turn(asked, len(asked) % 2 == 0))

    def _prompt(self, row: _Row, target: str, asked: Any, below: Any) -> Any:
        """What is asked, as text, or as messages where something was said before it, with what it is about below."""
        if below is not None:
            column = row.column("input")
            below = checked_text({column: values.as_text(values.passage(below))}, column, row.findings,
                                 may_be_blank=True)
        history = row.of("history")
        if not is_asked(asked) and not history:
            return values.below(values.as_text(asked), below)
        turns = row.turns(history or [], "history")[0]
        turns = [*turns, *(row.turns(asked, target)[0] if is_asked(asked) else in_turn([values.as_text(asked)]))]
        if isinstance(last := turns[-1], dict) and last.get("role") == "user":
            turns[-1] = {**last, "content": values.below(last.get("content"), below)}
        return turns

    def _answer(self, row: _Row, value: Any, target: str) -> Any:
        """An answer as text, or as messages where it is more than text."""
        if row.tools and tools.is_calls(value):
            calls = tools.calls_of({"tool_calls": value}, None, row.column(target), row.findings)
            return [{"role": "assistant", "content": "", "tool_calls": calls}]
        if isinstance(value, dict) and is_message(value):
            value = [value]
        # A text that answers a question may be a play, or tell how people talk.
        is_plain = isinstance(value, str) and self._map.layout == "instruction" and value[:1] not in ("[", "{", "\n")
        if not is_plain and is_conversation(value):
            return row.turns(value, target)[0]
        if names.column(row.column(target)) not in (*names.ANSWERED, *names.CHOSEN, *names.REJECTED):
            value = values.joined(value)  # else the first of several right answers counts
        said = values.as_text(ratings.best(value))
        if isinstance(said, dict) and self._map.layout == "instruction":  # what is to be filled in, or called
            said = json.dumps(said, ensure_ascii=False)
        return without_end(said) if self._has_templates and isinstance(said, str) else said

    def _is_second_better(self, row: _Row) -> bool:
        one, other = (names.column(self._columns[target])[-1] for target in ("chosen", "rejected"))
        if "winner" in self._columns and self._columns["chosen"].endswith("]"):
            if self._first is None:
                winner = self._columns["winner"]
                raise RowError([(winner, tr('"{column}" is always 1, which may be the first answer or the second. Give '
                                            "each answer a column of its own.", column=printable(winner)))])
            one, other = str(self._first), str(self._first + 1)
        return ratings.is_second_better(row.value, self._columns, (one, other))


def _with_system(messages: Any, system: Any) -> Any:
    """A conversation with the system message of its own column in front, unless it has one."""
    if not isinstance(system, str) or not system.strip() or not isinstance(messages, list):
        return messages
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    return messages if first.get("role") == "system" else [{"role": "system", "content": system}, *messages]
