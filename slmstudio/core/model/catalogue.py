"""The catalogue: base models that are known before they are on the disk, from resources/catalogue.json.

Each figure there has its source; one that has none is left out. What a model's own files say overrules all of it: once
a model is on the disk, `facts.read_model` is asked, not the catalogue.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import formats, i18n, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import messages, noop, tr
from slmstudio.core.model.facts import CONTEXT_IF_UNKNOWN, ModelFacts

FILE = "catalogue.json"
ALIKE = 0.05
"""Share by which a model's parameters may differ from the catalogue's and still be that model."""
MANY = 100
"""Languages among which all those are that many people write."""
_SIZES = ("layers", "hidden_size", "intermediate_size", "heads", "kv_heads", "head_dim")
_NOT_THERE = {"language": noop("The catalogue has no language {given!r}."),
              "licence": noop("The catalogue has no licence {given!r}."),
              "kind": noop("The catalogue has no kind {given!r}.")}
_KIND_WORDS = re.compile(r"(instruct|chat|base|it|pt|hf)$")


@dataclass(frozen=True)
class Licence:
    """
    Attributes:
        id: as the hub tags it, "apache-2.0"; "" if none is known.
        commercial: whether money may be made with the model; None if that isn't known.
        allows, duties: what it lets people do and what it asks of them, in an English sentence each.
    """

    id: str
    name: str
    commercial: bool | None
    allows: str
    duties: str

    @property
    def use(self) -> str:
        """What it allows and asks for, in sentences."""
        if not self.id:
            return tr("Its licence isn't known. Read it on the model's page before you use the model.")
        return " ".join(tr(sentence) for sentence in (self.allows, self.duties) if sentence)


UNKNOWN_LICENCE = Licence("", "", None, "", "")


@dataclass(frozen=True)
class CatalogueEntry:
    """A base model that can be fetched. What no source says is None.

    Attributes:
        id: its name on the hub, ORG/NAME.
        kind: "instruct" (it answers as it is, and has a chat template) or "base" (it continues text).
        model_type: config.json's name of the architecture.
        parameters: a head tied to the embeddings counts once.
        context: tokens.
        vocabulary: rows of the embedding table.
        languages: ISO 639 codes that its makers name.
        language_count: how many its makers say it has; 0 if they say nothing, and more than `languages` where they
            don't name them all.
        gated: whether the hub asks to accept terms, and for a token, first.
        sources: where the figures are from, by what they are of.
    """

    id: str
    title: str
    family: str
    kind: str
    model_type: str
    parameters: int
    context: int | None
    vocabulary: int
    layers: int | None
    hidden_size: int | None
    intermediate_size: int | None
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    tied_embeddings: bool | None
    languages: tuple[str, ...]
    language_count: int
    licence: Licence
    gated: bool | None
    disk_bytes: int | None
    sources: Mapping[str, str] = field(hash=False)

    @property
    def name(self) -> str:
        """Without the organization: what its folder is called."""
        return self.id.rpartition("/")[2]

    @property
    def download_bytes(self) -> int:
        """What fetching it takes, about: the size on the disk, else two bytes for each parameter (bf16)."""
        return self.disk_bytes or 2 * self.parameters

    def speaks(self, language: str) -> bool | None:
        """Whether its makers name a language (a code or an English name); None if they don't name all they count."""
        if language_code(language) in self.languages:
            return True
        return None if self.language_count > len(self.languages) or not self.language_count else False

    @property
    def has_most_languages(self) -> bool:
        """Whether its makers count so many languages, without naming them, that the rows' is probably among them."""
        return self.language_count >= MANY and not self.languages

    def facts(self, folder: Path) -> ModelFacts | None:
        """What the model will be in `folder`, so that its memory can be estimated before it is fetched.

        Returns:
            None if a size is missing.
        """
        sizes = {name: getattr(self, name) for name in _SIZES}
        if None in sizes.values() or self.tied_embeddings is None:
            return None
        return ModelFacts(
            path=folder, name=self.name, family=self.family, architecture=self.model_type, parameters=self.parameters,
            context_length=self.context or CONTEXT_IF_UNKNOWN, vocabulary_size=self.vocabulary,
            tied_embeddings=self.tied_embeddings, dtype="bf16", licence=self.licence.name if self.licence.id else None,
            disk_bytes=self.download_bytes, has_chat_template=self.kind == "instruct", quantization=None,
            model_type=self.model_type, **sizes)


@functools.cache
def entries() -> tuple[CatalogueEntry, ...]:
    """All of them, in the file's order: family after family.

    Raises:
        UserError: the program's own file is missing or damaged.
    """
    state = _state()
    licences = {key: Licence(key, each["name"], each["use"] == "commercial", each["allows"], each["duties"])
                for key, each in state["licences"].items()}
    return tuple(_entry(model, state["language_lists"], licences) for model in state["models"])


def languages(english: bool = False) -> dict[str, str]:
    """Names of the languages that models of the catalogue name, by ISO 639 code, in the names' order.

    Args:
        english: in English, whatever is spoken.
    """
    used = {code for entry in entries() for code in entry.languages}
    spoken = i18n.language()
    names = _names() if english or spoken.startswith("en") else _translated_names(spoken)
    return {code: name for code, name in sorted(names.items(), key=lambda item: item[1]) if code in used}


