"""Which column of a row holds what, by the names of the columns and by what is in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.candidates import Evidence
from slmstudio.core.data.mapping import choices, pairs, unclear, values
from slmstudio.core.data.mapping.look import ColumnMap, Look, needed
from slmstudio.core.data.mapping.nested import are_pairs, are_texts, by_turns
from slmstudio.core.data.mapping.turns import is_conversation

_SURE = (("preference", ("chosen", "rejected")), ("messages", ("messages",)),
         ("instruction", ("instruction", "output")), ("instruction", ("prompt", "completion")),
         ("instruction", ("question", "answer")), ("text", ("text",)))
_EXAMPLES = ("instances", "examples", "demonstrations", "few_shot", "fewshot")
"""Columns with questions and answers that aren't conversations."""
KINDS = ("label", "labels", "class", "category", "sentiment", "intent", "emotion", "topic", "label_text", "stars",
         "polarity", "rating")
"""Columns with the class of a text."""
_SURE_KINDS = frozenset(KINDS) - {"category", "topic", "rating"}
_REMARKS = ("comment", "comments", "review", "reviews", "review_text")
"""Columns that may be said about a row, or be the text that is sorted."""
_OF_KIND = frozenset({"confidence", "score", "source", "id", "count", "length", "date", "gold", "text"})
"""Words in the name of a column that says something about the class."""
_IDS = frozenset({"id", "idx", "index", "uuid", "guid"})
_CLAIMS = ("claim", "statement")
_OF_TEXT = ("question", "query", *_CLAIMS, "hypothesis")
"""Columns with what is judged by a text; the class answers it."""
_SQL = re.compile(r"\s*(?:select|with|insert|update|delete|create)\b", re.IGNORECASE)
_TAGS = re.compile(r"(?:(?:[BIESLU]-\S+|O)(?:\s+|$))+")
"""The classes of all words of a text, such as "O B-city"."""
_NUMBER = re.compile(r"\s*[-+]?[\d.,:/% -]+\s*")
"""A number, a time, or a date."""


def guess(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], by_look: bool = True) -> ColumnMap | None:
    """What the columns hold; None if that isn't clear.

    Args:
        columns: their names, in order.
        rows: some rows with them; the more, the surer.
        by_look: whether columns without a telling name are taken for what they look like.
    """
    return _Guess(columns, rows, by_look).guess()


