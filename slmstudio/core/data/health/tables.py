"""Words by which faults are found, of resources/health/words.json: most are parts of regular expressions."""

from __future__ import annotations

import json
from typing import Any

from slmstudio.core.paths import resources

WORDS: dict[str, Any] = json.loads((resources() / "health" / "words.json").read_text(encoding="utf-8"))


def either(name: str) -> str:
    """An expression for one of the words of a list."""
    return f"(?:{'|'.join(WORDS[name])})"
