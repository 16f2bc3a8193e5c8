"""What a model in a GGUF file is, read from its header, and whether llama.cpp can be given it.

llama.cpp ends the process where a number of layers, a constant or a type is impossible, and takes another token's id
where one is beyond the vocabulary. What else it refuses, it says itself (`worker.model.llama_gguf.reason`): sizes that
differ between the keys and the tensors, missing tensors, unknown architectures and pre-tokenizers.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, ntr, number_text, tr
from slmstudio.core.model.chat_template import SPECIAL, ChatTemplate
from slmstudio.core.model.gguf.header import DOWNLOAD, STRING, TOKEN_TYPES, TOKENS, Damaged, Header, read_header
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
        header: of the file, or of the first part.
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
    files: tuple[Path, ...]
    header: Header = field(repr=False, compare=False)

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
    return _facts(path, first, files, [read_header(part) for part in files[1:]])


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
        files=files, header=header)


SIZES = {"block_count": 512, "embedding_length": 65_536, "context_length": 2**31, "attention.head_count": 4_096}
"""Whole numbers that each model needs below its architecture's name, and the most; llama.cpp has at most 512 layers."""
_WHOLE = ("I8", "I16", "I32", "I64")
_NORMAL, _LAST_TYPE = 1, 6
"""Of tokens: ordinary ones, and llama.cpp's last type (bytes)."""
_NONE = 2**32 - 1
"""-1 without a sign: no token."""
_NO_LIST = {STRING: noop("{key} isn't a list of texts."), 4: noop("{key} isn't a list of whole numbers."),
            6: noop("{key} isn't a list of numbers.")}
"""What is said about a list with items other than these, by ggml's number of the kind."""


def read_sound_gguf(path: Path | str) -> GgufFacts:
    """`read_gguf`, and a look at what llama.cpp would end the process for, or silently ignore.

    Raises:
        UserError: as of `read_gguf`; or the header contradicts itself, `problems` naming all that is wrong.
    """
    facts = read_gguf(path)
    header = facts.header
    problems = [*_sizes(header, facts.architecture), *_constants(header), *_vocabulary(header), *_template(header),
                *_tensors(header)]
    if problems:
        one = len(problems) == 1
        raise UserError(tr("{name} is damaged.", name=printable(facts.path.name)),
                        problems[0] if one else tr("{count:,} things in its header are wrong.", count=len(problems)),
                        tr(DOWNLOAD), [] if one else [Problem(each) for each in problems])
    return facts


def _sizes(header: Header, architecture: str) -> list[str]:
    """What each model must say about itself. Some keys may be a list with a number for each layer."""
    found = []
    for name, most in SIZES.items():
        key = f"{architecture}.{name}"
        value = header.values.get(key)
        if key in header.lengths and name.startswith("attention."):
            continue
        if value is None:
            found.append(tr("Its header doesn't say {key}.", key=key))
        elif type(value) is not int or not 0 < value <= most:
            found.append(tr("{key} is {value}; it must be a whole number from 1 to {most:,}.", key=key,
                            value=printable(str(value), 40), most=most))
    return found


def _constants(header: Header) -> list[str]:
    numbers = [(printable(key), value) for key, value in header.values.items() if isinstance(value, float)]
    return [*(tr("{key} is {value}, which isn't a number.", key=key, value=value)
              for key, value in numbers if not math.isfinite(value)),
            *(tr("{key} is {value}; it must be above 0.", key=key, value=value)
              for key, value in numbers if ".rope.freq_base" in key and value <= 0)]


def _vocabulary(header: Header) -> list[str]:
    """The lists that describe the tokens must be as long as the list of tokens, and the ids of tokens be in it."""
    if header.values.get("tokenizer.ggml.model") in ("no_vocab", "none"):
        return []
    count, found = header.lengths.get(TOKENS), []
    if count is None:
        return [tr("Its header has no vocabulary ({tokens}).", tokens=TOKENS)]
    if "tokenizer.ggml.model" not in header.values:
        found.append(tr("Its header doesn't say what kind of vocabulary it has (tokenizer.ggml.model)."))
    for name, kinds in (("tokens", (STRING,)), ("token_type", (4, 5)), ("scores", (6,)), ("merges", (STRING,))):
        key = f"tokenizer.ggml.{name}"
        if key in header.kinds and header.kinds[key] not in kinds:
            found.append(tr(_NO_LIST[kinds[0]], key=key))
        elif name in ("token_type", "scores") and header.lengths.get(key, count) != count:
            found.append(tr("{key} has {entries:,} entries for {tokens:,} tokens.", key=key,
                            entries=header.lengths[key], tokens=count))
    if header.values.get("tokenizer.ggml.model") == "gpt2" and "tokenizer.ggml.merges" not in header.lengths:
        found.append(tr("Its header has no merges for its vocabulary (tokenizer.ggml.merges)."))
    rows = header.shapes.get("token_embd.weight", (0, count))
    if len(rows) != 2 or rows[1] != count:
        found.append(tr("The vocabulary has {tokens:,} tokens, and token_embd.weight has {rows:,} rows.", tokens=count,
                        rows=rows[-1]))
    for key, value in header.values.items():
        if key.startswith("tokenizer.ggml.") and key.endswith("_token_id") and value != _NONE and (
                type(value) is not int or not -1 <= value < count):
            shown = number_text(value) if type(value) is int else printable(str(value), 40)
            found.append(tr("{key} is {value}, and the vocabulary has {tokens:,} tokens.", key=printable(key),
                            value=shown, tokens=count))
    return [*found, *_token_types(header)]


def _token_types(header: Header) -> list[str]:
    """A token of another type than llama.cpp's is cut and written as nothing."""
    types = header.token_types
    unknown = [kind for kind in types if not 0 <= kind <= _LAST_TYPE]
    if unknown:
        return [ntr("{n:,} entry of {key} is a type that doesn't exist: {types}.",
                    "{n:,} entries of {key} are types that don't exist: {types}.", sum(types[kind] for kind in unknown),
                    key=TOKEN_TYPES, types=and_more([number_text(kind) for kind in unknown], 3))]
    return [tr("According to {key}, its vocabulary has no ordinary tokens, so it can't write any text.",
               key=TOKEN_TYPES)] \
        if types and not types[_NORMAL] else []


def _template(header: Header) -> list[str]:
    source = header.values.get("tokenizer.chat_template", "")
    if not isinstance(source, str) or "\ufffd" in source:
        return [tr("Its chat template isn't UTF-8 text.")]
    if source and ChatTemplate(source, dict.fromkeys(SPECIAL, "")).omits_question():
        return [tr("Its chat template never shows the question to the model.")]
    return []


def _tensors(header: Header) -> list[str]:
    """Weights are fractions: llama.cpp reads whole numbers as if they were, or ends the process."""
    whole = [name for name, kind in header.types.items() if kind in _WHOLE and name.endswith(".weight")]
    return [ntr("{n:,} of its tensors contains whole numbers ({type}) where weights belong: {tensor}.",
                "{n:,} of its tensors contain whole numbers ({type}) where weights belong, such as "
                "{tensor}.", len(whole),
                type=header.types[whole[0]], tensor=printable(whole[0]))] if whole else []
