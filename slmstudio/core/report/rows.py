"""The rows of an evaluation that gained most and lost most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slmstudio.core.data.record import message_text
from slmstudio.core.evaluation.answer_rows import Row
from slmstudio.core.evaluation.scores.metrics import METRICS, main_metric
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.report.evaluations import Evaluation
from slmstudio.core.report.text import Cut, shortened

SHOWN_ROWS = 10
EARLIER_TURNS = 600
"""Characters that are shown of what was said before the question."""


@dataclass(frozen=True)
class ShownRow:
    """One row as the page shows it.

    Attributes:
        where: "line 12", with category and language where they are known.
        before: the turns before the question, or empty.
        references: good answers.
        answers: (name of a model, its score in words, its answer).
        change: in words, such as "+31.2".
    """

    where: str
    before: Cut
    question: Cut
    references: list[Cut]
    answers: list[tuple[str, str, Cut]]
    change: str


@dataclass(frozen=True)
class Ranking:
    """Best and worst rows.

    Attributes:
        title: by what they are ranked.
        note: why there are none, or "".
    """

    title: str
    best: list[ShownRow]
    worst: list[ShownRow]
    note: str = ""


def rank(evaluation: Evaluation, rows: Sequence[Row]) -> Ranking:
    """Ten best and ten worst rows, by the gain of the model in question over the one it is held against.

    Each row counts by the score for rows of its kind; with a single model, by that score itself.
    """
    names = list(evaluation.pair or [str(model.get("name")) for model in evaluation.models[:1]])
    gains = [(gain, row) for row in rows if (gain := _gain(row, names)) is not None]
    ranked = sorted(gains, key=lambda each: -each[0])
    if not ranked:
        return Ranking("", [], [], tr("No row has a score of its own."))
    count = min(SHOWN_ROWS, (len(ranked) + 1) // 2)
    worst = list(reversed(ranked))[: min(count, len(ranked) - count)]
    how = (tr("Ranked by how much {model} gained over {other}.", model=names[0], other=names[1]) if len(names) > 1 else
           tr("Ranked by the score of {model}.", model=names[0]))
    shown = [[_shown(row, gain, list(reversed(names))) for gain, row in part] for part in (ranked[:count], worst)]
    return Ranking(how, shown[0], shown[1])


def _gain(row: Row, names: list[str]) -> float | None:
    if len(names) > 1:
        return row.gain(names[0], names[1])
    key = _metric(row, names[0])
    if key is None:
        return None
    value = row.scores[names[0]][key]
    return value if METRICS[key].higher_is_better else -value


def _metric(row: Row, name: str) -> str | None:
    return main_metric(row.scores.get(name, {}), [row.kind])


def _shown(row: Row, gain: float, names: list[str]) -> ShownRow:
    parts = [tr("row {number:,}", number=row.id) if row.line is None else tr("line {number:,}", number=row.line),
             row.category, row.language, tr("also in the training rows") if row.trained_on else None]
    earlier = "\n".join(f"{turn.get('role')}: {message_text(turn)}" for turn in row.messages[:-1])
    question = str(row.messages[-1].get("content")) if row.messages else ""
    answers = [(name, _score(row, name), shortened(row.answers.get(name) or row.skipped.get(name) or ""))
               for name in names]
    change = number_text(gain, "+,.1f").replace("-", "−") if len(names) > 1 else ""
    return ShownRow(" · ".join(part for part in parts if part), shortened(earlier, EARLIER_TURNS),
                    shortened(question), [shortened(text) for text in row.references], answers, change)


def _score(row: Row, name: str) -> str:
    key = _metric(row, name)
    return tr("no score") if key is None else f"{number_text(row.scores[name][key], ',.1f')} {tr(METRICS[key].name)}"
