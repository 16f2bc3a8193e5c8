"""What the field's words mean, in two sentences each: for "What does this mean?", tooltips and the glossary."""

from __future__ import annotations

import json
from dataclasses import dataclass

from slmstudio.core import paths
from slmstudio.core.i18n import tr


@dataclass(frozen=True)
class Term:
    """One word.

    Attributes:
        name: as the window writes it in English; the window translates it, and looks terms up by their keys.
        so: one sentence on what to make of it.
    """

    name: str
    what: str
    so: str


TERMS: dict[str, Term] = {each["key"]: Term(each.get("symbol") or each["name"], each["what"], each["so"]) for each in
                          json.loads((paths.resources() / "terms.json").read_text(encoding="utf-8"))}
"""By key. A "symbol" of the table is the same in every language."""
_OF_METRICS = {"accuracy_norm": "accuracy", "numeric": "number", "loss": "eval_loss", "bleu_intl": "bleu",
               "rouge_l": "rouge"}


def of_metric(metric: str) -> str:
    """The key of the term that a score of scores.json is explained by."""
    return _OF_METRICS.get(metric, metric)


def name(key: str) -> str:
    """What a term is called; raises KeyError for one that isn't in the table."""
    return tr(TERMS[key].name)


def sentences(key: str) -> tuple[str, str]:
    """What it is, and what to make of it."""
    return tr(TERMS[key].what), tr(TERMS[key].so)