def language_code(language: str) -> str:
    """The ISO 639 code of a language that is given by it or by its English name, in any case; "" for another word."""
    wanted = language.strip().lower()
    names = _names()
    return wanted if wanted in names else next((code for code, name in names.items() if name.lower() == wanted), "")


@functools.cache
def _translated_names(language: str) -> dict[str, str]:
    """Names of the catalogue's languages in a language, as CLDR has them, else in English."""
    spoken = messages.locale(language)
    known = spoken.languages if spoken is not None else {}
    return {code: known.get(code, name) for code, name in _names().items()}


def find(name: str) -> CatalogueEntry | None:
    """The entry that a name means: "Qwen/Qwen2.5-1.5B", "qwen 2.5 1.5b", "Llama-3.2-1B"; None for none or several.

    Case, spaces and signs don't matter. A name that says neither base nor instruct means the model with exactly that
    name, else the one that answers.
    """
    wanted, keys = _plain(name), _keys()
    if wanted in keys:
        return keys[wanted]
    same = {entry.id: entry for key, entry in keys.items() if _KIND_WORDS.sub("", key) == wanted}
    found = [entry for entry in same.values() if entry.kind == "instruct"] or list(same.values())
    return found[0] if len(found) == 1 else None


def entry_of(facts: ModelFacts) -> CatalogueEntry | None:
    """What the catalogue says about a model on the disk; None for another one of the same name, too."""
    entry = find(facts.name)
    if entry is None or entry.model_type != facts.model_type:
        return None
    return entry if abs(facts.parameters / entry.parameters - 1) <= ALIKE else None


def nearest(name: str, most: int = 5) -> list[CatalogueEntry]:
    """Entries whose name is like a misspelled one, the likest first."""
    wanted, keys = _plain(name), _keys()
    close = difflib.get_close_matches(wanted, keys, n=3 * most, cutoff=0.6)
    holding = sorted((key for key in keys if len(wanted) > 2 and wanted in key), key=len)
    return list({keys[key].id: keys[key] for key in [*holding, *close]}.values())[:most]


def search(text: str = "", language: str | None = None, licence: str | None = None,
           kind: str | None = None) -> list[CatalogueEntry]:
    """Entries that a filter leaves, in the file's order; with a language, those whose makers name it come first.

    Args:
        text: words that must all be in the name, the title, the family or a language's name.
        language: code or English name. Models whose makers count more languages than they name stay in, at the end.
        licence: "commercial", "research", or a licence's id.
        kind: "instruct" or "base".

    Raises:
        UserError: the catalogue has no such language, licence or kind.
    """
    _check("language", language, language_code(language or ""), sorted(_names().values()))
    known = {"commercial", "research", *(entry.licence.id for entry in entries() if entry.licence.id)}
    _check("licence", licence, licence in known, sorted(known))
    _check("kind", kind, kind in ("base", "instruct"), ["base", "instruct"])
    words = text.lower().split()
    left = [entry for entry in entries()
            if all(word in _haystack(entry) for word in words)
            and (kind is None or entry.kind == kind) and (licence is None or _allows(entry.licence, licence))]
    if language is None:
        return left
    return ([entry for entry in left if entry.speaks(language)]
            + [entry for entry in left if entry.speaks(language) is None and entry.language_count])


def _check(what: str, given: str | None, known: object, names: list[str]) -> None:
    if given is None or known:
        return
    close = difflib.get_close_matches(given, names, n=1)
    raise UserError(tr(_NOT_THERE[what], given=given), "",
                    tr("Did you mean {close!r}?", close=close[0]) if close else
                    tr("It has: {names}.", names=", ".join(names)))


def _allows(licence: Licence, wanted: str) -> bool:
    if wanted in ("commercial", "research"):
        return licence.commercial is (wanted == "commercial")
    return licence.id == wanted


def _haystack(entry: CatalogueEntry) -> str:
    names = _names()
    return " ".join((entry.id, entry.title, entry.family, *(names[code] for code in entry.languages))).lower()


@functools.cache
def _keys() -> dict[str, CatalogueEntry]:
    """Entries by their names without signs; the first entry keeps a name that two have."""
    keys: dict[str, CatalogueEntry] = {}
    for entry in entries():
        for name in (entry.id, entry.name, entry.title):
            keys.setdefault(_plain(name), entry)
    return keys


def _plain(name: str) -> str:
    """Without signs, and without the "Meta-" that some Llamas' names begin with and others have lost."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("meta-llama-", "llama-"))



@functools.cache
def _state() -> dict[str, Any]:
    file = paths.resources() / FILE
    state = formats.read("catalogue", file)
    if state is None:
        raise UserError(tr("The catalogue of models can't be read: {file}", file=file),
                        tr("The file is missing or damaged."), tr("Install SLM Studio again."))
    return state


def _names() -> dict[str, str]:
    names: dict[str, str] = _state()["language_names"]
    return names


def _entry(model: dict[str, Any], lists: dict[str, Any], licences: dict[str, Licence]) -> CatalogueEntry:
    spoken = lists.get(model["languages"], {"count": 0, "named": []})
    return CatalogueEntry(**{**model, "languages": tuple(spoken["named"]), "language_count": spoken["count"],
                             "licence": licences.get(model["licence"], UNKNOWN_LICENCE)})
