"""Two or more evaluations of the same rows set against each other, row by row: the paired test between runs.

Rows are the same where their content is, wherever the files are and in whatever order they were asked.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import answer_rows, benchmark_store, scoring
from slmstudio.core.evaluation.answer_rows import Rows, read_rows
from slmstudio.core.evaluation.comparability import answer_settings, result_name
from slmstudio.core.evaluation.scores import verdicts
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.statistics import compare
from slmstudio.core.evaluation.scores.verdicts import Pair
from slmstudio.core.i18n import tr

# -- One of several runs that are set against each other.

Progress = Callable[[int, int], None]
"""Called with (rows scored, rows)."""


@dataclass(frozen=True)
class ComparedRun:
    """
    Attributes:
        name: of the run; each has another one.
    """

    name: str
    folder: Path


# -- Two or more runs set against each other question by question of a benchmark, whose answers each has kept.

Right = dict[tuple[Any, ...], float]
"""How right the answer to each question is, 0 to 1."""


def compare_questions(title: str, sides: Sequence[ComparedRun],
                      progress: Progress | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Set the tuned model of each side against that of the first, on the questions that both were asked.

    Returns:
        Comparisons, and remarks in sentences.
    """
    read: list[tuple[str, Right]] = []
    remarks = []
    for side in sides:
        try:
            read.append((side.name, _right(side.folder, progress)))
        except UserError as error:
            remarks.append(tr("{benchmark}: the answers of {model} can't be compared one by one.", benchmark=title,
                              model=side.name) + f" {error.why}".rstrip())
    first, its = read[0] if read else ("", {})
    pairs, names = [], []
    for place, (name, others) in enumerate(read[1:], start=1):
        both = [question for question in its if question in others]
        if not both:
            remarks.append(tr("{benchmark}: {model} and {other} weren't asked any of the same questions.",
                              benchmark=title, model=name, other=first))
            continue
        names.append(name)
        pairs.append(_pair(place, [its[question] for question in both], [others[question] for question in both],
                           max(len(its), len(others)) - len(both)))
        if progress:
            progress(len(both), len(both))
    corrected = verdicts.holm([pair.found.p for pair in pairs])
    return [{"of": name, "with": first, **pair.to_dict(p, len(pairs)), "main": True, "benchmark": title}
            for name, pair, p in zip(names, pairs, corrected, strict=True)], remarks


def _pair(place: int, first: list[float], second: list[float], left_out: int) -> Pair:
    import numpy as np

    # Some benchmarks give shares, as the probability of what is true.
    metric = replace(METRICS[benchmark_store.METRIC], yes_or_no={*first, *second} <= {0.0, 1.0})
    counts = [np.array([[right, 1.0] for right in each]) for each in (first, second)]
    same = verdicts.SAME_SCORES if first == second else ""
    of, with_ = (float(metric.score(each.sum(0))) for each in reversed(counts))
    return Pair(metric, place, of, with_, compare(counts[1], counts[0], metric), same, left_out)


def _right(folder: Path, progress: Progress | None) -> Right:
    """Raises UserError: the answers weren't kept, or can't be read."""
    rows = benchmark_store.read_rows(folder, progress)
    name = result_name(list(dict.fromkeys(name for row in rows for name in row.scores)))
    seen: Counter[tuple[Any, ...]] = Counter()
    found: Right = {}
    for row in rows:
        question = (row.category, *(message["content"] for message in row.messages), *row.references)
        seen[question] += 1  # a benchmark may hold a question twice
        score = row.scores.get(name or "", {}).get(benchmark_store.METRIC)
        if score is not None:
            found[(seen[question], *question)] = score / 100
    return found


CONTENT = ("kind", "messages", "references", "choices", "answer", "pattern")
"""What makes two items the same row."""

Item = dict[str, Any]
Answer = dict[str, Any] | None


