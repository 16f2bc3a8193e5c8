"""The gain that survives an export: which share of what training gained over the base each file keeps.

The proof of an export says that it equals what was trained; here its answers are held against those of the base and of
the tuned model, on the same held-out rows, in the score by which they are judged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from slmstudio.core import files, units
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.general import BASE, TUNED
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.score_table import ScoreTable
from slmstudio.core.evaluation.scores.statistics import share_of_difference
from slmstudio.core.evaluation.scores.verdicts import rounded, score_text
from slmstudio.core.files import an_object, finite, objects
from slmstudio.core.i18n import join_sentences, number_text, tr
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
        {"metric", "base", "tuned": their scores, "clear": whether the tuned model is better by more than chance,
        "exports": one `Share` each; none where that isn't clear}.
    """
    import numpy as np

    models = objects(request.get("models"))
    names = [model.get("name") for model in models]
    exports = [place for place, model in enumerate(models) if _is_export(model, request)]
    if metric is None or not exports or not {BASE, TUNED} <= {*names}:
        return None
    base, tuned, its = names.index(BASE), names.index(TUNED), METRICS[metric]
    both, shares, values = table.common(its, base, tuned), [], None
    for place in [tuned, *exports]:  # the tuned model keeps all of it, which tells whether there is anything to keep
        common = np.intersect1d(both, table.common(its, base, place))
        if not len(common):
            continue
        counts = [table.counts(its, each, common) for each in (place, tuned, base)]
        found = share_of_difference(*counts, its)
        if place == tuned:
            gained = float(its.score(counts[1].sum(0))) - float(its.score(counts[2].sum(0)))
            clear = found is not None and (gained > 0) == its.higher_is_better
            values = {"metric": metric, "base": rounded(float(its.score(counts[2].sum(0)))),
                      "tuned": rounded(float(its.score(counts[1].sum(0)))), "clear": clear}
        elif values and values["clear"] and found is not None:
            shares.append({**_file(models[place]), "share": rounded(found.value), "low": rounded(found.low),
                           "high": rounded(found.high),
                           "tokens_per_second": table.speeds[place].to_dict()["tokens_per_second"]})
    return values and {**values, "exports": shares}


def _is_export(model: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether it is a file of the run that is evaluated: of the whole model, or of the adapter."""
    made = model.get("adapter") or model.get("gguf")
    return bool(model.get("gguf")) and Path(str(made)).parent == Path(str(request.get("train_run"))) / EXPORTS


def _file(model: Mapping[str, Any]) -> dict[str, Any]:
    path, adapter = Path(str(model["gguf"])), model.get("adapter")
    size, type_ = None, str(model["name"])
    with contextlib.suppress(UserError, OSError):
        type_ = read_gguf(path).quantization
        size = path.stat().st_size + (Path(str(adapter)).stat().st_size if adapter else 0)
    return {"name": model["name"], "type": type_, "size_bytes": size, "path": str(path), "beside": bool(adapter)}


# -- What it says.


def shares(scores: Mapping[str, Any]) -> list[Share]:
    """What each export keeps; none where none was asked, or the tuned model isn't clearly better than the base."""
    found = []
    for each in objects(an_object(scores.get(KEY)).get("exports")):
        values = {one.name: each.get(one.name) for one in fields(Share)}
        if None not in (finite(values[name]) for name in ("share", "low", "high")):
            found.append(Share(**values))
    return found


def of_run(run: Path) -> list[Share]:
    """The shares that were measured last of each file of a run as it is now."""
    found: dict[str, Share] = {}
    for path in sorted((run / "jobs").glob("*/scores.json"), key=lambda path: path.stat().st_mtime):
        scores = files.read_json(path) or {}
        for each in shares(scores):
            with contextlib.suppress(OSError):
                if Path(each.path).stat().st_mtime <= (finite(scores.get("created")) or 0.0):
                    found[f"{each.path} {each.beside}"] = each
    return list(found.values())


def by_type(found: list[Share]) -> dict[str, tuple[float, float]]:
    """Share and its lower bound by quantization type, of exports of the whole model."""
    return {each.type: (each.share, each.low) for each in found if not each.beside}


def unclear(scores: Mapping[str, Any]) -> str:
    """Why there are no shares, in a sentence; "" where there are, or no export was asked."""
    found = an_object(scores.get(KEY))
    if not found or found.get("clear") is True:
        return ""
    return tr("The tuned model isn't clearly better than the base in these rows, so there is no gain that an export "
              "could keep.")


def table(scores: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings, and a line for each export: what it keeps, with its interval, size and speed."""
    head = (tr("Export"), tr("Gain kept"), tr("Size"), tr("Tokens per second"))
    return head, [(each.name, share_text(each), units.format_bytes(each.size_bytes) if each.size_bytes else "–",
                   number_text(each.tokens_per_second, ",.1f") if each.tokens_per_second else "–")
                  for each in shares(scores)]


def share_text(each: Share) -> str:
    return tr("{share:.0%} ({low:.0%} to {high:.0%})", share=each.share, low=each.low, high=each.high)


def sentence(scores: Mapping[str, Any]) -> str:
    """What the shares are of, and of the two ways to carry four bits, which keeps more; "" where there are none."""
    found, values = shares(scores), an_object(scores.get(KEY))
    if not found:
        return unclear(scores)
    metric = str(values.get("metric"))
    said = [tr("Share of the gain over the base, {base} → {tuned} {metric}, that each export keeps.",
               base=score_text(metric, finite(values.get("base"))),
               tuned=score_text(metric, finite(values.get("tuned"))), metric=tr(METRICS[metric].name))]
    merged = {each.type: each for each in found if not each.beside}
    for each in found:
        if each.beside and (other := merged.get(each.type)) is not None:
            values = {"type": each.type, "beside": each.share, "merged": other.share}
            said.append(tr("The adapter beside a base in {type} keeps {beside:.0%}; merged before it was quantized, "
                           "{merged:.0%}.", **values))
    return join_sentences(*said)

