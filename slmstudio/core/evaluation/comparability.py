"""Whether evaluations asked the same, and which of a run's evaluations is the one to judge by: scores compare only
where the same rows were asked in the same way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from slmstudio.core.files import an_object, objects

TUNED = "tuned"
ROWS, HOW = "rows", "how"
"""How evaluations differ, as `difference` says it: other rows, or the same rows asked in another way."""


class Evaluated(Protocol):
    @property
    def folder(self) -> Path: ...

    @property
    def request(self) -> dict[str, Any]: ...

    @property
    def scores(self) -> dict[str, Any] | None: ...

    @property
    def created(self) -> float: ...


E = TypeVar("E", bound=Evaluated)


def test_set(request: Mapping[str, Any], scores: Mapping[str, Any] | None) -> str:
    """What tells one test set from another: its content, and how much of it was asked. A seed that drew nothing makes
    no difference."""
    test, limit = _test(scores), request.get("limit")
    rows = test.get("rows")
    drawn = limit is not None and not (isinstance(rows, int) and isinstance(limit, int) and rows < limit)
    return _key(test.get("sha256") or test.get("path"), rows, request.get("seed") if drawn else None)


def answer_settings(request: Mapping[str, Any]) -> str:
    """What changes the answers to the same rows."""
    return _key(request.get("max_new_tokens"), request.get("system") or None)


def benchmark_asked(limit: Any, shots: Any, data: Any, seed: Any) -> dict[str, Any]:
    """What tells one result of a benchmark from another.

    Args:
        limit: questions of each subject. shots: examples before a question. data: where they came from.
        seed: drew the questions, where there was a limit.
    """
    return {"limit": limit, "shots": shots, "data": data, "seed": (seed or 0) if limit else None}


def unlike(asked: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which several of `benchmark_asked` differ; a seed only where as many questions were drawn."""
    found = [key for key in (asked[0] if asked else ()) if len({_key(each[key]) for each in asked}) > 1]
    return [key for key in found if key != "seed" or "limit" not in found]


def difference(evaluations: Sequence[Evaluated]) -> str:
    """In what these evaluations of test sets differ: `ROWS`, `HOW`, or "" if they asked the same."""
    if len({test_set(each.request, each.scores) for each in evaluations}) > 1:
        return ROWS
    return HOW if len({answer_settings(each.request) for each in evaluations}) > 1 else ""


def preferred(evaluations: Sequence[E], eval_file: str | None) -> list[E]:
    """Those with scores of a test set, the one to judge by first: of the run's own held-out rows before all others,
    then of most rows, with the tuned model, and the newest. A later look at 20 rows decides nothing.

    Args:
        eval_file: of the run.
    """
    scored = [each for each in evaluations if model_names(each.scores) and not _is_benchmark(each)]
    return sorted(scored, reverse=True, key=lambda each: (
        is_own(each, eval_file), _count(_test(each.scores).get("rows")), TUNED in model_names(each.scores),
        each.created))


def choose(of_runs: Sequence[tuple[Sequence[E], str | None]]) -> list[E | None]:
    """One evaluation of each run: of what most of the runs were asked in the same way, where the first run was, too;
    otherwise that by which the run is judged.

    Args:
        of_runs: each run's evaluations and its `eval_file`.
    """
    ordered = [preferred(*each) for each in of_runs]
    best: list[E | None] = [next(iter(each), None) for each in ordered]
    most = 1
    for first in ordered[0] if ordered else ():
        alike = [first, *(next((each for each in others if not difference([first, each])), None)
                          for others in ordered[1:])]
        count = sum(each is not None for each in alike)
        if count > most:
            most = count
            best = [each or next(iter(others), None) for each, others in zip(alike, ordered, strict=True)]
    return best


def is_own(evaluation: Evaluated, eval_file: str | None) -> bool:
    """Whether the rows were held out of the run's own data."""
    path = str(_test(evaluation.scores).get("path") or "")
    split_off = Path(path).name.startswith("held-out-") and Path(path).parent == evaluation.folder.parent
    return split_off or bool(eval_file and path and Path(path) == Path(eval_file).absolute())


def model_names(scores: Mapping[str, Any] | None) -> list[str]:
    return [str(each.get("name")) for each in objects((scores or {}).get("models"))]


def result_name(names: Sequence[str]) -> str | None:
    """The model in question among these: the tuned one, else the first that is held against another, else the only."""
    return TUNED if TUNED in names else next(iter([*names[1:2], *names[:1]]), None)


def unique(names: Sequence[str]) -> list[str]:
    """Names made unique.

    >>> unique(["help", "desk", "help"])
    ['help', 'desk', 'help (2)']
    """
    found: list[str] = []
    for name in names:
        others = (name, *(f"{name} ({count})" for count in range(2, len(names) + 2)))
        found.append(next(each for each in others if each not in found))
    return found


def _test(scores: Mapping[str, Any] | None) -> dict[str, Any]:
    return an_object((scores or {}).get("test"))


def _is_benchmark(evaluation: Evaluated) -> bool:
    """Whether its scores are a benchmark's alone; one evaluation may have both."""
    asked = evaluation.request.get("benchmark")
    return isinstance(asked, dict) and not evaluation.request.get("test")


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _key(*values: Any) -> str:
    return json.dumps(values, sort_keys=True, default=str)
