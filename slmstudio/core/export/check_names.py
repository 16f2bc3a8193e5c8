"""The checks of a proof as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmstudio.core.i18n import noop

LABELS = {
    "tokens": noop("Token ids equal"),
    "prompt": noop("Prompt text equal"),
    "bos": noop("Beginning of sequence"),
    "stop": noop("Stops at the end of a turn"),
    "settings": noop("Settings of the architecture"),
    "embeddings": noop("Embeddings of all tokens"),
    "layers": noop("Weights of the layers"),
    "adapter": noop("What was learned"),
    "nmse": noop("Error of the logits (NMSE)"),
    "top1": noop("Same first choice (top-1)"),
    "kl": "KL divergence",
    "perplexity": "Perplexity, model → file",
}
"""Name of a check in NAME.parity.json: what a person reads."""
HEADINGS = (noop("What was compared"), "Found", "Required", "Result")
"""Of a table of checks."""
NO_LIMIT = "shown only"
"""The limit of a figure that passes whatever it is, as NAME.parity.json has it."""
_REQUIRED = {
    NO_LIMIT: "no limit: smaller files differ", "all": "must be equal in all",
    "ends": "must end the answer", "under +1%": "must rise by less than 1%", "under +2%": "must rise by less than 2%",
}


def required(check: Mapping[str, Any]) -> str:
    """What a check has to find, as a sentence without its subject; "" where nothing was required.

    >>> required({"limit": "under 0.0001"}), required({"limit": "all"}), required({"limit": ""})
    ('must be under 0.0001', 'must be equal in all', '')
    """
    limit = str(check.get("limit") or "")
    return _REQUIRED.get(limit, f"must be {limit}" if limit else "")


def result(check: Mapping[str, Any]) -> str:
    """How a check ended: "passed", "failed", "no limit" or "not checked"."""
    if check.get("passed") is True:
        return "no limit" if check.get("limit") == NO_LIMIT else "passed"
    return "failed" if check.get("passed") is False else "not checked"
