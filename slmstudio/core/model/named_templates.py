"""Chat templates by name, for base models that have none of their own.

They are in resources/chat_templates, written for public formats. What is kept with a run is the jinja text made for its
model, and that text is what exports, evaluations and other programs read; a template that must change gets a new name,
so that a run can be repeated. No token is added to a vocabulary, since the weights would need a row for it: where a
format's own end of a turn isn't a token of the model, the model's EOS token ends its turns instead.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import BinaryIO, NamedTuple

from slmstudio.core import files, i18n, paths
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.chat_template import ChatTemplate, find_template, special_tokens
from slmstudio.core.model.json_files import printable
from slmstudio.core.model.tokens import end_of_turn, load_tokenizer
from slmstudio.core.model.weights import Tensor, Weights, read_weights

_BOS = "{{- bos_token }}"
_READ = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors")


@dataclass(frozen=True)
class Named:
    """A template that can be chosen.

    Attributes:
        about: what it is, for who reads this.
        own: tokens that a vocabulary made for this format has; empty for one that plain words make.
        end: the token that ends a turn; "" is the model's EOS.
    """

    label: str
    about: str
    own: tuple[str, ...] = ()
    end: str = ""


NAMED: Mapping[str, Named] = {
    "chatml": Named("ChatML", "The format of Qwen, SmolLM and many others; each turn says who speaks.",
                    ("<|im_start|>", "<|im_end|>"), "<|im_end|>"),
    "llama3": Named("Llama 3", "The format of Llama 3 and its successors.",
                    ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|eot_id|>"),
    "gemma": Named("Gemma", "The format of Gemma; a system message is put before the first question.",
                   ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>"),
    "phi3": Named("Phi-3", "The format of Phi-3 and Phi-3.5.", ("<|user|>", "<|assistant|>", "<|end|>"),
                  "<|end|>"),
    "mistral": Named("Mistral", "Questions in [INST] brackets; a system message is put before the first one.",
                     ("[INST]", "[/INST]")),
    "zephyr": Named("Zephyr", "Each turn says who speaks, in plain characters; suits every model with an EOS token."),
    "vicuna": Named("Vicuna", "USER and ASSISTANT in plain words, on one line; the fewest tokens a turn."),
    "alpaca": Named("Alpaca", "Instruction and response under headings; for single questions, not conversations."),
}
"""By the name that a run's configuration has. Those of plain words come last, in the order of their proposal."""


@dataclass(frozen=True)
class Fitting:
    """A named template that suits a model.

    Attributes:
        name: as in `NAMED`.
        end: the token that ends a turn.
        reason: why it suits, in sentences.
        warning: what speaks against it; empty if nothing does.
    """

    name: str
    end: str
    reason: str
    warning: str = ""

    @property
    def label(self) -> str:
        return NAMED[self.name].label


def template_of(folder: Path | str, name: str = "", result: Path | str | None = None) -> ChatTemplate:
    """The chat template that a run learns with, or a result was learned with.

    Args:
        folder: of the base model, whose special tokens it is given.
        name: of a named template; "" for the model's own.
        result: adapter folder of a run: the template that is in it comes before all else.

    Raises:
        UserError: there is none, it is broken, or no template has this name.
    """
    folder = Path(folder)
    kept = find_template(Path(result)) if result is not None else None
    if kept is not None:
        template = ChatTemplate(kept, special_tokens(folder))
        template.check()
        return template
    return ChatTemplate(_source(folder, name), special_tokens(folder)) if name else ChatTemplate.from_folder(folder)


def optional_template(folder: Path | str, name: str = "") -> ChatTemplate:
    """The same; an empty one where the model has none and none is named, for plain text, which needs none.

    Raises:
        UserError: as `template_of`.
    """
    if not name and find_template(Path(folder)) is None:
        return ChatTemplate("", special_tokens(Path(folder)))
    return template_of(folder, name)


def chosen_or_proposed(folder: Path, name: str = "") -> str:
    """`name`; for a model without a template of its own, where none is chosen, the name of what suits it best.

    Raises:
        UserError: the model has no template, and none suits it.
    """
    return name if name or find_template(folder) is not None else fitting(folder)[0].name


