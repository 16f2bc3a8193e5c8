"""What the list of models is made of: all of it runs off the UI thread."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slmstudio.core import paths
from slmstudio.core.errors import UserError

if TYPE_CHECKING:
    from slmstudio.core.data.reader import Dataset
    from slmstudio.core.hardware.machine import Machine
    from slmstudio.core.model.catalogue import CatalogueEntry
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.model.library import ListedModel, Starter
    from slmstudio.core.run.recommend import Recommendation, Suitability

# -- One base model on the list of the Model tab.


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
        suits: what it would be for the chosen rows on this machine; None before that is known.
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
    suits: Suitability | None = None

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

    @property
    def listed(self) -> ListedModel:
        """What the recommendation and the terminal know it as."""
        from slmstudio.core.model.library import ListedModel

        return ListedModel(self.sizes, self.known, self.folder if self.on_disk else None)

    @property
    def download_bytes(self) -> int:
        """What fetching it takes; 0 for one that is here, or of which nothing is known."""
        told = self.starter or self.known
        return told.download_bytes if told is not None and not self.on_disk else 0


def known_entries() -> list[ModelEntry]:
    """Models on this machine, the starters, and those of the catalogue that aren't here."""
    from slmstudio.core.model import catalogue, library
    from slmstudio.core.model.hub import on_disk, place

    found = []
    gguf = library.starter_gguf()
    if gguf is not None and not library.starter_ready():
        found.append(ModelEntry(library.starter_folder(), gguf=gguf, file_bytes=gguf.stat().st_size,
                                known=catalogue.find(library.STARTER_NAME)))
    for each in on_disk.local_models():
        source = each.source if each.source not in (on_disk.LIBRARY, on_disk.OPENED) else ""
        if each.kind == "folder":
            found.append(read(each.path, source))
        else:
            found.append(of_gguf(each.path, source))
    folders = {entry.folder for entry in found}
    found += [ModelEntry(starter.folder, starter=starter, known=catalogue.find(starter.key))
              for starter in library.STARTERS.values() if starter.folder not in folders]
    here = {entry.known.id for entry in found if entry.known is not None}
    return found + [ModelEntry(place.choose(known.id, None), known=known, repo=known.id)
                    for known in catalogue.entries() if known.id not in here]


def of_gguf(file: Path, source: str = "") -> ModelEntry:
    """A GGUF file, to be unpacked, or why it can't be; or the folder that was made of it already. Raises OSError."""
    from slmstudio.core import formats
    from slmstudio.core.model.gguf import model as gguf
    from slmstudio.core.model.hub import place

    try:
        name = gguf.folder_name(gguf.read_gguf(file))
    except UserError as error:
        return ModelEntry(file, error=error, source=source)
    for number in itertools.count(1):
        folder = paths.models_dir() / (name if number == 1 else f"{name}-{number}")
        if not folder.exists():
            return ModelEntry(folder, gguf=file, file_bytes=file.stat().st_size, source=source)
        if (formats.read("import", folder / place.SOURCE) or {}).get("gguf") == file.name:
            return read(folder)
    raise AssertionError("there is always another name")


def languages() -> dict[str, tuple[str, str]]:
    """By code, what each of the catalogue's languages is called in the language of the window, and in English."""
    from slmstudio.core.model import catalogue

    english = catalogue.languages(english=True)
    return {code: (name, english[code]) for code, name in catalogue.languages().items()}


def read(folder: Path, source: str = "") -> ModelEntry:
    """A folder's facts with what the catalogue says about the model, or why it has none."""
    from slmstudio.core.model.catalogue import entry_of
    from slmstudio.core.model.facts import read_model

    try:
        facts = read_model(folder)
    except UserError as error:
        return ModelEntry(folder, error=error, source=source)
    return ModelEntry(folder, facts=facts, known=entry_of(facts), source=source)


def of_hub(text: str) -> ModelEntry | None:
    """The model of the hub that somebody typed, to be fetched; None if it isn't the name of one."""
    from slmstudio.core.model import catalogue
    from slmstudio.core.model.hub import names, place

    try:
        named = names.parse(text)
    except UserError:
        return None
    if not named.owner:
        return None
    repo = named.repo if named.revision is None else f"{named.repo}@{named.revision}"
    return ModelEntry(place.choose(named.repo, named.revision), known=catalogue.find(named.repo), repo=repo,
                      typed=text)


def recommendation(entries: list[ModelEntry], dataset: Dataset | None, machine: Machine) -> Recommendation:
    """Which of these models suit the chosen rows, or usual ones while none are chosen."""
    from slmstudio.core.run import recommend

    rows = recommend.rows_of(dataset.records, dataset.layout) if dataset is not None else recommend.USUAL
    return recommend.recommend([each.listed for each in entries], rows, machine, recommend.is_online())
