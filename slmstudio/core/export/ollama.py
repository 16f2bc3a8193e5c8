"""Ollama: a Modelfile with the template and the stop tokens written out, and `ollama create`.

A jinja template is a program, but nearly all of them do the same: a fixed text before and behind each message. Those
texts are found by rendering conversations whose messages are markers. Then other conversations are rendered both ways;
a template that isn't understood is said to be so, never approximated.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slmstudio.core import files
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.gguf.header import read_header
from slmstudio.core.model.gguf.model import read_gguf
from slmstudio.core.program import shell_line

_S, *_MARKS = (f"mark{letter}qz" for letter in "sabcdefg")
_WORDS = ("What is the fee?", "शुल्क ₹1,500 है।\n\n1. `form.pdf`", "And {{ then }}?", "<b>7 days</b>",
          "ठीक है", "Yes.", "Thanks!")
_SYSTEM = "You are a clerk.\nAnswer in Hindi."


@dataclass(frozen=True)
class Turns:
    """The fixed texts of a template, for conversations in which user and assistant take turns.

    Attributes:
        opening: before the first user message where there is no system message.
        system_before, system_after: around the system message, up to the first user message; None if the template
            takes no system message.
        to_assistant: behind a user message that was answered.
        between: behind an answer, up to the next user message.
        generation: behind the last user message, up to the answer that is to be written.
        notes: what is lost or different, in sentences.
    """

    opening: str
    system_before: str | None
    system_after: str
    to_assistant: str
    between: str
    generation: str
    notes: tuple[str, ...] = ()

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """The prompt of a conversation that ends with a user message."""
        system = "".join(message["content"] for message in messages if message["role"] == "system")
        turns = [message["content"] for message in messages if message["role"] != "system"]
        begun = f"{self.system_before}{system}{self.system_after}" if system else self.opening
        for number, text in enumerate(turns[:-1]):
            begun += text + (self.between if number % 2 else self.to_assistant)
        return begun + turns[-1] + self.generation

    def without_bos(self, bos: str) -> Turns:
        """As for a program that puts the BOS token first by itself."""
        before = self.system_before.removeprefix(bos) if self.system_before is not None else None
        return replace(self, opening=self.opening.removeprefix(bos), system_before=before)

    def go_template(self) -> str:
        """The same in Go's template language, as Ollama runs it: `.Messages`, in which consecutive messages with the
        same role are joined, and `.System`, which holds the system messages."""
        begin = _literal(self.opening)
        if self.system_before is not None:
            begin = (f"{{{{ if $.System }}}}{_literal(self.system_before)}{{{{ $.System }}}}"
                     f"{_literal(self.system_after)}{{{{ else }}}}{begin}{{{{ end }}}}")
        return "\n".join((
            "{{- $first := true }}",
            "{{- range $i, $message := .Messages }}",
            '{{- if eq .Role "user" }}',
            f"{{{{- if $first }}}}{begin}{{{{ $first = false }}}}{{{{ else }}}}{_literal(self.between)}{{{{ end }}}}",
            "{{- .Content }}",
            f"{{{{- if eq (len (slice $.Messages $i)) 1 }}}}{_literal(self.generation)}{{{{ else }}}}"
            f"{_literal(self.to_assistant)}{{{{ end }}}}",
            '{{- else if eq .Role "assistant" }}{{ .Content }}',
            "{{- end }}",
            "{{- end }}",
        ))


def take_apart(template: ChatTemplate) -> Turns:
    """Find the fixed texts of a template.

    Raises:
        UserError: it doesn't write a conversation as fixed texts around the messages; `why` says where.
    """
    found = _parts(template, _conversation(_MARKS[:5]))
    opening, to_assistant, between, again, between_again, generation = found
    if (to_assistant, between) != (again, between_again):
        raise _refuse(tr("It writes the same role differently in different places."))
    single = _parts(template, _conversation(_MARKS[:1]))
    if single != [opening, generation]:
        raise _refuse(tr("It writes the first message differently when it is the only one."))
    notes = _notes(template)
    before: str | None = None
    after = ""
    if not template.takes_system():
        notes.append(tr("The template has no place for a system message, so Ollama leaves it out."))
    else:
        before, after, *rest = _parts(template, _conversation(_MARKS[:3], _S))
        if rest != [to_assistant, between, generation]:
            raise _refuse(tr("It writes the other messages differently when there is a system message."))
    turns = Turns(opening, before, after, to_assistant, between, generation, tuple(notes))
    _prove(template, turns)
    return turns


_UNLIKE = noop("The chat template can't be written in Ollama's language.")


_NOT_ONCE = {
    "user": noop("It doesn't write each user message exactly once, in order."),
    "assistant": noop("It doesn't write each assistant message exactly once, in order."),
    "system": noop("It doesn't write the system message exactly once, in order."),
}


def _refuse(why: str) -> UserError:
    return UserError(tr(_UNLIKE), why, tr("Use llama-server or the built-in server: they run the template itself."))


def _conversation(texts: Sequence[str], system: str = "") -> list[dict[str, str]]:
    turns = [{"role": "assistant" if number % 2 else "user", "content": text} for number, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *turns] if system else turns


def _parts(template: ChatTemplate, messages: list[dict[str, str]]) -> list[str]:
    """The texts before, between and behind the markers."""
    text = template.render(messages, add_generation_prompt=True)
    parts = []
    for message in messages:
        before, mark, text = text.partition(message["content"])
        if not mark or message["content"] in text:
            raise _refuse(tr(_NOT_ONCE[message["role"]]))
        parts.append(before)
    return [*parts, text]


def _prove(template: ChatTemplate, turns: Turns) -> None:
    """Hold the parts against the template on conversations of other lengths and with other texts."""
    systems = ["", _SYSTEM] if turns.system_before is not None else [""]
    for system in systems:
        for length in (1, 3, 5, 7):
            messages = _conversation(_WORDS[:length], system)
            if turns.render(messages) != template.render(messages, add_generation_prompt=True):
                raise _refuse(tr("What it writes depends on the text or the number of messages."))


def _notes(template: ChatTemplate) -> list[str]:
    notes = []
    padded, plain = _conversation([f"  {_MARKS[0]} "]), _conversation(_MARKS[:1])
    if template.render(padded, add_generation_prompt=True) == template.render(plain, add_generation_prompt=True):
        notes.append(tr("The template removes spaces around messages. Ollama doesn't."))
    thinking = _conversation(["a", f"<think>{_MARKS[0]}</think>b", "c"])
    if _MARKS[0] not in template.render(thinking, add_generation_prompt=True):
        notes.append(tr("The template leaves out the reasoning of earlier answers. Ollama keeps it."))
    if "strftime_now" in template.source:
        notes.append(tr("The template writes the current date. In Ollama, it would always stay today's date."))
    if "tools" in template.source:
        notes.append(tr("Tool calls are left out."))
    return notes


def _literal(text: str) -> str:
    """An action that writes a text. Go's interpreted strings know JSON's escapes; what Ollama's reader of Modelfiles
    would drop, as it does with letters that can't be seen, is escaped."""
    if not text:
        return ""
    escaped = "".join(letter if letter.isprintable() else _escape(letter)
                      for letter in json.dumps(text, ensure_ascii=False))
    return "{{ " + escaped + " }}"


def _escape(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


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
    facts = read_gguf(path)
    values = facts.header.values
    ids = {name: value for name in dict.fromkeys((*_IDS, *_ENDS))
           if isinstance(value := values.get(f"{_PREFIX}{name}_token_id"), int)}
    texts = read_header(path, token_ids=set(ids.values())).token_texts
    named = {name: texts[number] for name, number in ids.items() if number in texts}
    special = {_IDS[name]: text for name, text in named.items() if name in _IDS}
    normalizer = values.get("slmstudio.tokenizer.normalizer")
    default = values.get(f"{_PREFIX}model") == "llama"  # llama.cpp's default for sentencepiece alone
    return GgufTokens(
        template=ChatTemplate(facts.chat_template, special) if facts.chat_template else None,
        bos=named.get("bos", ""), adds_bos=bool(values.get(f"{_PREFIX}add_bos_token", default)),
        ends=tuple(dict.fromkeys(named[name] for name in _ENDS if name in named)),
        normalizer=normalizer if isinstance(normalizer, str) else None)


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
    found = take_apart(tokens.template)
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


def stop_texts(found: Turns, tokens: GgufTokens) -> tuple[str, ...]:
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