def fitting(folder: Path) -> list[Fitting]:
    """The templates that suit a model, the best first: those whose own tokens its vocabulary has; then, with the EOS
    token as the end of a turn, those of plain words. One whose end the model never learned comes last.

    Raises:
        UserError: none suits, since the model has no EOS token; or the tokenizer can't be read.
    """
    special = _vocabulary(folder).special
    eos = special_tokens(folder).get("eos_token", "")
    found: list[Fitting] = []
    for name, about in NAMED.items():
        end = about.end or eos
        if end not in special or not all(token in special for token in about.own):
            continue
        said = (tr("Its vocabulary has the tokens {tokens}.", tokens=", ".join(about.own)) if about.own else
                tr("It has no tokens of a chat format, so plain words mark who is speaking.") if not found else
                tr("Plain words mark who is speaking."))
        ends = tr("{token} ends each turn.", token=end)
        found.append(Fitting(name, end, f"{said} {ends}", _never_learned(folder, end)))
    if not found:
        raise UserError(tr("No chat template suits {model}.", model=printable(folder.name)),
                        tr("Its tokenizer names no EOS token, so nothing could end an answer."),
                        tr("Set its eos_token in tokenizer_config.json, or choose another model."))
    return sorted(found, key=lambda each: bool(each.warning))


def warnings(folder: Path, name: str = "", adapter_only: bool = True) -> list[str]:
    """What a user should know of a template before it is learned, in sentences. Nothing for a model without one.

    Args:
        name: of the template; "" for the model's own.
        adapter_only: whether the embeddings and the head stay as they are, as with LoRA.

    Raises:
        UserError: there is no template of this name, or the tokenizer can't be read.
    """
    return list(_warnings(folder, _changed(folder), name, adapter_only, i18n.language()))


@lru_cache(maxsize=64)
def _warnings(folder: Path, changed: tuple[int, ...], name: str, adapter_only: bool, language: str) -> tuple[str, ...]:
    own = find_template(folder) is not None
    if not name and not own:
        return ()
    template, special = template_of(folder, name), _vocabulary(folder).special
    said = []
    if name and own:
        said.append(tr("The model was trained with a chat template of its own. Another one must be learned first, "
                       "which takes many rows."))
    if name and (missing := [token for token in NAMED[name].own if token not in special]):
        said.append(ntr("{tokens} isn't a token of this model, so it is split into several. It isn't added to the "
                        "vocabulary.",
                        "{tokens} aren't tokens of this model, so they are split into several. They aren't added to "
                        "the vocabulary.", len(missing), tokens=", ".join(missing)))
    end = end_of_turn(template, load_tokenizer(folder))
    if end is None:
        said.append(tr("The chat template doesn't end an answer with a special token, so training doesn't teach one, "
                       "and the model may never stop by itself. Choose a chat template whose turns end with the "
                       "model's EOS token."))
    elif adapter_only and (never := _never_learned(folder, end)):
        said.append(never)
    return tuple(said)


