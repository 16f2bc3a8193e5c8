"""The checks of a proof as people read them."""

from __future__ import annotations

LABELS = {
    "tokens": "Token ids equal",
    "prompt": "Prompt text equal",
    "bos": "Beginning of sequence",
    "stop": "Stops at the end of a turn",
    "settings": "Settings of the architecture",
    "embeddings": "Embeddings of all tokens",
    "layers": "Weights of the layers",
    "adapter": "What was learned",
    "nmse": "Error of the logits (NMSE)",
    "top1": "Same first choice (top-1)",
    "kl": "KL divergence",
    "perplexity": "Perplexity, model → file",
}
"""Name of a check in NAME.parity.json: what a person reads."""
