"""What each model chose at each question of a benchmark: benchmark-rows.jsonl, from what gave the scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core import files
from slmstudio.core.evaluation.benchmark_rows import FILE
from slmstudio.worker.benchmark.tasks import Tasks

Samples = Mapping[str, list[dict[str, Any]]]
"""Task: its questions, as `benchmark.samples` has them."""


def write(folder: Path, tasks: Tasks, loaded: Mapping[str, Any], right: Mapping[str, dict[str, dict[int, float]]],
          given: Mapping[str, Samples]) -> None:
    """Write the rows, whole or not at all.

    Args:
        loaded: lm_eval's tasks, by name.
        right: model: subject: question: its score, 0 to 1.
        given: model: what it was scored by.
    """
    lines = [files.dump_line({"id": number, **row}) for number, row in enumerate(_rows(tasks, loaded, right, given))]
    files.write_atomically(folder / FILE, b"".join(lines))


def _rows(tasks: Tasks, loaded: Mapping[str, Any], right: Mapping[str, dict[str, dict[int, float]]],
          given: Mapping[str, Samples]) -> Iterator[dict[str, Any]]:
    for name in tasks.names:
        task, subject = loaded[name], tasks.subjects.get(name, name)
        questions = task.eval_docs
        scores = {model: by_subject.get(subject, {}) for model, by_subject in right.items()}
        answers = {model: _by_question(samples.get(name, []), tasks.filter) for model, samples in given.items()}
        for number in sorted(set().union(*scores.values())):
            asked = _Asked(task, questions[number], tasks.metric)
            there = [model for model in scores if number in scores[model] and number in answers[model]]
            yield {"subject": subject, "question": asked.text, "choices": asked.choices, "right": asked.right,
                   "answers": {model: asked.chosen(answers[model][number]) for model in there},
                   "scores": {model: scores[model][number] for model in there}}


def _by_question(samples: list[dict[str, Any]], wanted: str | None) -> dict[int, list[Any]]:
    """What was answered to each question, read in the way that counts."""
    return {int(each["doc_id"]): each["answers"] for each in samples
            if wanted is None or each.get("filter") in (wanted, None)}


class _Asked:
    """One question as people read it, without the examples before it.

    Attributes:
        choices: empty if the answer is written.
        right: each right answer.
    """

    def __init__(self, task: Any, doc: Any, metric: str):
        self._by_length, self._kind = metric == "acc_norm", str(task.OUTPUT_TYPE)
        text = task.doc_to_text(doc)
        target = task.doc_to_target(doc)
        with_choices = task.get_config("doc_to_choice") is not None
        self._texts = [str(each) for each in task.doc_to_choice(doc)] if with_choices else []
        if isinstance(text, int):  # the choices are the beginnings of one sentence
            text, target = f"… {target}", text
        self.text = str(text)
        self.choices = [_with_its_text(each, self.text) for each in self._texts]
        self.right = [self._named(each) for each in (target if isinstance(target, list) else [target])]

    def _named(self, target: Any) -> str:
        if isinstance(target, int) and 0 <= target < len(self.choices):
            return self.choices[target]
        return self.choices[self._texts.index(target)] if target in self._texts else str(target)

    def chosen(self, answers: list[Any]) -> str:
        """What the score was given for: the likeliest choice, by length where the score is; or the text."""
        if self._kind != "multiple_choice":
            first: Any = answers
            while isinstance(first, list) and first:
                first = first[0]
            return first if isinstance(first, str) else ""
        likely = np.array([float(each[0]) for each in answers[:len(self._texts)]])
        if self._by_length:
            likely = likely / np.array([float(len(each)) for each in self._texts])
        return self.choices[int(np.argmax(likely))]


def _with_its_text(choice: str, question: str) -> str:
    """A choice that is a letter alone, with what comes after it in the question: "B. Mumbai"."""
    if len(choice) != 1 or not choice.isalnum():
        return choice
    found = re.search(rf"^\(?{re.escape(choice)}[.):]\s*\S.*$", question, re.MULTILINE)
    return found[0].strip() if found else choice
