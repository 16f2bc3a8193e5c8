"""The special tokens of a GGUF file, as texts: `read_gguf` skips the vocabulary, which holds them."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import tr
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.gguf.model import read_gguf

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_PREFIX = "tokenizer.ggml."
_IDS = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
"""llama.cpp's name of a special token, and jinja templates' name of it."""
_ENDS = ("eos", "eot", "eom")


@dataclass(frozen=True)
class GgufTokens:
    """What of a GGUF's tokenizer a recipe needs.

    Attributes:
        template: its chat template with the special tokens, or None.
        bos: text of the BOS token, or "".
        adds_bos: whether programs put BOS before a prompt by themselves.
        ends: texts of the tokens that end a turn.
        normalizer: Unicode form that the model learned, where the file names one.
    """

    template: ChatTemplate | None
    bos: str
    adds_bos: bool
    ends: tuple[str, ...]
    normalizer: str | None


def read_tokens(path: Path) -> GgufTokens:
    """Raises UserError: the file isn't a complete GGUF model."""
    facts = read_gguf(path)  # checks every length that is trusted below
    try:
        with (open(path, "rb", opener=files.regular) as file,
              mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data):
            values, tokens_at = _walk(data)
            ids = {name: value for name in ("bos", "eos", "eot", "eom", "unknown", "padding")
                   if isinstance(value := values.get(f"{_PREFIX}{name}_token_id"), int)}
            texts = _texts(data, tokens_at, set(ids.values())) if tokens_at else {}
    except OSError as error:
        raise from_os_error(error, tr("Could not read {file}.", file=path.name)) from error
    except (struct.error, IndexError, KeyError) as error:  # changed since it was checked
        raise UserError(tr("{file} can't be read.", file=path.name), tr("It was changed in the meantime."),
                        tr("Try again.")) from error
    named = {name: texts[number] for name, number in ids.items() if number in texts}
    special = {_IDS[name]: text for name, text in named.items() if name in _IDS}
    normalizer = values.get("slmstudio.tokenizer.normalizer")
    default = values.get(f"{_PREFIX}model") == "llama"  # llama.cpp's default for sentencepiece alone
    return GgufTokens(
        template=ChatTemplate(facts.chat_template, special) if facts.chat_template else None,
        bos=named.get("bos", ""), adds_bos=bool(values.get(f"{_PREFIX}add_bos_token", default)),
        ends=tuple(dict.fromkeys(named[name] for name in _ENDS if name in named)),
        normalizer=normalizer if isinstance(normalizer, str) else None)


def _walk(data: mmap.mmap) -> tuple[dict[str, Any], int]:
    """Scalars and texts by key, and where the token texts begin: at their number."""
    (count,) = struct.unpack_from("<Q", data, 16)
    at, tokens_at, values = 24, 0, {}
    for _ in range(count):
        key, at = _text(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        at += 4
        if kind == _ARRAY:
            if key == f"{_PREFIX}tokens":
                tokens_at = at + 4
            at = _behind_array(data, at)
        elif kind == _STRING:
            values[key], at = _text(data, at)
        else:
            (values[key],) = struct.unpack_from(_SCALARS[kind], data, at)
            at += struct.calcsize(_SCALARS[kind])
    return values, tokens_at


def _text(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    return data[at + 8:at + 8 + length].decode("utf-8", "replace"), at + 8 + length


def _behind_array(data: mmap.mmap, at: int) -> int:
    kind, count = struct.unpack_from("<IQ", data, at)
    end: int = at + 12
    if kind != _STRING:
        return end + int(count) * struct.calcsize(_SCALARS[kind])
    for _ in range(count):
        end += 8 + struct.unpack_from("<Q", data, end)[0]
    return end


def _texts(data: mmap.mmap, at: int, wanted: set[int]) -> dict[int, str]:
    (count,) = struct.unpack_from("<Q", data, at)
    at, found = at + 8, {}
    for number in range(min(count, max(wanted, default=-1) + 1)):
        if number in wanted:
            found[number] = _text(data, at)[0]
        at += 8 + struct.unpack_from("<Q", data, at)[0]
    return found