def _source(folder: Path, name: str) -> str:
    """The jinja text of a named template, made for a model.

    Raises:
        UserError: no template has this name.
    """
    if name not in NAMED:
        raise UserError(tr('There is no chat template called "{name}".', name=printable(name)), "",
                        tr("Choose one of {names}.", names=", ".join(NAMED)))
    text = (paths.resources() / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8").strip()
    if NAMED[name].end and NAMED[name].end not in _vocabulary(folder).special:
        text = text.replace(f"'{NAMED[name].end}'", "eos_token")
    return text if _vocabulary(folder).puts_bos else text.removeprefix(_BOS).lstrip()


class _Vocabulary(NamedTuple):
    """What of a tokenizer decides about templates.

    Attributes:
        special: texts of its special tokens, and their ids.
        puts_bos: whether it begins every text with the BOS token; then the model has seen none without.
    """

    special: dict[str, int]
    puts_bos: bool


def _vocabulary(folder: Path) -> _Vocabulary:
    return _read_vocabulary(folder, _changed(folder))


@lru_cache(maxsize=8)
def _read_vocabulary(folder: Path, changed: tuple[int, ...]) -> _Vocabulary:
    tokenizer = load_tokenizer(folder)
    special = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    bos = tokenizer.token_to_id(special_tokens(folder).get("bos_token", ""))
    return _Vocabulary(special, bos is not None and tokenizer.encode("a").ids[:1] == [bos])


def _changed(folder: Path) -> tuple[int, ...]:
    """When the files that decide what is cached for a folder were written."""
    return tuple(path.stat().st_mtime_ns if (path := folder / name).is_file() else 0 for name in _READ)


def _never_learned(folder: Path, end: str) -> str:
    """What to say where nothing ever trained the token that ends a turn; empty if something did."""
    if not _is_untrained(folder, _changed(folder), end):
        return ""
    return tr("{token}, which ends each turn, was never trained in this model, and an adapter doesn't change that. The "
              "model may never stop by itself. Choose a chat template whose turns end with the model's EOS token, or "
              "train all weights.", token=end)


@lru_cache(maxsize=64)
def _is_untrained(folder: Path, changed: tuple[int, ...], end: str) -> bool:
    special = _vocabulary(folder).special
    return bool(untrained(folder, [special[end]], special.values(),
                                       only_pretrained=find_template(folder) is None))


SAMPLED = 64
"""Rows, spread over the vocabulary, that show how long a usual one is."""
EMPTY = 0.02
"""A row shorter than this share of the usual one holds nothing: of trained models the shortest rows have a third."""
NEAR = 0.15
"""Distance of two rows, as a share of their length, below which a base model hardly tells one from the other. In Gemma
3 270M, 4,254 special tokens are nearer than that to the end of a turn, the nearest at 0.10, and none to EOS (1.16). Of
models that chat, SmolLM2 has 0.14 there."""
_FORMATS = {"F32": 4, "F16": 2, "BF16": 2}


def untrained(folder: Path, tokens: Collection[int], others: Collection[int], *, only_pretrained: bool = False
              ) -> set[int]:
    """Those of `tokens` whose row of the head is empty, or equal to the row of one of the `others`.

    Vocabularies have reserved tokens whose rows nothing ever trained, and an adapter leaves the head alone. The
    embeddings tell nothing where the head has weights of its own: PyTorch never trains the padding token's row.

    Args:
        tokens: ids that are asked about.
        others: ids of all special tokens, the asked ones included.
        only_pretrained: whether the model was never taught to chat. Then a row that is nearly another's is untrained
            too; of a model that chats, the end of a turn may have been learned by moving it so little.

    Returns:
        Nothing where the weights are packed or can't be read: then nobody knows, and nothing is said.
    """
    problems: list[Problem] = []
    found = read_weights(folder, problems)
    name = _head(found) if found is not None else None
    if found is None or name is None:
        return set()
    try:
        with open(found.tensors[name].file, "rb", opener=files.regular) as opened:
            return _in_table(opened, found.tensors[name], tokens, others, NEAR if only_pretrained else 0.0)
    except (OSError, struct.error):
        return set()


def _head(found: Weights) -> str | None:
    """Name of the head's weights, which may be the embeddings'; None if they aren't plain numbers."""
    embedding = found.embedding()
    name = found.head() or next((name for name, tensor in found.tensors.items() if tensor is embedding), None)
    table = found.tensors[name] if name is not None else None
    return name if table is not None and table.dtype in _FORMATS and len(table.shape) == 2 else None


def _in_table(file: BinaryIO, table: Tensor, tokens: Collection[int], others: Collection[int], near: float) -> set[int]:
    rows, width = table.shape
    size = width * _FORMATS[table.dtype]

    def row(number: int) -> bytes:
        file.seek(table.offset + number * size, os.SEEK_SET)
        return file.read(size)

    def length(row: bytes) -> float:
        return math.hypot(*_values(row, table.dtype))

    def alike(one: bytes, other: bytes) -> bool:
        return one == other or (near > 0 and (
            math.dist(_values(one, table.dtype), _values(other, table.dtype)) < near * length(one)))

    sample = {number * rows // SAMPLED for number in range(SAMPLED)}
    usual = median(length(row(number)) for number in sample)
    if not usual > 0:  # weights of zeros, or no numbers: nothing was trained at all
        return set()
    # What fills a table up behind the last token is as untrained as a row can be.
    known = [(number, row(number)) for number in {*others, *tokens, *range(max(0, rows - 4), rows)} if number < rows]
    return {token for token in tokens if token < rows and (
        length(mine := row(token)) < EMPTY * usual
        or any(other != token and alike(mine, theirs) for other, theirs in known))}


def _values(row: bytes, dtype: str) -> tuple[float, ...]:
    if dtype == "BF16":  # the upper half of a float32
        wide = bytearray(2 * len(row))
        wide[2::4], wide[3::4] = row[0::2], row[1::2]
        row = bytes(wide)
    letter = "e" if dtype == "F16" else "f"
    return struct.unpack(f"<{len(row) // struct.calcsize(letter)}{letter}", row)
