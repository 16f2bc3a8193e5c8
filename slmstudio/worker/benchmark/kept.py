"""A model's answers to lm_eval's requests, kept as they come, and the batches in which they are asked.

lm_eval's own cache hands on only what has no answer yet. After a kill that would be in other batches, with other
padding, and differ in the last bits. Here batches are made of all requests, always the same ones, and a batch counts
as answered only when all of it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Tell = Callable[[int, int, int], None]
"""Called with prompts done, prompts to do, and those that were answered before; raises when the user cancels."""
Group = list[int]
"""Requests, by their numbers, that one prompt answers."""


class Kept:
    """In the file of lm_eval's own cache and under its names, so that an interrupted run continues there.

    Args:
        path: of the file, made where it isn't there; None keeps nothing.
    """

    def __init__(self, path: str | None):
        self._answers: Any = {}
        if path is not None:
            from sqlitedict import SqliteDict

            self._answers = SqliteDict(path, autocommit=True)

    def find(self, kind: str, asked: Iterable[Any]) -> list[Any] | None:
        """The answers to all of them; None if one is missing."""
        found = []
        for each in asked:
            answer = None if _drawn(kind, each) else self._answers.get(_name(kind, each))
            if answer is None:
                return None
            found.append(answer)
        return found

    def keep(self, kind: str, asked: Iterable[Any], answers: Iterable[Any]) -> None:
        for each, answer in zip(asked, answers, strict=True):
            if not _drawn(kind, each):
                self._answers[_name(kind, each)] = answer

    def close(self) -> None:
        if not isinstance(self._answers, dict):
            self._answers.close()


def _drawn(kind: str, asked: Any) -> bool:
    """Whether chance has a part in the answer: then it isn't kept, or all repetitions would be the same."""
    return kind == "generate_until" and bool(asked[1].get("do_sample"))


def _name(kind: str, asked: Any) -> str:
    from lm_eval.api.model import hash_args

    return str(hash_args(kind, asked))


def batches(groups: Iterable[tuple[int, Group]], most: Callable[[int], int]) -> list[list[Group]]:
    """Groups in their order, together.

    Args:
        groups: the length of each prompt, and its requests; the longest first.
        most: how many prompts of a length fit into one batch.
    """
    found: list[list[Group]] = []
    room = 0
    for length, group in groups:
        if room == 0:
            found.append([])
            room = max(1, most(length))  # the first of a batch is its longest
        found[-1].append(group)
        room -= 1
    return found


def answer_all(kept: Kept, kind: str, asked: Sequence[Any], made: Sequence[list[Group]],
               compute: Callable[[list[Group]], list[Any]], tell: Tell) -> list[Any]:
    """The answers to all requests, in their order; each batch is kept as soon as it is there.

    Args:
        kind: lm_eval's name of what is asked.
        made: the batches.
        compute: gives the answers of a batch, in the order of its groups.
    """
    answers: list[Any] = [None] * len(asked)
    left = []
    for batch in made:
        numbers = [number for group in batch for number in group]
        known = kept.find(kind, [asked[number] for number in numbers])
        if known is None:
            left.append((batch, numbers))
        else:
            for number, answer in zip(numbers, known, strict=True):
                answers[number] = answer
    total = sum(len(batch) for batch, _ in left)
    before, done = sum(map(len, made)) - total, 0
    for batch, numbers in left:
        tell(done, total, before)
        found = compute(batch)
        kept.keep(kind, [asked[number] for number in numbers], found)
        for number, answer in zip(numbers, found, strict=True):
            answers[number] = answer
        done += len(batch)
    return answers
