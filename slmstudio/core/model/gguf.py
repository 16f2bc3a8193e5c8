"""What a model in a GGUF file is, read from its header."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.model.gguf_header import DOWNLOAD, Damaged, Header, read_header
from slmstudio.core.model.json_files import printable

FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
    40: "Q1_0",
}
"""Quantization type of a file, by llama.cpp's `general.file_type`."""


@dataclass(frozen=True)
class GgufFacts:
    """A model in one GGUF file, or the first of several.

    Attributes:
        path: the file.
        name: as the file says, else its stem.
        architecture: llama.cpp's name of it.
        parameters: values of all tensors of this file.
        context_length: tokens the model was trained for; 0 where the file does not say.
        vocabulary_size: tokens in the vocabulary.
        layers: decoder layers; 0 where the file does not say.
        quantization: Q4_K_M, F16 ...; the type of most of the bytes where the file does not say.
        file_bytes: size of the file.
        chat_template: its jinja source, or None.
        bos_token_id, eos_token_id: or None.
        parts: how many files the model is split into.
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
    parts: int


def read_gguf(path: Path | str) -> GgufFacts:
    """Read a GGUF file's header, and check that all its tensors are there.

    Raises:
        UserError: no GGUF file, a version or type that is not known, damaged, truncated, or without a model in it.
    """
    path = Path(path)
    name = printable(path.name)
    return _facts(path, read_header(path, lambda values, lengths, tensors: _refuse_other_kinds(
        values, lengths, tensors, name)))


def _refuse_other_kinds(values: dict[str, Any], lengths: dict[str, int], tensors: int, name: str) -> None:
    """GGUF also holds things that are no model."""
    kind = values.get("general.type")
    if kind == "adapter":
        raise UserError(f"{name} is an adapter, not a model.", "It changes a base model and cannot run alone.",
                        "Choose the model's GGUF file.")
    if kind in ("mmproj", "imatrix") or values.get("general.architecture") == "clip":
        raise UserError(f"{name} is no language model.", "It is a companion of one: "
                        + ("measurements for quantizing." if kind == "imatrix" else "the part that sees or hears."),
                        "Choose the model's own GGUF file.")
    if tensors == 0:
        if "tokenizer.ggml.tokens" in lengths:
            raise UserError(f"{name} holds only a vocabulary.", "There are no weights in it.",
                            "Choose the model's GGUF file.")
        raise UserError(f"{name} holds no weights.", "Its list of tensors is empty.", DOWNLOAD)
    if not isinstance(values.get("general.architecture"), str):
        raise Damaged("Its header does not name the architecture")
    number, parts = values.get("split.no", 0), values.get("split.count", 1)
    if isinstance(number, int) and number > 0:
        raise UserError(f"{name} is part {number + 1} of {parts} of a model.", "",
                        "Choose the first part; the others must lie beside it.")


def _facts(path: Path, header: Header) -> GgufFacts:
    values, lengths = header.values, header.lengths
    architecture = values["general.architecture"]

    def number(key: str) -> int | None:
        value = values.get(key)
        return value if type(value) is int and value >= 0 else None

    def text(key: str) -> str | None:
        value = values.get(key)
        return value if isinstance(value, str) and value else None

    file_type = number("general.file_type")
    parts = number("split.count") or 1
    template = text("tokenizer.chat_template")
    return GgufFacts(
        path=path, name=printable(text("general.name") or path.stem), architecture=printable(architecture),
        parameters=sum(map(math.prod, header.shapes.values())),
        context_length=number(f"{architecture}.context_length") or 0,
        vocabulary_size=lengths.get("tokenizer.ggml.tokens") or number(f"{architecture}.vocab_size") or 0,
        layers=number(f"{architecture}.block_count") or 0,
        quantization=(FILE_TYPES.get(file_type if file_type is not None else -1)
                      or header.bytes_by_type.most_common(1)[0][0]),
        file_bytes=header.file_bytes, chat_template=template, bos_token_id=number("tokenizer.ggml.bos_token_id"),
        eos_token_id=number("tokenizer.ggml.eos_token_id"), parts=parts)
