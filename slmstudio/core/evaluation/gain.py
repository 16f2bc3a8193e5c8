"""The gain that survives an export: which share of what training gained over the base each file keeps.

The proof of an export says that it equals what was trained; here its answers are held against those of the base and of
the tuned model, on the same held-out rows, in the score by which they are judged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from slmstudio.core import files, units
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.general import BASE, TUNED
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.score_table import ScoreTable
from slmstudio.core.evaluation.scores.statistics import share_of_difference
from slmstudio.core.files import an_object, finite, objects
from slmstudio.core.i18n import number_text, tr
from slmstudio.core.model.gguf.model import read_gguf
from slmstudio.core.run.folder import EXPORTS

KEY = "gain"
"""Of scores.json."""


@dataclass(frozen=True)
class Share:
    """What an export keeps.

    Attributes:
        name: of the model in the evaluation.
        type: the quantization type of the file, or of the base that the adapter is beside.
        share: (export − base) / (tuned − base), 1 for all of the gain; `low`, `high`: its 95% interval.
        size_bytes: on the disk, the adapter with its base; None where the file is gone.
        tokens_per_second: that it wrote; None where nothing was timed.
        path: of the GGUF file; `beside`: whether that is the base, with the run's adapter beside it.
    """

    name: str
    type: str
    share: float
    low: float
    high: float
    size_bytes: int | None
    tokens_per_second: float | None
    path: str
    beside: bool = False


def measure(request: Mapping[str, Any], table: ScoreTable, metric: str | None) -> dict[str, Any] | None:
    """What scores.json says of the exports of a run; None where none was asked, or the run's base or result wasn't.

    Args:
        metric: by which the answers are judged.

    Returns:
        {"metric", "exports": one `Share` each; none where the tuned model isn't better than the base by more than
        chance}.
    """
    import numpy as np

    models = objects(request.get("models"))
    names = [model.get("name") for model in models]
    exports = [place for place, model in enumerate(models) if _is_export(model, request)]
    if metric is None or not exports or not {BASE, TUNED} <= {*names}:
        return None
    base, tuned, its, found = names.index(BASE), names.index(TUNED), METRICS[metric], []
    for place in exports:
        common = np.intersect1d(table.common(its, base, tuned), table.common(its, base, place))
        export, whole, none = (table.counts(its, each, common) for each in (place, tuned, base))
        share = share_of_difference(export, whole, none, its)
        if share is not None:
            value, low, high = (round(each, 6) for each in (share.value, share.low, share.high))
            type_, size = _type_and_size(models[place])
            found.append(asdict(Share(str(names[place]), type_, value, low, high, size,
                                      table.speeds[place].to_dict()["tokens_per_second"],
                                      str(models[place]["gguf"]), bool(models[place].get("adapter")))))
    return {"metric": metric, "exports": found}


def _is_export(model: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether it is a file of the run that is evaluated: of the whole model, or of the adapter."""
    made = model.get("adapter") or model.get("gguf")
    return bool(model.get("gguf")) and Path(str(made)).parent == Path(str(request.get("train_run"))) / EXPORTS


def _type_and_size(model: Mapping[str, Any]) -> tuple[str, int | None]:
    path, adapter = Path(str(model["gguf"])), model.get("adapter")
    with contextlib.suppress(UserError, OSError):
        return (read_gguf(path).quantization,
                path.stat().st_size + (Path(str(adapter)).stat().st_size if adapter else 0))
    return str(model["name"]), None


# -- What it says.


def shares(scores: Mapping[str, Any]) -> list[Share]:
    """What each export keeps; none where none was asked, or the tuned model isn't clearly better than the base."""
    known = [one.name for one in fields(Share)]
    return [Share(**{name: each.get(name) for name in known})  # type: ignore[arg-type]
            for each in objects(an_object(scores.get(KEY)).get("exports"))
            if None not in (finite(each.get(name)) for name in ("share", "low", "high"))]


def of_run(run: Path) -> list[Share]:
    """The shares that were measured last of each file of a run as it is now."""
    found: dict[tuple[str, bool], Share] = {}
    for path in sorted((run / "jobs").glob("*/scores.json"), key=lambda path: path.stat().st_mtime):
        scores = files.read_json(path) or {}
        for each in shares(scores):
            with contextlib.suppress(OSError):
                if Path(each.path).stat().st_mtime <= (finite(scores.get("created")) or 0.0):
                    found[each.path, each.beside] = each
    return list(found.values())


def by_type(found: Iterable[Share]) -> dict[str, tuple[float, float]]:
    """Share and its lower bound by quantization type, of exports of the whole model."""
    return {each.type: (each.share, each.low) for each in found if not each.beside}


def table(scores: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings, and a line for each export: what it keeps, with its interval, size and speed."""
    head = (tr("Export"), tr("Gain kept"), tr("Size"), tr("Tokens per second"))
    return head, [(each.name, share_text(each), units.format_bytes(each.size_bytes) if each.size_bytes else "–",
                   number_text(each.tokens_per_second, ",.1f") if each.tokens_per_second else "–")
                  for each in shares(scores)]


def share_text(each: Share) -> str:
    return tr("{share:.0%} ({low:.0%} to {high:.0%})", share=each.share, low=each.low, high=each.high)


def sentence(scores: Mapping[str, Any]) -> str:
    """What each export keeps, or why nobody can say; "" where none was asked."""
    if not (known := an_object(scores.get(KEY))):
        return ""
    if not (found := shares(scores)):
        return tr("The tuned model isn't clearly better than the base on these rows, so there is no gain that "
                  "an export could keep.")
    metric = METRICS.get(str(known.get("metric")))
    return tr("Share of the gain over the base that is kept ({score}): {shares}.",
              score=tr(metric.label) if metric else "",
              shares=", ".join(f"{each.name} {each.share:.0%}" for each in found))
