"""Ollama: a Modelfile with the template and the stop tokens written out, and `ollama create`."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from slmstudio.core import files, quoting
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.export import ollama_template
from slmstudio.core.export.gguf_tokens import GgufTokens, read_tokens
from slmstudio.core.i18n import tr

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
    return quoting.command(["ollama", "run", name])


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
