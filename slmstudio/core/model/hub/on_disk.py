"""Models that are on this machine already: in the library, in the hub's cache, in LM Studio's and Ollama's folders, and
those that were opened once. They are used where they are, and nothing is ever written there.

Other programs' folders are looked at only so far: broken, forbidden and endless ones give what can be seen of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from slmstudio.core import files, paths, program, settings
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import catalogue
from slmstudio.core.model.architecture import why_no_language_model
from slmstudio.core.model.facts import refused_quantization
from slmstudio.core.model.gguf.model import is_gguf
from slmstudio.core.model.hub import names, place, token
from slmstudio.core.model.json_files import printable
from slmstudio.core.model.weights import INDEX, SINGLE

LIBRARY, OPENED, HUB_CACHE, LM_STUDIO, OLLAMA = "library", "opened", "hub cache", "LM Studio", "Ollama"
MOST_ENTRIES = 20_000
"""Names that are looked at in one program's folders."""
MOST_JSON = 1024 * 1024
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_MODEL_LAYER = "application/vnd.ollama.image.model"
Value = TypeVar("Value")


@dataclass(frozen=True)
class LocalModel:
    """A model on this machine.

    Attributes:
        path: its folder, or its GGUF file.
        name: what people call it, with its owner where that is known.
        source: `LIBRARY`, `OPENED`, `HUB_CACHE`, `LM_STUDIO` or `OLLAMA`.
        kind: "folder" (it can be trained) or "gguf".
        bytes: its weights' size.
    """

    path: Path
    name: str
    source: str
    kind: str
    bytes: int


class _Budget:
    """How many names may still be looked at."""

    def __init__(self) -> None:
        self.left = MOST_ENTRIES

    def entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """What is in a folder, by name; nothing where it can't be read."""
        found: list[os.DirEntry[str]] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self.left <= 0:
                        break
                    self.left -= 1
                    found.append(entry)
        except OSError:
            pass
        return sorted(found, key=lambda entry: entry.name.lower())

    def folders(self, folder: Path) -> list[Path]:
        return [Path(entry.path) for entry in self.entries(folder) if os.path.isdir(entry.path)]


def local_models() -> list[LocalModel]:
    """Everything, each once: the library by name, remembered folders, then the other programs' models."""
    found = [*_library(), *_opened(), *_hub_cache(), *_lm_studio(), *_ollama()]
    seen: dict[str, LocalModel] = {}
    for each in found:
        seen.setdefault(os.path.realpath(each.path), each)
    return list(seen.values())


def resolve(text: str) -> Path:
    """The model folder that somebody names: a path, or a model of the hub that is on this machine, by its name with or
    without its owner, or as the catalogue calls it.

    Raises:
        UserError: it isn't here (with the command that gets it), or several have that name.
    """
    path = Path(text)
    for folder in (path, *([paths.models_dir() / text] if text else [])):
        with contextlib.suppress(OSError, ValueError):  # as of a name that is too long
            if folder.exists():
                return folder.absolute()
    try:
        named = repo_name(text)
    except UserError:
        if len(path.parts) == 1 and catalogue.nearest(text):
            raise
        return path.absolute()  # whoever reads it says that it doesn't exist
    matching = [each for each in local_models() if _matches(each, named)]
    folders = [each for each in matching if each.kind == "folder"]
    owners = {each.name.lower() for each in folders if "/" in each.name}
    if len(owners) > 1 and not named.owner:
        raise UserError(tr("Several models are called {name}.", name=named.name),
                        tr("They are {names}.", names=", ".join(sorted(owners))), tr("Give the owner too."))
    if folders:
        return max(folders, key=lambda each: "/" in each.name).path
    get = program.command("models", "get", named.repo + (f"@{named.revision}" if named.revision else ""))
    if matching:
        raise UserError(tr("{name} is on this machine only as a GGUF file, which can't be trained as it is.",
                           name=text),
                        tr("It is in the hub's cache.") if matching[0].source == HUB_CACHE else
                        tr("It is in {program}'s folder.", program=matching[0].source),
                        tr("Get the version that can be trained: {command}", command=get) if named.owner else
                        tr("Import it: {command}", command=program.command("models", "import", matching[0].path)))
    remedy = tr("Get it with: {command}", command=get)
    if not named.owner:
        close = [entry.id for entry in catalogue.nearest(text, 3)] or ["Qwen/Qwen2.5-1.5B-Instruct"]
        remedy = tr("Include its owner, for example {names}. To get one: {command}", names=", ".join(close),
                    command=program.command("models", "get", close[0]))
    raise UserError(tr("{name} isn't on this machine.", name=text),
                    tr("There is neither a folder nor a model with that name."), remedy)


def repo_name(text: str) -> names.RepoName:
    """The model of the hub that a user means: by its name there, or as the catalogue calls it.

    Raises:
        UserError: it doesn't name a model; the remedy has those with a similar name.
    """
    known = catalogue.find(text) if "/" not in text else None
    try:
        return names.parse(known.id if known is not None else text)
    except UserError as error:
        close = ", ".join(entry.id for entry in catalogue.nearest(text, 3))
        remedy = tr("Did you mean {names}?", names=close) if close else error.remedy
        raise UserError(error.what, error.why, remedy) from error


def _matches(found: LocalModel, named: names.RepoName) -> bool:
    owner, _, name = found.name.lower().rpartition("/")
    if named.revision is not None:
        source = place.read_source(found.path)
        return source is not None and place.is_same(source, named.repo, named.revision)
    return name == named.name.lower() and (not owner or not named.owner or owner == named.owner.lower())


