"""What a model in a GGUF file is, read from its header."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.gguf.header import DOWNLOAD, Damaged, Header, read_header
from slmstudio.core.model.json_files import and_more, printable
from slmstudio.core.units import format_bytes

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
    40: "Q1_0",
}
"""Quantization type of a file, by llama.cpp's `general.file_type`."""


_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
"""How llama.cpp ends the names of the files that a model is split into."""
FULL_PRECISION = ("F32", "F16", "BF16")
UNPACKED_BYTES = 2
"""Bytes per weight in a folder that was made from a GGUF file: bf16."""


@dataclass(frozen=True)
class GgufFacts:
    """A model in one GGUF file, or the first of several.

    Attributes:
        name: as the file says, else its stem.
        architecture: llama.cpp's name of it.
        parameters: values of all tensors of this file, and of the other parts of a split model.
        context_length: tokens the model was trained for; 0 if the file doesn't say.
        layers: decoder layers; 0 if the file doesn't say.
        quantization: Q4_K_M, F16 ...; the type of most of the bytes where the file doesn't say.
        file_bytes: size of the file, or of all parts together.
        chat_template: its jinja source, or None.
        files: the file; of a split model all parts, in their order.
    """

    path: Path
    name: str
    architecture: str
    parameters: int
    context_length: int
    vocabulary_size: int
    layers: int
    quantization: str
    file_bytes: int
    chat_template: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    files: tuple[Path, ...]

    @property
    def unpacked_bytes(self) -> int:
        """What the weights take in a folder that can be trained."""
        return UNPACKED_BYTES * self.parameters

    def cost(self) -> str:
        """What it costs to train this file instead of the model that it was made from, in a sentence or three."""
        size = tr("Unpacked, it takes {size} (2 bytes per weight).", size=format_bytes(self.unpacked_bytes))
        if self.quantization in FULL_PRECISION:
            lost = tr("Its weights are {quantization}, so hardly anything of the original is lost.",
                      quantization=self.quantization)
        else:
            lost = tr("{quantization}: its weights were rounded to about {bits:.1f} bits each. Training continues from "
                      "the rounded ones, so the model begins slightly worse than the original.",
                      quantization=self.quantization, bits=8 * self.file_bytes / max(1, self.parameters))
        return f"{lost} {size}"


def is_gguf(path: Path) -> bool:
    """Whether a file begins as a GGUF file does, whatever its name, as Ollama's are called sha256-…

    Raises:
        OSError: it can't be read.
    """
    with open(path, "rb", opener=files.regular) as file:
        return file.read(4) == b"GGUF"


def folder_name(facts: GgufFacts) -> str:
    """What to call the model's folder: after the file, or, if that has no usable name, after the name inside it."""
    if facts.path.suffix.lower() == ".gguf":
        return _PART.sub("", facts.path.name).removesuffix(facts.path.suffix)
    return re.sub(r"[^\w.-]+", "-", facts.name).strip("-.") or facts.path.name


def read_gguf(path: Path | str) -> GgufFacts:
    """Read a GGUF file's header, and check that all its tensors are there; of a split model, those of all parts.

    Raises:
        UserError: no GGUF file, a version or type that isn't known, damaged, truncated, without a model in it, or a
            part is missing.
    """
    path = Path(path)
    name = printable(path.name)
    first = read_header(path, lambda values, lengths, tensors: _refuse_other_kinds(values, lengths, tensors, name))
    files = _files(path, first)
    return _facts(path, first, files, [read_header(part, lambda *_: None) for part in files[1:]])


def _files(first: Path, header: Header) -> tuple[Path, ...]:
    """The file, or all parts of a split model: NAME-00001-of-00003.gguf and the others beside it."""
    count = header.values.get("split.count", 1)
    if type(count) is not int or count < 2:
        return (first,)
    found = _PART.search(first.name)
    if count > 99_999 or not found or int(found[2]) != count:
        raise UserError(tr("{file} is the first of {count:,} parts of a model.", file=printable(first.name),
                           count=count), tr("Its name doesn't say what the others are called."),
                        tr("Give the file its original name again, such as {name}, and put the other parts beside it.",
                           name=f"NAME-00001-of-{count:05d}.gguf"))
    start = first.name[:found.start()]
    files = tuple(first.with_name(f"{start}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1))
    if missing := [printable(path.name) for path in files if not path.is_file()]:
        raise UserError(ntr("{n:,} of the {parts:,} parts of {model} is missing.",
                            "{n:,} of the {parts:,} parts of {model} are missing.", len(missing), parts=count,
                            model=printable(start)),
                        tr("{files} should be beside the first part.", files=and_more(missing, 3)),
                        tr("Put all parts into one folder."))
    return files


def _refuse_other_kinds(values: dict[str, Any], lengths: dict[str, int], tensors: int, name: str) -> None:
    """GGUF files also hold things that aren't models."""
    kind = values.get("general.type")
    if kind == "adapter":
        raise UserError(tr("{name} is an adapter, not a model.", name=name),
                        tr("It changes a base model and can't run by itself."), tr("Choose the model's GGUF file."))
    if kind in ("mmproj", "imatrix") or values.get("general.architecture") == "clip":
        why = (tr("It contains measurements for quantizing a model.") if kind == "imatrix" else
               tr("It is the part of a model that handles images or sound."))
        raise UserError(tr("{name} isn't a language model.", name=name), why, tr("Choose the model's own GGUF file."))
    number, parts = values.get("split.no", 0), values.get("split.count", 1)
    if isinstance(number, int) and number > 0:
        raise UserError(tr("{name} is part {number} of {parts} of a model.", name=name, number=number + 1, parts=parts),
                        "", tr("Choose the first part. The others must be beside it."))
    if tensors == 0 and parts in (0, 1):  # the first part of several may have none
        if "tokenizer.ggml.tokens" in lengths:
            raise UserError(tr("{name} contains only a vocabulary.", name=name), tr("There are no weights in it."),
                            tr("Choose the model's GGUF file."))
        raise UserError(tr("{name} contains no weights.", name=name), tr("Its list of tensors is empty."), tr(DOWNLOAD))
    if not isinstance(values.get("general.architecture"), str):
        raise Damaged(tr("Its header doesn't name the architecture."))


def _facts(path: Path, header: Header, files: tuple[Path, ...], others: list[Header]) -> GgufFacts:
    values, lengths = header.values, header.lengths
    architecture = values["general.architecture"]

    def number(key: str) -> int | None:
        value = values.get(key)
        return value if type(value) is int and value >= 0 else None

    def text(key: str) -> str | None:
        value = values.get(key)
        return value if isinstance(value, str) and value else None

    file_type = number("general.file_type")
    template = text("tokenizer.chat_template")
    return GgufFacts(
        path=path, name=printable(text("general.name") or path.stem), architecture=printable(architecture),
        parameters=sum(math.prod(shape) for part in (header, *others) for shape in part.shapes.values()),
        context_length=number(f"{architecture}.context_length") or 0,
        vocabulary_size=lengths.get("tokenizer.ggml.tokens") or number(f"{architecture}.vocab_size") or 0,
        layers=number(f"{architecture}.block_count") or 0,
        quantization=(FILE_TYPES.get(file_type if file_type is not None else -1)
                      or sum((part.bytes_by_type for part in (header, *others)), Counter()).most_common(1)[0][0]),
        file_bytes=sum(part.file_bytes for part in (header, *others)), chat_template=template,
        bos_token_id=number("tokenizer.ggml.bos_token_id"),
        eos_token_id=number("tokenizer.ggml.eos_token_id"), files=files)