@dataclass(frozen=True)
class Paired:
    """
    Attributes:
        rows: the rows that the first evaluation shares with others; the "models" are the sides, of each the tuned
            model's answers. None if nothing could be paired.
        comparisons: each side against the first, in every score, as in scores.json; those of a benchmark have its title
            as "benchmark".
        remarks: what differs, and what was left out, in sentences.
    """

    rows: Rows | None = None
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def sentences(self) -> list[str]:
        """What the score says by which rows like these are judged."""
        return [comparison_sentence(each) for each in self.comparisons if each["main"]]


def comparison_sentence(comparison: Mapping[str, Any]) -> str:
    """A comparison with the names of its two sides, and of the benchmark if it belongs to one."""
    of, with_, verdict = comparison["of"], comparison["with"], comparison["sentence"]
    if comparison.get("benchmark"):
        return tr("{benchmark}: {model} against {other}: {verdict}", benchmark=comparison["benchmark"], model=of,
                  other=with_, verdict=verdict)
    return tr("{model} against {other}: {verdict}", model=of, other=with_, verdict=verdict)


def compare_runs(tests: Sequence[ComparedRun], benchmarks: Mapping[str, Sequence[ComparedRun]],
                 progress: Progress | None = None) -> Paired:
    """Set runs against the first of them on a test set, and on benchmarks.

    Args:
        benchmarks: by their titles.
    """
    found = compare_rows(tests, progress) if len(tests) > 1 else Paired()
    for title, sides in benchmarks.items():
        if len(sides) > 1:
            comparisons, remarks = compare_questions(title, sides, progress)
            found.comparisons.extend(comparisons)
            found.remarks.extend(remarks)
    return found


def compare_rows(sides: Sequence[ComparedRun], progress: Progress | None = None) -> Paired:
    """Set the tuned model of each side against that of the first, on the rows that both were asked.

    Args:
        progress: called with (rows scored, rows), and at the end for each comparison with all of them; what it raises,
            as at Cancel, ends the work.
    """
    rows, remarks = pair(sides, progress)
    if rows is None:
        return Paired(remarks=remarks)
    table = rows.table(progress)
    compared = scoring.with_losses(verdicts.comparisons(rows.names, table))
    return Paired(rows, compared, remarks + scoring.remarks({
        "test": {"rows": len(table), "trained_on": table.trained_on, "groups": {}, "damaged": 0},
        "comparisons": compared,
        "models": [{"name": name, "same_tokens": table.same_tokens(place)} for place, name in enumerate(rows.names)]}))


def pair(sides: Sequence[ComparedRun], progress: Progress | None = None) -> tuple[Rows | None, list[str]]:
    """Bring the answers of all sides to the rows of the first one together, and say for which this can't be done."""
    remarks: list[str] = []
    read: list[tuple[ComparedRun, Rows]] = []
    for side in sides:
        try:
            read.append((side, read_rows(side.folder)))
        except UserError as error:
            remarks.append(tr("The answers of {model} can't be read: {reason}", model=side.name,
                              reason=f"{error.what} {error.why}".rstrip()))
    if len(read) < 2:
        return None, remarks
    first, its = read[0]
    names, items, answers = _first(first.name, its)
    shared: set[int] = set()
    for side, rows in read[1:]:
        name = side.name
        trouble = _different_questions(first.name, its, name, rows) or _different_thinking(first, its, side, rows)
        found = {} if trouble else _alike(items, rows, progress)
        if not found:
            remarks.append(trouble or tr("{model} isn't compared with {other}: they have no test rows in common.",
                                         model=name, other=names[0]))
            continue
        names.append(name)
        shared |= found.keys()
        answers.append({number: answer for number, (_, answer) in found.items() if answer is not None})
        for number, (item, _) in found.items():
            items[number]["trained_on"] = items[number].get("trained_on") or item.get("trained_on")
        remarks += _rows_left_out(names[0], len(items), name, len(rows), len(found))
        remarks += _different_formats(names[0], its, name, rows)
    if not shared:
        return None, remarks
    return Rows([item for number, item in items.items() if number in shared], answers, names, its.request, 0), remarks


