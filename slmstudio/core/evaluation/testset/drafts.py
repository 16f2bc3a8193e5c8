"""Collects the rows of a test set, and settles what only the file as a whole can tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from slmstudio.core.data.column_names import column
from slmstudio.core.data.rows import RowError
from slmstudio.core.data.strict_json import printable
from slmstudio.core.errors import Problem
from slmstudio.core.evaluation.testset import known_layouts, multiple_choice
from slmstudio.core.evaluation.testset.item import TestItem
from slmstudio.core.evaluation.testset.languages import LATIN
from slmstudio.core.evaluation.testset.passages import SURE
from slmstudio.core.evaluation.testset.row_kinds import Draft, is_number, read_test_row, tells_test
from slmstudio.core.evaluation.testset.unused_columns import UnusedColumns

NUMBERS_SHARE = 0.9
"""A file of which so many free answers are bare numbers is one of numbers."""


class Drafts:
    """The rows of one file.

    Attributes:
        problems: what is wrong with rows, in the order it was found.
        kinds: how many items there are of each kind; known after `finish`.
        notes: sentences on how the file was understood, of whoever reads it.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.kinds: Counter[str] = Counter()
        self.notes: list[str] = []
        self._unused = UnusedColumns()
        self._passages: dict[str, None] = {}
        self._no_choices: set[int] = set()
        self._were_choices = 0
        self._drafts: list[tuple[Draft, int]] = []
        self._sentences: dict[str, str] = {}

    def add(self, value: Any, line: int, as_learned: Callable[[Any], list[Any]] = lambda value: []) -> None:
        """Take a row.

        Args:
            as_learned: the rows that training would make of one whose columns tell no test, in plain columns.
        """
        try:
            draft = read_test_row(value)
        except RowError as error:
            learned = [] if tells_test(value) else as_learned(value)
            for each in learned:
                self.add(each, line)
            for key, sentence in error.findings if not learned else ():
                self._complain(sentence, line, key)
        else:
            self._drafts.append((draft, line))
            self._unused.add(value, draft)
            if known_layouts.has_doubtful(value):
                self._were_choices += draft.choice is not None
                self._no_choices.update([len(self._drafts) - 1] if draft.choice is None else [])
            if draft.passage not in ("", "input", *SURE):
                self._passages[next(name for name in value if column(name) == draft.passage)] = None

    def finish(self) -> tuple[list[TestItem], list[Problem], tuple[str, ...]]:
        """The items; everything that is wrong, by line; and how the file was understood where that is not plain.

        Where no row is usable, the rows with the same fault are one problem.
        """
        counting = _Counting([draft.choice for draft, _ in self._drafts if draft.choice])
        numbers, english = self._are_numbers(), self._is_english()
        items: list[TestItem] = []
        # What are choices in most rows are choices in the others, of which the answer is none of them.
        wrong = self._no_choices if self._were_choices > len(self._no_choices) else set()
        for at, (draft, line) in enumerate(self._drafts):
            if at in wrong:
                self._complain("the answer is none of the choices.", line, "answer")
                continue
            answer = counting.answer(draft.choice) if draft.choice else None
            if isinstance(answer, str):
                self._complain(answer, line, "answer")
                continue
            kind = "number" if numbers and draft.kind == "free" and not draft.told else draft.kind
            choices = draft.choice.choices if draft.choice else None
            references = (choices[answer],) if choices and answer is not None else draft.references
            language = "en" if english and draft.guessed and draft.language == LATIN else draft.language
            items.append(TestItem(len(items), line, kind, draft.messages, references, choices, answer, draft.pattern,
                                  draft.category, language, draft.guessed, below=draft.below, tools=draft.tools,
                                  reply=draft.reply))
        self.kinds = self.kinds_of(items)
        self._drafts.clear()
        problems = sorted(self.problems, key=lambda problem: problem.line or 0)
        notes = (*self.notes, *counting.notes(), *self._passage_note(), *self._unused.notes())
        return items, problems if items else _gathered(problems), notes

    @staticmethod
    def kinds_of(items: list[TestItem]) -> Counter[str]:
        """How many items there are of each kind."""
        return Counter(item.kind for item in items)

    def _passage_note(self) -> tuple[str, ...]:
        names = ", ".join(f'"{printable(name)}"' for name in self._passages)
        what = "column" if len(self._passages) == 1 else "columns"
        return (f"The text of the {what} {names} is asked below the question, as its passage.",) if names else ()

    def _are_numbers(self) -> bool:
        free = [draft for draft, _ in self._drafts if draft.kind == "free" and not draft.told]
        return bool(free) and sum(all(map(is_number, draft.references)) for draft in free) >= NUMBERS_SHARE * len(free)

    def _is_english(self) -> bool:
        """Whether most rows in Latin letters have English's little words: then those without are English too."""
        latin = Counter(draft.language for draft, _ in self._drafts if draft.guessed)
        return latin["en"] > 2 * latin[LATIN]

    def _complain(self, sentence: str, line: int, key: str) -> None:
        # 100,000 rows with one mistake share one sentence.
        self.problems.append(Problem(self._sentences.setdefault(sentence, sentence), line, field=key or None))