class _Guess(Look):
    """What some rows look like."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], by_look: bool):
        super().__init__(columns, rows)
        self._may_look = by_look

    def guess(self) -> ColumnMap | None:
        if (found := pairs.look_at(self) or self._conversation()) is not None:
            return found
        if (compared := unclear.compared(self.by_name)) is not None:
            return self._classified(*compared)
        if unclear.is_message(self.by_name, self.values) or unclear.are_rivals(self.columns, self.values):
            return None
        if (chosen := choices.look_at(self)) is not None:
            return chosen
        for look in (self._asked, self._plain, self._by_look, self._by_names):
            if (found := look()) is not None:
                return found
        return None

    def _classified(self, one: str, other: str, kind: str) -> ColumnMap | None:
        """Two texts and how they compare in words, which is asked for; numbers for it say nothing to a model."""
        if not self._is_class(kind) or all(map(_NUMBER.fullmatch, self.values(kind))):
            return None
        return self.map("instruction", instruction=one, input=other, output=kind)

    # -- one answer ------------------------------------------------------------------------------------------

    def _conversation(self) -> ColumnMap | None:
        named = [self.by_name[word] for word in names.CONVERSATION if word in self.by_name]
        twins = unclear.twins(self.columns)
        found = next((column for column in (*named, *self.columns) if column not in twins and self._is_conversation(
            column, column in named) and names.column(column) not in _EXAMPLES), "")
        paired = [] if found else [column for column in self.columns
                                   if (said := self.values(column)) and all(map(are_pairs, said))]
        if len(paired) == 1:  # as IndicAlign's; several are the same in several languages
            found = paired[0]
        if not found:
            return None
        answer = self.first((word for word in names.ANSWERED if word != "chosen"), (found,))
        if answer and self.is_prompt(found):
            calls = self.values(answer)
            if all(isinstance(value, (str, dict, list)) for value in calls):
                return self._answered(found, answer)
        if found not in named and answer:
            return None  # a "prompt" of messages beside its completion
        label = self.label((found,))
        if label:
            return self.map("labelled", completion=found, label=label)
        return self.map("messages", messages=found)

    def _is_conversation(self, column: str, is_named: bool) -> bool:
        values = self.values(column)
        if names.column(column) == "turns" and "question_id" in self.by_name:  # as MT-Bench's, which are all questions
            return False
        if names.column(column) in names.ANSWERED and self.first(names.ASKED, (column,)) and all(
                isinstance(value, str) and value[:1] not in ("[", "{", "\n") for value in values):
            return False  # a play, or how people talk
        if is_named and values and all(isinstance(value, list) and value and all(isinstance(each, str) or (
                isinstance(each, list) and len(each) == 2) for each in value) for value in values):
            return True
        if names.column(column) in names.DIALOGUE and values and all(
                by_turns(value) and isinstance(value[0], dict) for value in values):
            return True
        return bool(values) and sum(map(is_conversation, values)) * 2 > len(values)

    def _asked(self) -> ColumnMap | None:
        if self._are_tickets():
            return None
        answer = self._query() or self.first(names.ANSWERED) or self._thought_out()
        # Beside another answer than its translation, a source is where the row is from.
        sources = () if names.column(answer).startswith(("target", "tgt", "translation")) else names.SOURCES
        asked = [word for word in names.ASKED if word not in sources]
        question, may_name = self.first(asked, (answer, *self._names())), self.first(asked, (answer,))
        if not answer:
            if not question and may_name and not unclear.are_words(self.values(may_name)):
                question = may_name
            return self._answer_unknown(question) if question else None
        answer = self._worked(answer)
        return self._answered(question, answer) if question else self._asked_otherwise(answer, may_name)

    def _asked_otherwise(self, answer: str, may_name: str) -> ColumnMap | None:
        """An answer, and the best of the columns that may hold its question.

        Args:
            may_name: a column that is called as questions are, but may name a task, or who asked; or "".
        """
        is_reply = not names.REPLIES.isdisjoint({names.column(answer)} | names.words_in(answer))
        without = (answer, may_name)
        is_sure = names.column(answer) not in names.WEAK_ANSWERS and all(
            isinstance(values.as_text(value), str) for value in self.values(answer))
        is_name = not may_name or (unclear.are_words(said := self.values(may_name)) and (
            unclear.are_classes(said) or names.column(may_name) not in names.SOURCES))  # words are translated
        if is_name and is_reply and (head := self.first(names.HEADS, (*without, *self._names()))):
            return self._answered(head, answer, self.first(names.DETAILS, (head, answer)))
        question = ""
        if is_name and (is_sure or names.column(answer) == "code"):  # what is below a question doesn't replace it
            question = self.first((word for word in names.DETAILS if not may_name or word not in names.BELOW), without)
        question = question or may_name
        if not question and is_sure:
            others = self._told(self._texts((answer,)), 1)
            before = self.first(names.HISTORY, (answer,))
            question = others[0] if len(others) == 1 else before if before and self._is_list(before) else ""
        if not question and is_reply and (head := self.first(names.HEADS, without)) and (
                unclear.are_words(self.values(head)) and not unclear.are_classes(self.values(head))):
            question = head
        return self._answered(question, answer) if question else None

    def _are_tickets(self) -> bool:
        """Whether rows say what became of a ticket, as Jira's "Fixed", and not what was answered."""
        state = self.by_name.get("resolution", "")
        return bool(state) and unclear.is_state(self.values(state))

    def _names(self) -> list[str]:
        """Columns that may hold a question by what they are called, or name something: a task, who asked."""
        return [column for column in self.columns if names.column(column) in (*names.NAMES, *names.HEADS)
                and unclear.are_names(self.values(column))]

    def _query(self) -> str:
        """The column "query" beside a question where it holds SQL, as in Spider."""
        query = self.by_name.get("query", "")
        return query if query and "question" in self.by_name and self.is_text(query) and all(
            map(_SQL.match, self.values(query))) else ""

    def _thought_out(self) -> str:
        """A text beside the thoughts that led to it, as in DeepSeek's messages."""
        is_asked = bool(self.first(("input", *names.ASKED)))
        return self.first(("content", "text")) if is_asked and any(map(names.holds_thoughts, self.columns)) else ""

    def _worked(self, answer: str) -> str:
        """The column with the way to the answer, where there is one beside it that holds the result alone, as the sets
        LIMO and OpenMathInstruct have both."""
        worked = self.first(names.WORKED, (answer,))
        if not worked or names.column(answer) in names.WORKED or not self.is_text(worked):
            return answer
        lengths = [sum(map(len, map(str, self.values(column)))) / (len(self.values(column)) or 1)
                   for column in (answer, worked)]
        return worked if lengths[1] > 2 * lengths[0] else answer

    def _answer_unknown(self, question: str) -> ColumnMap | None:
        """A question beside the only other text of the table, which then is its answer."""
        others = self._told(self._texts((question,)), 1)
        if len(others) != 1 or others[0] in self._names() or names.column(others[0]) in (
                *names.BELOW, *names.TEXT, "source") or (unclear.hold_more(self.columns, others, self.values)):
            return None
        if self._is_title(others[0], question):
            return None
        return self._answered(question, others[0])

    def _is_title(self, text: str, question: str) -> bool:
        """Whether a text in front of a question is its title, as the roles of a collection of prompts are."""
        return names.column(question) in names.ASKED and (
            self.columns.index(text) < self.columns.index(question)) and unclear.are_heads(
                self.values(text), self.values(question))

    def _answered(self, question: str, answer: str, below: str = "") -> ColumnMap:
        label = "" if names.column(answer) in KINDS else self.label((question, answer))  # the number of a class, then
        below = below or self._same_form(question) or self.first(names.BELOW, (question, answer))
        if below and not all(isinstance(values.passage(value), str) for value in self.values(below)):
            below = ""
        frame = self.first(names.FRAMES, (question, answer))
        if frame and not below and names.column(question) in names.BELOW:
            question, below = frame, question
        if label:
            return self.map("labelled", prompt=question, completion=answer, label=label, input=below)
        history = self.first(names.HISTORY, (question, answer))
        return self.map("instruction", instruction=question, input=below, output=answer,
                        history=history if history and self._is_list(history) else "")

    def _same_form(self, question: str) -> str:
        """The column with what a question is about that is called as the question's is but for one word, such as
        "hindi_input" beside "hindi_instruction"; "" if there is none."""
        name = names.column(question)
        words = [word for word in names.words_in(question) if word != name and word in name]
        return self.first(name.replace(word, below) for word in words for below in ("input", "context", "passage"))

    def _is_list(self, column: str) -> bool:
        return all(isinstance(value, list) for value in self.values(column))

    # -- by look ---------------------------------------------------------------------------------------------

    def _plain(self) -> ColumnMap | None:
        """One column of text; or a text and its class, which is the answer."""
        parts = self.by_name.get("segments", "")
        if parts and all(map(values.are_segments, self.values(parts))):
            return ColumnMap("text", {"text": parts})
        found = self.first(names.TEXT)
        if not found and (said := self.first((*_CLAIMS, *_REMARKS))) and self.is_text(said):  # as FEVER's
            return self._sorted(said)
        if not found or not self.is_text(found):
            return None
        return self._sorted(found) or (None if self._has_marks() else ColumnMap("text", {"text": found}))

    def _has_marks(self) -> bool:
        """Whether words of a text are marked, for a tagger: as plain text, the rows would teach something else."""
        return any(isinstance(value, list) for word in names.MARKS if word in self.by_name
                   for value in self.values(self.by_name[word])) or any(
                       all(isinstance(value := row.get(column), str) and _TAGS.fullmatch(value) for row in self.rows)
                       for column in self.columns)

    def _sorted(self, text: str) -> ColumnMap | None:
        """A text with its class, in words or numbers; None if there is none."""
        kind = self.first(KINDS, (text,)) or self._kind_by_last_word(text)
        is_sure = bool(_SURE_KINDS & set(names.column(kind).split("_"))) or names.column(text) in _REMARKS
        if not kind or not (
                (self._is_class(kind) and (is_sure or (
                    len(self.columns) == 2 and unclear.are_sorted(self.values(text), self.values(kind)))))
                or (is_sure and unclear.are_classes(self.values(kind)) and unclear.are_numbers(self.values(kind)))):
            return None
        asked = self.first(_OF_TEXT, (text, kind))  # of the text, as in QNLI and BoolQ
        if asked and self.is_text(asked) and not unclear.are_same(self.values(asked)):
            return self.map("instruction", instruction=asked, input=text, output=kind)
        if names.column(text) in _CLAIMS:
            return self._answered(text, kind)
        head = self.first(names.HEADS, (text, kind))  # as DBpedia's
        if head and self.is_text(head) and not unclear.are_names(self.values(head)):
            return self.map("instruction", instruction=head, input=text, output=kind)
        return self.map("instruction", instruction=text, output=kind)

    def _kind_by_last_word(self, text: str) -> str:
        """The column of classes under a longer name, such as "airline_sentiment". Beside others than an id and how sure
        it is, it may be said about the text, as its quality is, and what to learn is the text alone."""
        for column in self.columns:
            name = names.column(column)
            words = name.removesuffix("_index").split("_")
            if column != text and words[-1] in _SURE_KINDS - {"stars"} and not _OF_KIND & set(words) and (
                    unclear.are_classes(self.values(column))):
                others = {each for each in map(names.column, self.columns) if each.split("_")[-1] not in _IDS
                          and each not in names.HEADS} | {name}
                return column if f"{name}_confidence" in others or others == {name, names.column(text)} else ""
        return ""

    def _is_class(self, column: str) -> bool:
        values = self.values(column)
        return bool(values) and all(
            (isinstance(value, str) and len(value) <= 60) or (are_texts(value) and len(value) == 1)  # as doccano's
            for value in values)

    def _by_look(self) -> ColumnMap | None:
        every = self._texts()
        texts = self._told(every, 2)
        is_unclear = unclear.hold_more(self.columns, texts, self.values, of_register=len(every) > 2)
        if len(texts) == 1 and (found := self._sorted(texts[0])) is not None:
            return found
        if len(texts) == 2 and all(text.rstrip().endswith(("?", "？", "؟")) for text in texts):
            return None  # what a form asks: below it are answers
        if len(texts) == 2:
            found = self._answered(*unclear.in_order(texts[0], texts[1], self.values))
            is_same = any(unclear.are_same(self.values(text)) for text in texts) or self._is_title(*texts)
            if len(every) > 2:  # told by their sentences, unless another column changes what is learned
                others = set(map(names.column, set(self.columns) - found.used))
                is_unclear |= self._are_tickets() or bool(others & names.CHANGES)
                return None if is_unclear or found.layout != "instruction" else replace(
                    found, by_look=True, certainty=0.5, evidence=tuple(
                        Evidence("by_sentences", {"column": column}) for column in found.columns.values()))
            return None if (is_unclear or is_same) and found.layout == "instruction" else found
        if is_unclear or self._has_marks():
            return None
        if len(texts) != 1 or unclear.are_words(self.values(texts[0])) or names.column(texts[0]) in (
                *names.ASKED, *names.ANSWERED, *names.CHOSEN, *names.REJECTED, *names.CONVERSATION):
            return None
        return ColumnMap("text", {"text": texts[0]})

    def _by_names(self) -> ColumnMap | None:
        """By names that can mean nothing else, whatever is in the columns: then what is wrong there can be said."""
        for layout, wanted in _SURE:
            if set(wanted) <= set(self.columns) and not (layout == "text" and self._has_marks()):
                return self.map(layout, **dict(zip(needed(layout) if len(wanted) == len(needed(layout)) else (
                    "prompt", *needed(layout)), wanted, strict=True)))
        return None

    def _told(self, texts: list[str], wanted: int) -> list[str]:
        """Columns of text; if there are more than wanted, those with sentences, provided that their number is right."""
        said = (column for column in texts if not names.is_about(column)
                and unclear.are_sentences(self.values(column), len(self.rows)))
        found = list(islice(said, wanted + 1)) if len(texts) > wanted else []
        return found if len(found) == wanted else texts

    def _texts(self, without: tuple[str, ...] = ()) -> list[str]:
        """Columns of text that are none of those that are beside question and answer: numbers, names, dates. Beside
        single words, what may be a name is one of them."""
        found: list[str] = []
        if not self._may_look:
            return found
        for column in self.columns:
            values = self.values(column)
            if column in without or names.column(column) in (*names.BESIDE, *choices.LISTED) or not values or (
                    not self.is_text(column)):
                continue
            if not all(map(_NUMBER.fullmatch, values)):
                found.append(column)
        may_name = self._names()
        sure = [column for column in found if column not in may_name]
        return found if all(unclear.are_words(self.values(column)) for column in sure) else sure

