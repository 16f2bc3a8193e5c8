"""The checks of a proof as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmstudio.core.i18n import noop, ptr, tr

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
    "kl": noop("KL divergence"),
    "perplexity": noop("Change of perplexity"),
}
"""Name of a check in NAME.parity.json: what a user reads. Whoever shows it translates it."""
HEADINGS = (noop("What was compared"), noop("Found"), noop("Required"), noop("Result"))
"""Headings of a table of checks. Whoever shows them translates them."""
NO_LIMIT = "shown only"
"""The limit of a figure that passes whatever it is, as NAME.parity.json has it."""
_REQUIRED = {
    NO_LIMIT: noop("no limit: smaller files differ"), "all": noop("must be equal in all of them"),
    "ends": noop("must end the answer"), "under +1%": noop("must rise by less than 1%"),
    "under +2%": noop("must rise by less than 2%"),
}


def required(check: Mapping[str, Any]) -> str:
    """What a check has to find, as a sentence without its subject; "" if nothing was required.

    >>> required({"limit": "under 0.0001"}), required({"limit": "all"}), required({"limit": ""})
    ('must be under 0.0001', 'must be equal in all', '')
    """
    limit = str(check.get("limit") or "")
    if limit in _REQUIRED:
        return tr(_REQUIRED[limit])
    word, _, number = limit.partition(" ")
    if word == "under" and number:
        return tr("must be under {limit}", limit=number)
    return tr("must be {limit}", limit=limit) if limit else ""


def result(check: Mapping[str, Any]) -> str:
    """How a check ended: passed, failed, no limit or not checked, in the language that is spoken."""
    if check.get("passed") is True:
        return ptr("check", "no limit") if check.get("limit") == NO_LIMIT else ptr("check", "passed")
    return ptr("check", "failed") if check.get("passed") is False else tr("not checked")
