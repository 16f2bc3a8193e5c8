"""Ollama: a Modelfile with the template and the stop tokens written out, and `ollama create`."""

from __future__ import annotations

import mmap
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import UserError, from_os_error, os_errors_as
from slmstudio.core.export import ollama_template
from slmstudio.core.i18n import tr
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.gguf.model import read_gguf
from slmstudio.core.program import shell_line

# -- The special tokens of a GGUF file, as texts: `read_gguf` skips the vocabulary, which holds them.

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


POLL_SECONDS = 0.2
_FIRST_TOKEN = re.compile(r"\s*(<[^<>\s]+>|\[[A-Z/_]+\])")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def model_name(gguf: Path) -> str:
    """A name that Ollama takes, with the quantization type as its tag: pune-helpdesk:q4_k_m."""
    stem, _, kind = gguf.stem.lower().rpartition("-")
    tagged = bool(stem) and re.fullmatch(r"(i?q\d\w*|b?f16|f32)", kind) is not None
    name, tag = (stem, kind) if tagged else (gguf.stem.lower(), "latest")
    plain = re.sub(r"[^a-z0-9_.]+", "-", name).strip("-._")[:60]
    return f"{plain or 'my-model'}:{tag}"


def modelfile(gguf: Path, context: int) -> tuple[str, tuple[str, ...]]:
    """
    Args:
        context: tokens that Ollama keeps of a conversation.

    Returns:
        The Modelfile, and sentences about what is different in Ollama.

    Raises:
        UserError: the chat template can't be written in Ollama's language, or the path not in a Modelfile.
    """
    tokens = read_tokens(gguf)
    if tokens.template is None:
        raise UserError(tr("{file} has no chat template.", file=gguf.name),
                        tr("Without one, there's no telling how it was trained to chat."), tr("Export an instruct "
                                                                                              "model."))
    found = ollama_template.take_apart(tokens.template)
    notes = list(found.notes)
    if tokens.adds_bos and tokens.bos and not found.opening.startswith(tokens.bos):
        notes.append(tr("Ollama puts {token} first; the chat template doesn't.", token=tokens.bos))
    if tokens.adds_bos:
        found = found.without_bos(tokens.bos)
    path = str(gguf.absolute())
    if not path.isprintable() or path.startswith('"'):
        raise UserError(tr("The path of {file} can't be written in a Modelfile.", file=gguf.name),
                        tr("It contains characters that Ollama drops when it reads a Modelfile, such as joiners in "
                           "Indian scripts."), tr("Rename the run, or copy the file."))
    lines = [f"FROM {path}", f'TEMPLATE """{found.go_template()}"""']
    lines += [f'PARAMETER stop "{end}"' for end in stop_texts(found, tokens)]
    lines.append(f"PARAMETER num_ctx {context}")
    if tokens.normalizer:
        notes.append(tr("The model learned text in Unicode form {form}. Ollama doesn't convert to it.",
                        form=tokens.normalizer))
    return "\n".join(lines) + "\n", tuple(notes)


def stop_texts(found: ollama_template.Turns, tokens: GgufTokens) -> tuple[str, ...]:
    """What ends a turn: the token that the template puts after an answer, and those that the file names."""
    behind = _FIRST_TOKEN.match(found.between)
    texts = [behind[1]] if behind else []
    return tuple(text for text in dict.fromkeys([*texts, *tokens.ends]) if text and '"' not in text)


def program() -> str | None:
    """Where Ollama is installed; None if it isn't."""
    return shutil.which("ollama")


def modelfile_path(gguf: Path) -> Path:
    return gguf.with_suffix(".Modelfile")


def save(gguf: Path, text: str) -> Path:
    """Write the Modelfile beside the GGUF file.

    Raises:
        UserError: it can't be written.
    """
    file = modelfile_path(gguf)
    with os_errors_as(tr("Could not write the Modelfile.")):
        files.write_atomically(file, text)
    return file


def create(gguf: Path, name: str, text: str, cancelled: Callable[[], bool] = lambda: False) -> str:
    """Write the Modelfile beside the GGUF file and run `ollama create`, which copies the model into Ollama's store.

    Returns:
        The command with which one talks to it.

    Raises:
        UserError: Ollama isn't there, says no, or was cancelled.
    """
    ollama = program()
    if ollama is None:
        raise UserError(tr("Ollama isn't installed."), tr("The program `ollama` isn't on the PATH."),
                        tr("Install it, or copy the Modelfile to a machine that has it."))
    file = save(gguf, text)
    with os_errors_as(tr("Could not run ollama create.")):
        process = subprocess.Popen([ollama, "create", name, "-f", str(file)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = _wait(process, cancelled)
    if process.returncode != 0:
        lines = [line.strip() for line in _COLOURS.sub("", said).splitlines() if line.strip()]
        raise UserError(tr("Ollama didn't accept {name}.", name=name),
                        tr("It says: {message}", message=lines[-1]) if lines else tr("It doesn't say why."),
                        tr("Check that Ollama is running (ollama serve), then try again."))
    return shell_line(["ollama", "run", name])


def _wait(process: subprocess.Popen[bytes], cancelled: Callable[[], bool]) -> str:
    while True:
        try:
            return process.communicate(timeout=POLL_SECONDS)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            if cancelled():
                process.kill()
                process.communicate()
                raise UserError(tr("Ollama was stopped."), tr("You cancelled it."),
                                tr("Press “Create in Ollama” again.")) from None
