"""Collects the rows of a test set, and settles what only the file as a whole can tell."""

from __future__ import annotations

from collections import Counter
from typing import Any

from slmstudio.core.data.rows import RowError
from slmstudio.core.errors import Problem
from slmstudio.core.evaluation import test_choices
from slmstudio.core.evaluation.languages import LATIN
from slmstudio.core.evaluation.test_item import TestItem
from slmstudio.core.evaluation.test_row_kinds import Draft, is_number, read_test_row

NUMBERS_SHARE = 0.9
"""A file of which so many free answers are bare numbers is one of numbers."""


class Drafts:
    """The rows of one file.

    Attributes:
        problems: what is wrong with rows, in the order it was found.
        kinds: how many items there are of each kind; known after `finish`.
    """

    def __init__(self, may_repeat: bool = False) -> None:
        self.problems: list[Problem] = []
        self.kinds: Counter[str] = Counter()
        self._may_repeat = may_repeat
        self._drafts: list[tuple[Draft, int]] = []
        self._sentences: dict[str, str] = {}

    def add(self, value: Any, line: int) -> None:
        """Take a row."""
        try:
            self._drafts.append((read_test_row(value, self._may_repeat), line))
        except RowError as error:
            for key, sentence in error.findings:
                self._complain(sentence, line, key)

    def finish(self) -> tuple[list[TestItem], list[Problem], tuple[str, ...]]:
        """The items; everything that is wrong, by line; and how the file was understood where that is not plain.

        Where no row is usable, the rows with the same fault are one problem.
        """
        counting = _Counting([draft.choice for draft, _ in self._drafts if draft.choice])
        numbers, english = self._are_numbers(), self._is_english()
        items: list[TestItem] = []
        for draft, line in self._drafts:
            answer = counting.answer(draft.choice) if draft.choice else None
            if isinstance(answer, str):
                self._complain(answer, line, "answer")
                continue
            kind = "number" if numbers and draft.kind == "free" and not draft.told else draft.kind
            choices = draft.choice.choices if draft.choice else None
            references = (choices[answer],) if choices and answer is not None else draft.references
            language = "en" if english and draft.guessed and draft.language == LATIN else draft.language
            items.append(TestItem(len(items), line, kind, draft.messages, references, choices, answer, draft.pattern,
                                  draft.category, language, draft.guessed))
        self.kinds = self.kinds_of(items)
        self._drafts.clear()
        problems = sorted(self.problems, key=lambda problem: problem.line or 0)
        return items, problems if items else _gathered(problems), counting.notes()

    @staticmethod
    def kinds_of(items: list[TestItem]) -> Counter[str]:
        """How many items there are of each kind."""
        return Counter(item.kind for item in items)

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

    A row alone cannot tell. A file counts from 1 where none of many rows has 0 and each number from 1 to the last
    choice occurs: answers from 0 never reach that number.
    """

    def __init__(self, choices: list[test_choices.Choice]):
        plain = [choice for choice in choices if choice.said == "index"]
        either = [choice for choice in choices if choice.said == "either"]
        texts = sum(choice.said == "text" for choice in choices)
        # A number that is one choice's text and another's index: as the file's other rows are.
        self._by_index = bool(plain) and not texts
        self._by_text = bool(texts) and not plain
        numbers = plain + (either if self._by_index else [])
        seen = {choice.answer for choice in numbers}
        largest = max((len(choice.choices) for choice in numbers), default=0)
        self.from_one = len(numbers) >= 2 * largest > 0 and 0 not in seen and set(range(1, largest + 1)) <= seen

    def answer(self, choice: test_choices.Choice) -> int | str:
        """The index of the right choice from 0, or what is wrong."""
        if choice.said not in ("index", "either"):
            return choice.answer
        if choice.said == "either" and self._by_text and choice.by_text is not None:
            return choice.by_text
        number, last = choice.answer, len(choice.choices) - 1
        if choice.said == "either" and not self._by_index:
            letter = test_choices.LETTERS[choice.by_text or 0]
            return (f"the answer {number} may be the text of choice {letter} or the index of another; "
                    "write the letter instead.")
        index = number - 1 if self.from_one else number
        if 0 <= index <= last:
            return index
        first, last = (1, last + 1) if self.from_one else (0, last)
        return f"the answer {number} is outside the choices, which count from {first} to {last}."

    def notes(self) -> tuple[str, ...]:
        return ("The answers count the choices from 1: none is 0.",) if self.from_one else ()
