"""One base model on the list of the Model tab."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slmstudio.core.model.catalogue import CatalogueEntry
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.model.starters import Starter
    from slmstudio.core.run.memory.fit_badge import Badge


@dataclass(eq=False)
class ModelEntry:
    """A model that can be chosen, or could be once it is fetched.

    Attributes:
        folder: where it is, or will be once it is fetched or unpacked.
        gguf: set while it is only a GGUF file that must be unpacked before it can learn.
        file_bytes: size of that file.
        facts, error: what reading the folder gave; both None until it has been read.
        known: what the catalogue says about it.
        repo: its name on the hub, where it would be fetched from; "" if that isn't known.
        starter: it comes as packages from the package index, once its terms are accepted.
        source: where it was found: "LM Studio", "Ollama" ...; "" for models of this program.
        typed: what a user typed to name it.
        badge: the best method that fits this machine; None before that is known.
    """

    folder: Path
    gguf: Path | None = None
    file_bytes: int = 0
    facts: ModelFacts | None = None
    error: Exception | None = None
    known: CatalogueEntry | None = None
    repo: str = ""
    starter: Starter | None = None
    source: str = ""
    typed: str = ""
    badge: Badge | None = None

    @property
    def on_disk(self) -> bool:
        return self.facts is not None or self.error is not None or self.gguf is not None

    @property
    def name(self) -> str:
        """What a user calls it."""
        if self.known is not None:
            return self.known.title
        if self.starter is not None:
            return self.starter.name
        return self.facts.name if self.facts is not None else self.repo or self.folder.name

    @property
    def sizes(self) -> ModelFacts | None:
        """What its memory is estimated from: the folder's own facts, or else the catalogue's."""
        if self.facts is not None:
            return self.facts
        return self.known.facts(self.folder) if self.known is not None and not self.error else None
