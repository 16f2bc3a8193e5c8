"""Models to choose from: those on the disk, and those of the catalogue that aren't."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import catalogue, library
from slmstudio.core.model.catalogue import CatalogueEntry
from slmstudio.core.model.facts import ModelFacts, read_model


@dataclass(frozen=True)
class ListedModel:
    """
    Attributes:
        facts: of its files, or what the catalogue says they will be; None if a size is missing.
        entry: what the catalogue says about it; None for a model that it doesn't have.
        folder: where it is; None for one that must be fetched first.
    """

    facts: ModelFacts | None
    entry: CatalogueEntry | None
    folder: Path | None

    @property
    def name(self) -> str:
        """The hub's name, or the folder's for a model that isn't in the catalogue."""
        return self.entry.id if self.entry else self.facts.name if self.facts else ""

    @property
    def title(self) -> str:
        """What people call it; a command that takes a model's name takes it too."""
        return self.entry.title if self.entry else self.name

    @property
    def parameters(self) -> int:
        return self.facts.parameters if self.facts else self.entry.parameters if self.entry else 0

    @property
    def licence(self) -> str:
        """Its name, as the model's own files say it if they do."""
        own = self.facts.licence if self.facts and self.folder else None
        if own is None and self.entry and self.entry.licence.id:
            own = self.entry.licence.name
        return own or tr("not stated")

    @property
    def disk_bytes(self) -> int:
        """What it takes on the disk, or what fetching it takes, about."""
        return self.facts.disk_bytes if self.facts and self.folder else self.entry.download_bytes if self.entry else 0

    def to_dict(self) -> dict[str, Any]:
        facts, entry = self.facts, self.entry
        return {
            "name": self.name, "title": self.title,
            "folder": str(self.folder) if self.folder else None, "parameters": self.parameters,
            "family": facts.family if facts else entry.family if entry else "",
            "kind": entry.kind if entry else None,
            "context": (facts.context_length if facts and self.folder else None) or (entry.context if entry else None),
            "languages": list(entry.languages) if entry else [],
            "language_count": entry.language_count if entry else 0, "licence": self.licence,
            "licence_use": entry.licence_use if entry else None, "gated": entry.gated if entry else None,
            "disk_bytes": self.disk_bytes, "sources": dict(entry.sources) if entry else {}}


@dataclass(frozen=True)
class Listing:
    """
    Attributes:
        on_disk, catalogue: models that the filter leaves; those on the disk aren't in the second again.
        unreadable: folders that look like models and can't be used, with the reason.
    """

    on_disk: tuple[ListedModel, ...]
    catalogue: tuple[ListedModel, ...]
    unreadable: tuple[tuple[Path, UserError], ...]


def listed(text: str = "", language: str | None = None, licence: str | None = None,
           kind: str | None = None) -> Listing:
    """The models that a filter leaves; arguments as of `catalogue.search`. Of another model, only its name is known.

    Raises:
        UserError: there is no such language, licence or kind.
    """
    wanted = catalogue.search(text, language, licence, kind)
    filtered = any((language, licence, kind))
    local: list[ListedModel] = []
    there: set[str] = set()
    unreadable: list[tuple[Path, UserError]] = []
    for folder in library.local_models():
        try:
            facts = read_model(folder)
        except UserError as error:
            unreadable.append((folder, error))
            continue
        entry = catalogue.entry_of(facts)
        there |= {entry.id} if entry else set()
        named = all(word in f"{facts.name} {facts.family}".lower() for word in text.lower().split())
        if entry in wanted if entry else named and not filtered:
            local.append(ListedModel(facts, entry, folder))
    others = tuple(ListedModel(entry.facts(paths.models_dir() / entry.name), entry, None)
                   for entry in wanted if entry.id not in there)
    return Listing(tuple(local), others, tuple(unreadable))
