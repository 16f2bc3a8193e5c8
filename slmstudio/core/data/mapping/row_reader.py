"""Reads rows with one set of columns, whose meaning is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.conversations import Findings
from slmstudio.core.data.mapping import choices, made, ratings, tools, values
from slmstudio.core.data.mapping.look import ColumnMap
from slmstudio.core.data.mapping.speakers import are_texts, by_people, by_turns, is_tree
from slmstudio.core.data.mapping.templated import without_end
from slmstudio.core.data.mapping.turns import (
    NotText,
    is_asked,
    is_conversation,
    is_message,
    is_templated,
    messages_of,
    text_of,
    without_greeting,
)
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.rows import Row, RowError, read_row
from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import nnoop, tr

OF_TREE = nnoop("Of the replies in a tree, the best-ranked ones are read as one conversation ({n:,} row).",
                "Of the replies in a tree, the best-ranked ones are read as one conversation ({n:,} rows).")
GREETED = nnoop("What the assistant says before the first question is left out ({n:,} row).",
                "What the assistant says before the first question is left out ({n:,} rows).")
TEMPLATED = nnoop("Text that a chat template wrote is read as a conversation; the chosen model's template writes it "
                  "again ({n:,} row).",
                  "Texts that a chat template wrote are read as conversations; the chosen model's template writes them "
                  "again ({n:,} rows).")
OF_PEOPLE = nnoop("In a conversation of two people, the first one asks and the other one answers ({n:,} row).",
                  "In a conversation of two people, the first one asks and the other one answers ({n:,} rows).")
UNANSWERED = nnoop("A last message without an answer is left out ({n:,} row).",
                   "Last messages without an answer are left out ({n:,} rows).")
"""What is said about rows that were read in a special way, for one such row and for several."""


class RowReader:
    """Reads rows with one set of columns.

    Args:
        first: as `choices.first_place` finds it; of two answers with a winner, as `labels.counted_from`.
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
        self._may_need_pictures = may_need_pictures
        self._names = {target: column for target, column in self._columns.items() if target != column}
        self._beside = tuple(name for name in keys if name not in columns.used)
        self._canonical: Callable[[dict[str, Any], Findings, set[str]], Iterable[dict[str, Any]]] = {
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
            if names.column(name) in names.PICTURES:
                raise RowError([(name, tr("the row has a picture, a sound or a video; models learn only from text "
                                          "here."))])
        if self._is_plain and (row := self._pair(value)) is not None:
            return [row._replace(unused=unused) if unused else row]
        findings: Findings = []
        try:
            canonical = list(self._canonical(value, findings, unused))
        except NotText as error:
            raise RowError([("content", tr('the row has a part of the type "{type}"; models learn only from text here.',
                                           type=error.what))]) from error
        if findings:
            raise RowError(findings)
        found = []
        for each in canonical:
            offered, note = each.pop("tools", ()), each.pop("note", None)
            found.append(read_row(each, self._names)._replace(unused=unused, tools=tuple(offered), note=note))
        return found

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

    def _of(self, value: Mapping[str, Any], target: str) -> Any:
        column = self._columns.get(target)
        return value.get(column) if column is not None else None

    def _asked(self, value: Mapping[str, Any], target: str) -> Any:
        asked = self._of(value, target)
        is_list = isinstance(asked, list) and len(asked) > 1
        return values.asked_of(asked, names.column(self._columns[target])) if is_list else asked

    def _about(self, value: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
        """System message and tools."""
        column = self._columns.get("tools", "")
        about: dict[str, Any] = {"tools": tools.schemas(self._of(value, "tools"), column, findings)}
        system = self._of(value, "system")
        if isinstance(system, (dict, list)):  # Gemini's {"parts": [{"text": …}]}, Anthropic's list of parts
            system = text_of(system.get("parts", system) if isinstance(system, dict) else system)
        if isinstance(system, str):
            system, offered = tools.offered_in(system.removeprefix("SYSTEM: "))
            about["tools"] = [*about["tools"], *offered]
        if system is not None:
            about["system"] = system
        return about

    def _turns(self, value: Any, target: str, findings: Findings, unused: set[str], about: dict[str, Any]) -> list[Any]:
        found, offered = messages_of(value, self._columns.get(target, target), findings, unused)
        about["tools"] = [*about["tools"], *(each for each in offered if each not in about["tools"])]
        return found

    def _messages(self, value: dict[str, Any], findings: Findings, unused: set[str]) -> Iterable[dict[str, Any]]:
        about = self._about(value, findings)
        whole = self._of(value, "messages")
        found = self._turns(whole, "messages", findings, unused, about)
        note = OF_TREE if is_tree(whole) else TEMPLATED if is_templated(whole) else (
            OF_PEOPLE if by_people(whole) else None)
        if self._asks_last(whole, found):
            found, note = found[:-1], UNANSWERED
        if (asked := without_greeting(found)) is not found:
            found, note = asked, GREETED
        yield {"messages": values.with_system(found, about.pop("system", None)), "note": note, **about}

    def _asks_last(self, whole: Any, found: Any) -> bool:
        """Whether a conversation ends with a message that is to be left out, as nobody answers it."""
        if not isinstance(found, list) or len(found) < 2:
            return False
        last = found[-1].get("role") if isinstance(found[-1], dict) else None
        return len(by_turns(whole)) % 2 == 1 or (self._options.unanswered == "drop" and last == "user")

    def _instruction(self, value: dict[str, Any], findings: Findings, unused: set[str]) -> Iterable[dict[str, Any]]:
        about = self._about(value, findings)
        found = self._several(value) or [self._question(value, findings, unused, about)]
        return [{**each, **about} for each in found]

    def _several(self, value: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The questions and answers of a row that holds several, or both in one cell; none of any other row."""
        asked, answer = self._of(value, "instruction"), self._of(value, "output")
        if "cell" in self._columns:
            column = self._columns["cell"]
            found = list(made.questions_in(value.get(column), self._options.between))
            if not found:
                raise RowError([(column, tr('"{column}" holds no question with an answer behind it.',
                                            column=printable(column)))])
            return [{"instruction": question, "output": answer} for question, answer in found]
        if are_texts(asked) and are_texts(answer) and len(asked) == len(answer) > 1:  # each has its answer
            return [{"messages": [{"role": role, "content": text} for pair in zip(asked, answer, strict=True)
                                  for role, text in zip(("user", "assistant"), pair, strict=True)]}]
        return []

    def _question(self, value: Mapping[str, Any], findings: Findings, unused: set[str],
                  about: dict[str, Any]) -> dict[str, Any]:
        question, answer = self._asked(value, "instruction"), self._of(value, "output")
        below = values.passage(self._of(value, "input"))
        if self._map.choices:
            written = choices.written(choices.offered(value, self._map.choices), answer, self._first)
            if written is None:
                raise RowError([(self._columns["output"], tr("the answer isn't one of the choices."))])
            question, below = values.below(values.below(values.as_text(question), below), written[0]), None
            answer = written[1]
        if answer == [] or (isinstance(answer, dict) and answer.get("text") == []):  # as SQuAD's, of one without
            raise RowError([(self._columns["output"],
                             tr("the question has no answer, so there is nothing to learn."))])
        answer = self._answer(answer, "output", findings, unused, about)
        history = self._of(value, "history")
        if is_asked(question) or history:
            turns = [*self._turns(history or [], "history", findings, unused, about),
                     *(self._turns(question, "instruction", findings, unused, about) if is_asked(question)
                       else [{"role": "user", "content": values.as_text(question)}])]
            answer = answer if isinstance(answer, list) else [{"role": "assistant", "content": answer}]
            return {"prompt": values.below_last(turns, below), "completion": answer}
        if isinstance(answer, list):
            return {"prompt": values.below(values.as_text(question), below), "completion": answer}
        return {"instruction": values.as_text(question), "input": values.as_text(below), "output": answer}

    def _answer(self, value: Any, target: str, findings: Findings, unused: set[str], about: dict[str, Any]) -> Any:
        """An answer as text, or as messages where it is more than text."""
        if about["tools"] and tools.is_calls(value):
            calls = tools.calls_of({"tool_calls": value}, None, self._columns.get(target, target), findings)
            return [{"role": "assistant", "content": "", "tool_calls": calls}]
        if isinstance(value, dict) and is_message(value):
            value = [value]
        # A text that answers a question may be a play, or tell how people talk.
        is_plain = isinstance(value, str) and self._map.layout == "instruction" and value[:1] not in ("[", "{", "\n")
        if not is_plain and is_conversation(value):
            return self._turns(value, target, findings, unused, about)
        if names.column(self._columns.get(target, target)) not in (*names.ANSWERED, *names.CHOSEN, *names.REJECTED):
            value = values.joined(value)  # else the first of several right answers counts
        said = values.as_text(ratings.best(value))
        if isinstance(said, dict) and self._map.layout == "instruction":  # what is to be filled in, or called
            said = json.dumps(said, ensure_ascii=False)
        return without_end(said) if self._has_templates and isinstance(said, str) else said

    def _preference(self, value: dict[str, Any], findings: Findings, unused: set[str]) -> Iterable[dict[str, Any]]:
        about = self._about(value, findings)
        prompt = self._asked(value, "prompt")
        if isinstance(prompt, dict) and "tools" in prompt:  # OpenAI's {"input": {"messages": […], "tools": […]}}
            about["tools"] = [*about["tools"], *tools.schemas(prompt["tools"], "tools", findings)]
        row: dict[str, Any] = dict(about)
        if "ranked" in self._columns:
            row["chosen"], row["rejected"] = ratings.best_and_worst(self._of(value, "ranked"), self._columns["ranked"])
        else:
            row |= self._sides(value, findings, unused, about)
            chosen = row["chosen"]
            if prompt is None and isinstance(chosen, list) and isinstance(row["rejected"], str):  # as ms-swift's
                row["prompt"], row["chosen"] = chosen[:-1], chosen[-1:]
        if prompt is not None and prompt != "":
            row["prompt"] = self._prompt(prompt, value, findings, unused, about)
            row["tools"] = about["tools"]
        yield row

    def _prompt(self, prompt: Any, value: Mapping[str, Any], findings: Findings, unused: set[str],
                about: dict[str, Any]) -> Any:
        """What is asked, as text or messages, with what it is about below it."""
        below = self._of(value, "input")
        if is_asked(prompt):
            return values.below_last(self._turns(prompt, "prompt", findings, unused, about), below)
        return values.below(values.as_text(prompt), below)

    def _sides(self, value: Mapping[str, Any], findings: Findings, unused: set[str],
               about: dict[str, Any]) -> dict[str, Any]:
        """The better and the worse answer."""
        pair = [self._answer(self._of(value, target), target, findings, unused, about)
                for target in ("chosen", "rejected")]
        if {"winner", "score_chosen"} & self._columns.keys():
            one, other = (names.column(self._columns[target])[-1] for target in ("chosen", "rejected"))
            if "winner" in self._columns and self._columns["chosen"].endswith("]"):
                if self._first is None:
                    winner = self._columns["winner"]
                    raise RowError([(winner, tr('"{column}" is always 1, which may be the first answer or the second. '
                                                "Give each answer a column of its own.", column=printable(winner)))])
                one, other = str(self._first), str(self._first + 1)
            if ratings.is_second_better(value, self._columns, (one, other)):
                pair.reverse()
        return dict(zip(("chosen", "rejected"), pair, strict=True))

    def _labelled(self, value: dict[str, Any], findings: Findings, unused: set[str]) -> Iterable[dict[str, Any]]:
        about = self._about(value, findings)
        said = self._of(value, "label")
        label = ratings.is_good(said)
        completion = self._answer(self._of(value, "completion"), "completion", findings, unused, about)
        prompt = self._asked(value, "prompt")
        if "prompt" not in self._columns and isinstance(completion, list):
            prompt, completion = completion[:-1], completion[-1:]
            first = prompt[0] if prompt and isinstance(prompt[0], dict) else {}
            if first.get("role") == "system" and about.get("system") is None:
                about.pop("system", None)
        else:
            prompt = self._prompt(prompt, value, findings, unused, about)
        yield {"prompt": prompt, "completion": completion, "label": said if label is None else label, **about}

    def _text(self, value: dict[str, Any], _findings: Findings, _unused: set[str]) -> Iterable[dict[str, Any]]:
        yield {"text": values.as_text(values.joined(self._of(value, "text")))}
