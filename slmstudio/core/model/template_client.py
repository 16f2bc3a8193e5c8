"""Has chat templates rendered, and for window and terminal tokenizers run, in a child process with limits.

They come with a model, from anybody. A template's cost depends on the conversation and a tokenizer's on the text, so
that a look at both beforehand (vetting) proves nothing about the next row. One child therefore stays, and answers
within a millisecond; each request has its own limit on the processor's time and on memory (`foreign_child`). A child
that reaches one is dead, and replaced with the next request. Where the system enforces no such limit, as on Windows and
for memory on macOS, this side looks at the child while it waits.

Workers have templates rendered here too. Their tokenizers are in their own process, where the libraries need them.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from slmstudio.core import i18n, memory_limit, program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.json_files import printable

MODULE = "slmstudio.core.lock.foreign_child"
SECONDS, BYTES_PER_SECOND, TOKENIZER_BYTES_PER_SECOND = 5, 2**17, 8 * 2**20
"""Processor time that a request may take, and how many bytes of it and of a tokenizer.json add one more second: honest
ones need more where they are larger."""
MEMORY, PER_BYTE_OF_REQUEST, PER_BYTE_OF_TOKENIZER = 384 * 2**20, 250, 20
"""Bytes of addresses that the child may have, and how many each byte of the request and of a tokenizer.json adds."""
TOKENIZERS = 2
"""Those that the child keeps: the window compares at most two models."""
PATIENCE = 20 if os.name == "nt" else 120
"""Seconds after which a request is ended from outside. Elsewhere than on Windows the child's own limit on processor
time comes first, which a busy machine doesn't bring nearer."""
LOOK_EVERY = 0.02
"""Seconds between looks at the child's memory where the system doesn't limit it."""
_TEMPLATE_STOPPED = noop("The chat template was stopped.")
Conversation = tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
"""Messages and tools."""


class Encoding(NamedTuple):
    ids: list[int]
    offsets: list[tuple[int, int]]


class AddedToken(NamedTuple):
    content: str
    special: bool


class Tokenizer:
    """A model folder's tokenizer, which lives in the child: what core uses of `tokenizers.Tokenizer`.

    Raises:
        UserError: tokenizer.json is missing or damaged, or asks for too much time or memory.
    """

    def __init__(self, folder: Path | str):
        self._folder = str(Path(folder).absolute())
        found = self._ask("tokenizer")
        self._added = {int(number): AddedToken(*token) for number, token in found.items()}

    def _ask(self, what: str, **more: Any) -> Any:
        stopped = (noop("The tokenizer or the chat template of {model} was stopped.") if what == "row" else
                   noop("The tokenizer of {model} was stopped."))
        return ask(stopped, Path(self._folder).name, do=what, folder=self._folder, **more)

    def encode(self, sequence: str, *, add_special_tokens: bool = True) -> Encoding:
        ids, begins, ends = self._ask("encode", text=sequence, special=add_special_tokens)
        return Encoding(ids, list(zip(begins, ends, strict=True)))

    def row(self, messages: Sequence[Mapping[str, Any]], template: Any, completion_only: bool, max_length: int | None,
            tools: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[bool], list[tuple[int, int]], str]:
        """The fields of `tokens.encode`'s answer, in one request instead of five."""
        ids, learned, begins, ends, text = self._ask(
            "row", messages=list(messages), template=_fields(template), only=completion_only, most=max_length,
            tools=list(tools))
        return ids, learned, list(zip(begins, ends, strict=True)), text

    def decode(self, ids: list[int]) -> str:
        return str(self._ask("decode", ids=ids))

    def token_to_id(self, token: str) -> int | None:
        found: int | None = self._ask("id", text=token)
        return found

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        return self._added


def check(source: str) -> None:
    """`ChatTemplate.check`. Raises UserError as it does."""
    ask(_TEMPLATE_STOPPED, do="check", source=source)


def render(template: Any, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool,
           tools: Sequence[Mapping[str, Any]]) -> str:
    """`ChatTemplate.render`. Raises UserError as it does."""
    return str(ask(_TEMPLATE_STOPPED, do="render", template=_fields(template), messages=list(messages),
                   prompt=add_generation_prompt, tools=list(tools)))


def render_rows(template: Any, conversations: Sequence[Conversation], controls: Sequence[str],
                added: Sequence[str] | None) -> list[tuple[str, list[tuple[int, int]]] | UserError]:
    """`tokens.render_row` of each conversation, in one request: what it returns or raises.

    Raises:
        UserError: the child was stopped at its limits.
    """
    if not conversations:
        return []
    found = ask(_TEMPLATE_STOPPED, do="rows", template=_fields(template), rows=list(conversations),
                controls=list(controls), added=added)
    return [UserError.from_dict(each["error"]) if isinstance(each, dict) else (each[0], list(map(tuple, each[1])))
            for each in found]


