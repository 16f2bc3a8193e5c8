"""An answer's figures in words."""

from __future__ import annotations

from typing import Any

from slmstudio.core.i18n import ntr, tr


def figures_text(figures: dict[str, Any]) -> str:
    """How fast an answer came and why it ended: "41 tokens/s · first token 0.2 s · stopped"."""
    parts = []
    if figures.get("tokens_per_second") is not None:
        parts.append(ntr("{n:,} token/s", "{n:,} tokens/s", round(figures["tokens_per_second"])))
    if figures.get("seconds_to_first_token") is not None:
        parts.append(tr("first token {time:.1f} s", time=figures['seconds_to_first_token']))
    reasons = {"length": tr("cut at max tokens"), "stopped": tr("stopped"), "stop_string": tr("ended by a stop string")}
    if figures.get("reason") in reasons:
        parts.append(reasons[figures["reason"]])
    if figures.get("strength"):
        parts.append(tr("adapter {percent}%", percent=round(100 * figures["strength"])))
    return " · ".join(parts)
