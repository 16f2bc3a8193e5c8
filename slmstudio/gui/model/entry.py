"""One base model on the list of the Model tab."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slmstudio.core.model.facts import ModelFacts


@dataclass(eq=False)
class ModelEntry:
    """A model that can be chosen.

    Attributes:
        folder: where it lies, or will lie once it is imported.
        gguf: set while it is only a GGUF file that must be unpacked before it can learn.
        facts, error: what reading the folder gave; both None before that.
    """

    folder: Path
    gguf: Path | None = None
    facts: ModelFacts | None = None
    error: Exception | None = None
