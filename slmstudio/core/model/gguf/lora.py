"""What a LoRA adapter in a GGUF file changes, and which models it fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, number_text, tr
from slmstudio.core.model.gguf.header import DOWNLOAD, Damaged, Header, read_header
from slmstudio.core.model.json_files import printable

_A, _B = ".lora_a", ".lora_b"
_RIGHT_BASE = noop("Load the base model that the adapter was trained on, not a model that it is already merged into.")


@dataclass(frozen=True)
class LoraFacts:
    """An adapter in one GGUF file.

    Attributes:
        name: as the file says, else its stem.
        architecture: llama.cpp's name of the base model's.
        alpha: what the update is multiplied with, over the rank; 0 if the file doesn't say.
        rank: the largest of all its pairs.
        shapes: inputs and outputs of the weights that it changes, by the weight's name.
    """

    path: Path
    name: str
    architecture: str
    alpha: float
    rank: int
    shapes: dict[str, tuple[int, int]]
    file_bytes: int


def read_lora(path: Path | str) -> LoraFacts:
    """Read the header of a GGUF LoRA.

    Raises:
        UserError: no GGUF file, damaged, truncated, or something else than a LoRA adapter.
    """
    path = Path(path)
    name = printable(path.name)

    def check(values: dict[str, Any], lengths: dict[str, int], tensors: int) -> None:
        if values.get("general.type") != "adapter" or values.get("adapter.type") != "lora":
            raise UserError(tr("{name} isn't a LoRA adapter.", name=name),
                            tr("Its header says that it is something else."),
                            tr("Choose the adapter's GGUF file. You can export one in Results."))
        if not isinstance(values.get("general.architecture"), str) or not tensors:
            raise Damaged(tr("Its header doesn't say what it changes."))

    header = read_header(path, check)
    try:
        shapes, rank = _pairs(header.shapes)
    except Damaged as error:
        raise UserError(tr("{name} is damaged.", name=name), str(error), tr(DOWNLOAD)) from error
    alpha = header.values.get("adapter.lora.alpha")
    title = header.values.get("general.name")
    return LoraFacts(path, printable(title if isinstance(title, str) and title else path.stem),
                     printable(header.values["general.architecture"]),
                     float(alpha) if isinstance(alpha, (int, float)) else 0.0, rank, shapes, header.file_bytes)


def _pairs(tensors: dict[str, tuple[int, ...]]) -> tuple[dict[str, tuple[int, int]], int]:
    """The changed weights' shapes, and the largest rank: A has inputs × rank values, B rank × outputs."""
    shapes: dict[str, tuple[int, int]] = {}
    rank = 0
    for tensor, a in tensors.items():
        name = tensor.removesuffix(_A)
        b = tensors.get(name + _B)
        if name == tensor and not tensor.endswith(_B):
            raise Damaged(tr("The tensor {tensor} isn't part of a LoRA adapter.", tensor=printable(tensor)))
        if name == tensor:
            continue
        if b is None or len(a) < 2 or len(b) < 2:
            raise Damaged(tr("The change of {tensor} is incomplete.", tensor=printable(name)))
        # llama.cpp wants the two of the embedding the other way round.
        shape, ranks = ((b[1], a[1]), (a[0], b[0])) if name == "token_embd.weight" else ((a[0], b[1]), (a[1], b[0]))
        if ranks[0] != ranks[1]:
            raise Damaged(tr("The two parts of {tensor} have different ranks.", tensor=printable(name)))
        shapes[name] = shape
        rank = max(rank, ranks[0])
    if any(tensor.endswith(_B) and tensor.removesuffix(_B) not in shapes for tensor in tensors):
        raise Damaged(tr("Some of its changes are incomplete."))
    return shapes, rank


def check_fits(lora: LoraFacts, base: Path) -> None:
    """Raises UserError: the base model has a different architecture or different shapes, or can't be read."""
    _check_fits(lora, read_header(base), printable(base.name))


def _check_fits(lora: LoraFacts, base: Header, name: str) -> None:
    what = tr("The adapter {adapter} doesn't fit {model}.", adapter=printable(lora.path.name), model=name)
    architecture = base.values.get("general.architecture")
    if architecture != lora.architecture:
        raise UserError(what,
                        tr("It was trained on a {wanted} model; this one is {given}.",
                           wanted=lora.architecture, given=printable(str(architecture))), tr(_RIGHT_BASE))
    if base.values.get("split.count", 1) not in (0, 1):  # the other tensors are in other files; llama.cpp checks them
        return
    for tensor, (inputs, outputs) in lora.shapes.items():
        shape = base.shapes.get(tensor)
        if shape is None:
            raise UserError(what,
                            tr("It changes {tensor}, which the model doesn't have.", tensor=printable(tensor)),
                            tr(_RIGHT_BASE))
        if shape[:2] != (inputs, outputs):
            theirs, own = (" × ".join(map(number_text, sizes)) for sizes in (shape, (inputs, outputs)))
            raise UserError(what,
                            tr("{tensor} has {theirs} values in the model, and {own} in the adapter.",
                               tensor=printable(tensor), theirs=theirs, own=own), tr(_RIGHT_BASE))


def fitting(base: Path, candidates: Iterable[Path]) -> list[LoraFacts]:
    """The adapters among `candidates` that fit a model. Files that are none, or fit others, are passed over.

    Raises:
        UserError: the model can't be read.
    """
    header = read_header(base)
    found = []
    for path in candidates:
        try:
            lora = read_lora(path)
            _check_fits(lora, header, base.name)
        except UserError:
            continue
        found.append(lora)
    return found