def _fields(template: Any) -> dict[str, Any]:
    """What the child makes the `ChatTemplate` of again."""
    return {"source": template.source, "special_tokens": dict(template.special_tokens), "thinks": template.thinks}


class _Child:
    """The process.

    Attributes:
        answered: how many requests it has answered.
        largest: bytes of the largest tokenizer.json that it was asked to read.
        too_late: whether it was ended because time was up.
    """

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": program.search_path(program.ROOT), "PYTHONUTF8": "1",
                       "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0))
        self.answered = self.largest = 0
        self.too_late = False

    def ask(self, request: dict[str, Any], seconds: int) -> dict[str, Any] | None:
        """The answer to a request; None if the child died of it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        line = json.dumps(request, default=dict).encode()
        size = 0
        with contextlib.suppress(OSError):
            size = (Path(request["folder"]) / "tokenizer.json").stat().st_size if "folder" in request else 0
        self.largest = max(self.largest, size)
        memory = MEMORY + TOKENIZERS * PER_BYTE_OF_TOKENIZER * self.largest + PER_BYTE_OF_REQUEST * len(line)
        limits = {"seconds": seconds + len(line) // BYTES_PER_SECOND + size // TOKENIZER_BYTES_PER_SECOND,
                  "memory": memory}
        done = threading.Event()
        threading.Thread(target=self._guard, args=(done, memory), daemon=True).start()
        try:
            self.process.stdin.write(json.dumps(limits).encode() + b"\n" + line + b"\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            found = json.loads(answer) if answer.endswith(b"\n") else None
        except (OSError, ValueError):
            found = None
        finally:
            done.set()
        if found is None or found.get("memory"):
            self.end()
            return None
        self.answered += 1
        return dict(found)

    def _guard(self, done: threading.Event, most: int) -> None:
        """End the child when it takes too long, or too much where the system doesn't see to that."""
        if sys.platform == "linux":
            self.too_late = not done.wait(PATIENCE)
        else:
            import psutil

            process, until = psutil.Process(self.process.pid), time.monotonic() + PATIENCE
            while not done.wait(LOOK_EVERY):
                with contextlib.suppress(psutil.Error):
                    if process.memory_info().rss > most:
                        break
                self.too_late = time.monotonic() > until
                if self.too_late:
                    break
        if not done.is_set():
            self.process.kill()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what couldn't be written is still in it
                pipe.close()  # type: ignore[union-attr]

    @property
    def ran_out_of_time(self) -> bool:
        return self.too_late or self.process.returncode == -24  # SIGXCPU


_child: _Child | None = None
_one_at_a_time = threading.Lock()
_answer_here: Callable[[dict[str, Any]], Any] | None = None


def answer_here(answer: Callable[[dict[str, Any]], Any]) -> None:
    """From now on this process answers by itself: it is the child."""
    global _answer_here
    _answer_here = answer


@atexit.register
def close() -> None:
    """End the child. The next request starts another."""
    global _child
    with _one_at_a_time:
        if _child is not None:
            _child.end()
        _child = None


def ask(stopped: str, name: str = "", seconds: int | None = None, **request: Any) -> Any:
    """Have a request answered: one of those in `foreign_child`, by the name `do`.

    Args:
        stopped: what is said where the child was stopped at its limits.
        name: of the model that the text came with; "" for a template alone.
        seconds: instead of `SECONDS`.

    Raises:
        UserError: the child says so, or was stopped at its limits.
        RuntimeError: the child failed for a reason of its own, which is a defect.
    """
    global _child
    if _answer_here is not None:
        return _answer_here(request)
    request["language"] = i18n.language()
    with _one_at_a_time:
        while True:
            child = _child = _child or _Child()
            answer = child.ask(request, seconds or SECONDS)
            if answer is not None:
                break
            _child = None
            if not child.answered or child.ran_out_of_time:  # what earlier requests took may have been too much
                raise _stopped(stopped, name, child.ran_out_of_time)
    if "error" in answer:
        raise UserError.from_dict(answer["error"])
    if "defect" in answer:
        raise RuntimeError(f"A template or a tokenizer could not be run: {answer['defect']}")
    return answer["answer"]


def _stopped(sentence: str, name: str, too_late: bool) -> UserError:
    return UserError(tr(sentence, model=printable(name)),
                     tr("It asked for more time than any model needs.") if too_late else
                     memory_limit.sentence() or tr("It asked for more memory than any model needs."),
                     tr("Choose another model.") if name else tr("Choose a model with a different chat template."))