# -- each place ----------------------------------------------------------------------------------------------


def _library() -> Iterator[LocalModel]:
    for folder in _Budget().folders(paths.models_dir()):
        source = place.read_source(folder)
        if not folder.name.startswith(".") and _has(folder, "config.json"):
            yield _folder(folder, str(source["repo"]) if source else folder.name, LIBRARY)


def _opened() -> Iterator[LocalModel]:
    for name in settings.load(put_aside=False)[0].model_folders:
        if _has(Path(name), "config.json"):
            yield _folder(Path(name), Path(name).name, OPENED)


def hub_cache() -> Path:
    """Where the hub's own library keeps models, by the variables that it reads."""
    chosen = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(os.path.expandvars(chosen)).expanduser() if chosen else token.hub_home() / "hub"


def _hub_cache() -> Iterator[LocalModel]:
    budget = _Budget()
    for folder in budget.folders(hub_cache()):
        if not folder.name.startswith("models--"):
            continue
        snapshot = _snapshot(folder, budget)
        if snapshot is not None:
            name = folder.name.removeprefix("models--").replace("--", "/", 1)
            yield from _models_in(snapshot, name, HUB_CACHE, budget)


def _snapshot(folder: Path, budget: _Budget) -> Path | None:
    """The snapshot of a model in the hub's cache that its main branch last pointed to, or else the newest."""
    try:
        commit = files.read_text(folder / "refs" / "main").strip()[:64]
    except (OSError, ValueError):
        commit = ""
    if re.fullmatch("[0-9a-f]{40}", commit) and (folder / "snapshots" / commit).is_dir():
        return folder / "snapshots" / commit
    return max(budget.folders(folder / "snapshots"), default=None,
               key=lambda snapshot: _attempt(0.0, os.path.getmtime, snapshot))


def _lm_studio() -> Iterator[LocalModel]:
    budget = _Budget()
    for root in (".lmstudio", os.path.join(".cache", "lm-studio")):
        for owner in budget.folders(Path.home() / root / "models"):
            for folder in budget.folders(owner):
                yield from _models_in(folder, f"{owner.name}/{folder.name}", LM_STUDIO, budget)


def _models_in(folder: Path, name: str, source: str, budget: _Budget) -> Iterator[LocalModel]:
    """A model that can be trained, or the GGUF files of a folder. Those for pictures, and packed ones, are left out."""
    if _has(folder, "config.json") and (_has(folder, SINGLE) or _has(folder, INDEX)):
        config = _json(folder / "config.json")
        if not why_no_language_model(config) and not refused_quantization(config):
            yield _folder(folder, name, source)
        return
    for entry in budget.entries(folder):
        lower = entry.name.lower()
        if lower.endswith(".gguf") and "mmproj" not in lower and not _LATER_PART.search(lower):
            yield LocalModel(Path(entry.path), f"{name.rpartition('/')[0]}/{Path(entry.name).stem}", source, "gguf",
                             _size(Path(entry.path)))


def ollama_folders() -> list[Path]:
    """Where Ollama keeps models: its own, and those of the service that its Linux installer sets up."""
    if chosen := os.environ.get("OLLAMA_MODELS"):
        return [Path(chosen)]
    return [Path.home() / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]


def _ollama() -> Iterator[LocalModel]:
    budget = _Budget()
    for root in ollama_folders():
        for host in budget.folders(root / "manifests"):
            for owner in budget.folders(host):
                for model in budget.folders(owner):
                    for tag in budget.entries(model):
                        name = f"{model.name}:{tag.name}"
                        blob = _blob(root, Path(tag.path))
                        if blob is not None:
                            yield LocalModel(blob, name if owner.name == "library" else f"{owner.name}/{name}", OLLAMA,
                                             "gguf", _size(blob))


def _blob(root: Path, manifest: Path) -> Path | None:
    """The GGUF file of a model of Ollama's; None if its manifest makes no sense or names another kind of file."""
    layers = _json(manifest).get("layers")
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and layer.get("mediaType") == _MODEL_LAYER:
            digest = str(layer.get("digest"))
            blob = root / "blobs" / digest.replace(":", "-")
            if re.fullmatch("sha256:[0-9a-f]{64}", digest) and _attempt(False, is_gguf, blob):
                return blob
    return None


def _json(file: Path) -> dict[str, Any]:
    try:
        with open(file, "rb", opener=files.regular) as opened:
            value = json.loads(opened.read(MOST_JSON))
    except (OSError, ValueError, RecursionError):
        return {}
    return files.an_object(value)


def _folder(folder: Path, name: str, source: str) -> LocalModel:
    weights = (entry for entry in _Budget().entries(folder) if entry.name.endswith(".safetensors"))
    return LocalModel(folder, printable(name, 200), source, "folder", sum(_size(Path(entry.path)) for entry in weights))


def _size(path: Path) -> int:
    return _attempt(0, os.path.getsize, path)


def _has(folder: Path, name: str) -> bool:
    return os.path.isfile(folder / name)  # False also of a disk that isn't plugged in, or a folder of somebody else's


def _attempt(otherwise: Value, look: Callable[[Path], Value], path: Path) -> Value:
    """What `look` finds of a path; `otherwise` if it isn't there, or can't be looked at."""
    try:
        return look(path)
    except OSError:
        return otherwise
