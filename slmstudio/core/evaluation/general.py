"""What a model still knows in general: a small fixed set of questions in English and Hindi, asked before and after.

Accuracy on a user's own rows can be paid for by forgetting, which those rows don't show. Each of a question's four
choices is scored as an answer (`choices_by`), since small models can't name letters; and right answers are counted. How
sure a model is of the right choice is more sensitive, but also to what isn't forgotten: the starter model had 25 of 48
right, 25 to 27 after three runs as planned and 15 after one with steps seven times as large (p = 0.01); but in one of
those three the surprise at the right choice rose from 2.4 to 4.0 nats (p = 0.007), most of it in Hindi, where it
guesses.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmstudio.core import files, paths
from slmstudio.core.evaluation.answer_rows import Rows
from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.files import an_object, finite, objects
from slmstudio.core.i18n import tr

KEY = "general"
"""Of a request: whether the questions are asked; of scores.json: what came of them."""
BASE, TUNED = "base", "tuned"


@functools.cache
def questions() -> list[dict[str, Any]]:
    """The questions as items of a test set."""
    lines = (paths.resources() / "benchmarks" / "general.jsonl").read_text("utf-8").splitlines()
    return [{"id": number, "line": number + 1, "kind": "choice", "choices_by": "text", **row,
             "messages": [{"role": "user", "content": row["question"]}],
             "references": [row["choices"][row["answer"]]]} for number, row in enumerate(map(json.loads, lines))]


def answers_file(model: int) -> str:
    """The file in the job's folder with what the request's model of this number answered."""
    return f"general-{model}.jsonl"


def asked(request: Mapping[str, Any]) -> list[int]:
    """Numbers of the request's models that are asked: the base and the tuned model of a run, unless that is switched
    off."""
    names = [model.get("name") for model in objects(request.get("models"))]
    return [names.index(name) for name in (BASE, TUNED)] if request.get(KEY) and {BASE, TUNED} <= {*names} else []


def score(folder: Path, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """What scores.json says of the questions; None where they weren't asked, or not yet.

    Returns:
        {"models": [{"name", "right", "questions", "by_language": {"en": right answers}}], "comparisons": the tuned
        model's accuracy against the base's, as others of scores.json}.
    """
    answers = [{line["id"]: line for line in files.LineReader(folder / answers_file(number)).read()
                if isinstance(line.get("id"), int)} for number in asked(request)]
    if not answers or not all(answers):
        return None
    rows, metric = Rows(questions(), answers, [BASE, TUNED], dict(request), 0), METRICS["accuracy"]
    table = rows.table()
    groups = table.groups("language")
    models = [{"name": name, "right": int(table.counts(metric, place)[:, 0].sum()),
               "questions": len(table.counts(metric, place)),
               "by_language": {language: int(table.counts(metric, place, its)[:, 0].sum())
                               for language, its in groups.items()}} for place, name in enumerate(rows.names)]
    return {"models": models, "comparisons": [each for each in verdicts.comparisons(rows.names, table)
                                              if each["metric"] == metric.key]}


def loss(scores: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """(right answers before, after, questions) where the tuned model is worse by more than chance; else None."""
    for each in objects(an_object(scores.get(KEY)).get("comparisons")):
        before, after, count = (finite(each.get(key)) for key in ("other", "score", "rows"))
        if each.get("verdict") == verdicts.WORSE and before is not None and after is not None and count:
            return round(before * count / 100), round(after * count / 100), int(count)
    return None


def sentence(before: int, after: int, questions: int) -> str:
    return tr("It forgot some general knowledge: {before} of {questions} before, {after} after.", before=before,
              after=after, questions=questions)