def _gathered(problems: list[Problem]) -> list[Problem]:
    """One problem for all rows with the same fault, with the lines of the first and the last."""
    lines: dict[tuple[str, str | None], list[Problem]] = {}
    for problem in problems:
        lines.setdefault((problem.message, problem.field), []).append(problem)
    gathered = []
    for (message, field), same in lines.items():
        if len(same) > 1:
            message = f"{message[:-1]} ({len(same):,} rows are like this, lines {same[0].line:,} to {same[-1].line:,})."
        gathered.append(Problem(message, same[0].line, same[0].column, field))
    return gathered


class _Counting:
    """How the file's answers count its choices: from 0, as Hugging Face's datasets do, or from 1.

    A row alone cannot tell. From 0 there may be 0 and never the number of a row's choices; from 1 it is the other way
    round. A file with both is one with mistakes in it, or two files that were put together.
    """

    CLEAR = 3
    """So many times as many rows of one sort: then the few of the other are mistakes."""
    MANY = 20
    RARE = 0.03
    """Where no answer is 0: of so many rows, a smaller share with the number of all choices is one of mistakes. In a
    file that counts from 1, one row in four or so has it."""

    def __init__(self, choices: list[multiple_choice.Choice]):
        plain = [choice for choice in choices if choice.said == "index"]
        either = [choice for choice in choices if choice.said == "either"]
        texts, letters = (any(choice.said == said for choice in choices) for said in ("text", "letter"))
        # A number that is one choice's text and another's index: as the file's other rows are.
        self._by_index = bool(plain) and not texts
        self._by_text = texts and not plain
        self._by_letter = letters if letters != texts else None
        numbers = plain + (either if self._by_index else [])
        zeros = sum(choice.answer == 0 for choice in numbers)
        lasts = sum(choice.answer == len(choice.choices) for choice in numbers)
        self._first: int | None = None
        self._is_rare = not zeros and 0 < lasts < self.RARE * len(numbers) and len(numbers) >= self.MANY and any(
            choice.first == 0 for choice in numbers)
        if (zeros or lasts) and not self._is_rare:
            self._first = 1 if lasts >= self.CLEAR * zeros else 0 if zeros >= self.CLEAR * lasts else None
        self._is_mixed = bool(zeros and lasts) and self._first is None
        self._is_told = all(choice.first == self._first for choice in numbers)
        self._assumed = {choice.first for choice in numbers} if self._first is None and not self._is_mixed else set()
        self._zeros = zeros

    def answer(self, choice: multiple_choice.Choice) -> int | str:
        """The index of the right choice from 0, or what is wrong."""
        if choice.said == "sign" and choice.by_text is not None:
            return self._sign(choice.answer, choice.by_text)
        if choice.said in ("letter", "text"):
            return choice.answer
        first = choice.first if self._first is None else self._first
        index = choice.answer - first
        if choice.said == "either" and not self._by_index and choice.by_text is not None:
            if self._by_text or (choice.by_text == index and not self._is_mixed):
                return choice.by_text
            letter = multiple_choice.LETTERS[choice.by_text]
            return (f"the answer {choice.answer} may be the text of choice {letter} or the index of another; "
                    "write the letter instead.")
        if self._is_mixed:
            return ("some answers count the choices from 0 and some from 1: there is 0, and there is the number of all "
                    "choices; write letters instead.")
        last = len(choice.choices) - 1
        return index if 0 <= index <= last else (
            f"the answer {choice.answer} is outside the choices, which count from {first} to {first + last}.")

    def _sign(self, by_letter: int, by_text: int) -> int | str:
        if self._by_letter is not None or by_letter == by_text:
            return by_letter if self._by_letter else by_text
        letter = multiple_choice.LETTERS[by_letter]
        return (f"the answer {letter} may be the letter of a choice or the text of choice "
                f'{multiple_choice.LETTERS[by_text]}; write the choices as {{"A": …, "B": …}} instead.')

    def notes(self) -> tuple[str, ...]:
        if self._first == 1 and not (self._is_told and not self._zeros):
            return ("The answers count the choices from 1: " + (
                "the number of the last one is far more frequent than 0." if self._zeros else "none is 0."),)
        sentences = {0: "from 0; if they count from 1, write letters instead.",
                     1: "from 1, as their columns do; if they count from 0, write letters instead."}
        which = "and hardly one" if self._is_rare else "or"
        return tuple(f"No answer is 0 {which} the number of all choices; they were read as counting {sentences[first]}"
                     for first in sorted(self._assumed))