def _first(name: str, rows: Rows) -> tuple[list[str], dict[int, Item], list[dict[int, dict[str, Any]]]]:
    """The first side, to which others are brought: its name, its items by their ids, its answers."""
    place = _tuned(rows)
    items: dict[int, Item] = {}
    answers: dict[int, dict[str, Any]] = {}
    for item, given in rows:
        items[item["id"]] = dict(item)
        answer = given[place]
        if answer is not None:
            answers[item["id"]] = answer
    return [name], items, [answers]


def _alike(items: Mapping[int, Item], rows: Rows, progress: Progress | None) -> dict[int, tuple[Item, Answer]]:
    """The rows of another evaluation that are among `items`, by the id that they have there. Where a row occurs several
    times, the first is taken for the first."""
    waiting: dict[str, deque[tuple[Item, Answer]]] = defaultdict(deque)
    place = _tuned(rows)
    for done, (item, given) in enumerate(rows):
        if progress and done % 256 == 0:
            progress(0, len(items))
        waiting[_content(item)].append((item, given[place]))
    found = {}
    for number, item in items.items():
        if alike := waiting.get(_content(item)):
            found[number] = alike.popleft()
    return found


def _tuned(rows: Rows) -> int:
    return rows.names.index(result_name(rows.names) or rows.names[0])


def _content(item: Mapping[str, Any]) -> str:
    return json.dumps([item.get(key) or None if key != "answer" else item.get(key) for key in CONTENT], sort_keys=True,
                      ensure_ascii=False)


def _different_questions(first: str, its: Rows, name: str, rows: Rows) -> str:
    if answer_settings(its.request) == answer_settings(rows.request):
        return ""
    if (its.request.get("system") or None) != (rows.request.get("system") or None):
        return tr("{model} isn't compared with {other}: they were asked with different system prompts.", model=name,
                  other=first)
    return tr("{model} isn't compared with {other}: its answers have {tokens} tokens at most, the other's "
              "{other_tokens}.", model=name, other=first, tokens=rows.request.get("max_new_tokens"),
              other_tokens=its.request.get("max_new_tokens"))


def _different_thinking(first: ComparedRun, its: Rows, side: ComparedRun, rows: Rows) -> str:
    """Why the answers of two sides don't compare where one was asked to answer at once, or ""."""
    if answer_rows.may_think(first.folder) == answer_rows.may_think(side.folder):
        return ""
    thought = [name for name, found in ((first.name, its), (side.name, rows)) if found.thought(_tuned(found))]
    if len(thought) != 1:
        return ""
    return tr("{model} isn't compared with {other}: {thinking} was asked to think before it answered, the other to "
              "answer right away. Evaluate both again.", model=side.name, other=first.name, thinking=thought[0])


def _different_formats(first: str, its: Rows, name: str, rows: Rows) -> list[str]:
    formats = [_format(each) for each in (its, rows)]
    if formats[0] == formats[1]:
        return []
    return [tr("{other} was computed in {other_format}, {model} in {format}: part of the difference may come from "
               "that.", other=first, other_format=formats[0], model=name, format=formats[1])]


def _format(rows: Rows) -> str:
    models = rows.request.get("models")
    model = models[_tuned(rows)] if isinstance(models, list) and len(models) > _tuned(rows) else None
    four_bits = isinstance(model, dict) and model.get("load_in_4bit")
    return "4 bits" if four_bits else str(rows.request.get("precision") or "fp32")


def _rows_left_out(first: str, its: int, name: str, others: int, both: int) -> list[str]:
    if both == its == others:
        return []
    return [tr("{model} and {other} are compared on the {both:,} rows that both were asked. {rows:,} rows of {model} "
               "and {other_rows:,} of {other} are left out.", model=name, other=first, both=both, rows=others - both,
               other_rows=its - both)]
