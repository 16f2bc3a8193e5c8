"""What a model still knows in general: a small fixed set of questions in English and Hindi, asked before and after.

Accuracy on a user's own rows can be paid for by forgetting, which those rows don't show. Each of a question's four
choices is scored as an answer (`choices_by`), which takes seconds and says something about small models too. How sure a
model is of the right choice among the four decides, since 48 questions of right or wrong show only the largest losses;
what is told are the counts of right answers. `docs/decisions` says what was measured.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import files, paths
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.statistics import compare
from slmstudio.core.evaluation.scores.verdicts import rounded
from slmstudio.core.files import an_object, finite, objects
from slmstudio.core.i18n import tr

KEY = "general"
"""Of a request: whether the questions are asked; of scores.json: what came of them."""
BASE, TUNED = "base", "tuned"
LEVEL = 0.01
"""p below which a model has forgotten: every run is tested, and a false alarm sends people off to train again."""
NATS = METRICS["loss"]
"""Of the right choice among the four; ln 4 of a model that guesses."""


@functools.cache
def questions() -> list[dict[str, Any]]:
    """The questions as items of a test set."""
    lines = (paths.resources() / "benchmarks" / "general.jsonl").read_text("utf-8").splitlines()
    return [_item(number, json.loads(line)) for number, line in enumerate(lines)]


def _item(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": number, "line": number + 1, "kind": "choice", "choices_by": "text",
            "messages": [{"role": "user", "content": row["question"]}], "choices": row["choices"],
            "answer": row["answer"], "references": [row["choices"][row["answer"]]], "language": row["language"]}


def answers_file(model: int) -> str:
    """The file in the job's folder with what the request's model of this number answered."""
    return f"general-{model}.jsonl"


def asked(request: Mapping[str, Any]) -> list[int]:
    """Numbers of the request's models that are asked: the base and the tuned model of a run, unless that is switched
    off."""
    names = [model.get("name") for model in objects(request.get("models"))]
    return [names.index(name) for name in (BASE, TUNED)] if request.get(KEY) and {BASE, TUNED} <= {*names} else []


def score(folder: Path, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """What scores.json says of the questions that both models answered; None where there are none.

    Returns:
        {"questions", "models": [{"name", "right", "nats", "by_language": {"en": {"questions", "right", "nats"}}}],
        "comparisons": [{"of", "with", "right", "nats": each {"difference", "low", "high", "p"}}]}, "nats" being the
        mean surprise at the right choice among the four.
    """
    import numpy as np

    answers = [{line["id"]: line for line in files.LineReader(folder / answers_file(number)).read()
                if isinstance(line.get("id"), int)} for number in asked(request)]
    rows = [(item, [each[item["id"]] for each in answers]) for item in questions()
            if answers and all(_is_whole(each.get(item["id"]), item) for each in answers)]
    if not rows:
        return None
    figures = np.array([[_figures(line["choice_logprobs"], item["answer"]) for line in given] for item, given in rows])
    languages = np.array([item["language"] for item, _ in rows])
    models = [{"name": name, **_sums(figures[:, place]),
               "by_language": {each: {"questions": int((languages == each).sum()),
                                      **_sums(figures[languages == each, place])} for each in sorted({*languages})}}
              for place, name in enumerate((BASE, TUNED))]
    before, after = (figures[:, place] for place in (0, 1))
    return {"questions": len(rows), "models": models, "comparisons": [{
        "of": TUNED, "with": BASE,
        "right": _difference(after[:, :1], before[:, :1], yes_or_no=True),
        "nats": _difference(after[:, 1:], before[:, 1:], yes_or_no=False)}]}


def _is_whole(line: Any, item: Mapping[str, Any]) -> bool:
    values = an_object(line).get("choice_logprobs")
    return isinstance(values, list) and len(values) == len(item["choices"]) and None not in map(finite, values)


def _figures(logprobs: Sequence[float], right: int) -> tuple[float, float]:
    """Whether the right choice is the likeliest, and the surprise at it among the choices, in nats."""
    most = max(logprobs)
    total = most + math.log(math.fsum(math.exp(each - most) for each in logprobs))
    return float(logprobs.index(most) == right), total - logprobs[right]  # type: ignore[attr-defined]


def _sums(figures: Any) -> dict[str, Any]:
    return {"right": int(figures[:, 0].sum()), "nats": rounded(float(figures[:, 1].mean()))}


def _difference(after: Any, before: Any, yes_or_no: bool) -> dict[str, Any]:
    import numpy as np

    metric = METRICS["accuracy"] if yes_or_no else NATS
    found = compare(*(np.column_stack([each, np.ones(len(each))]) for each in (after, before)), metric)
    return {"difference": rounded(found.value), "low": rounded(found.low), "high": rounded(found.high), "p": found.p}


# -- What it says.


def loss(scores: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """(right answers before, after, questions) where a model forgot, by more than chance and in answers that people can
    count; else None."""
    found = an_object(scores.get(KEY))
    right = {str(model.get("name")): finite(model.get("right")) for model in objects(found.get("models"))}
    before, after, count = right.get(BASE), right.get(TUNED), finite(found.get("questions"))
    tests = [an_object(an_object(next(iter(objects(found.get("comparisons"))), {})).get(key))
             for key in ("right", "nats")]
    values = [finite(test.get("p")) for test in tests]
    surprise = finite(tests[1].get("difference"))
    if before is None or after is None or count is None or surprise is None or None in values:
        return None
    return (int(before), int(after), int(count)) if after < before and surprise > 0 and min(values) < LEVEL else None


def sentence(before: int, after: int, questions: int) -> str:
    return tr("It forgot some general knowledge: {before} of {questions} before, {after} after.", before=before,
              after=after, questions=questions)
