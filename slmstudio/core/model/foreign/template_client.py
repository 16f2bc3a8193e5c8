"""Chat templates and tokenizers run in a child process: for the window and the terminal, which they may not take along.

A template's cost depends on the conversation and a tokenizer's on the text, so that a look at both beforehand (vetting)
proves nothing about the next row. One child therefore stays, and answers within a millisecond; each request has its own
limit on the processor's time and on memory (`foreign_child`). A child that reaches one is dead, and replaced with the
next request. On Windows time alone is limited, from outside.

Workers are processes of their own, and use both directly.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from slmstudio.core import i18n, memory_limit
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.foreign.child_process import started_as
from slmstudio.core.model.json_files import printable

PATIENCE = 20 if os.name == "nt" else 120
"""Seconds after which a request is ended from outside. Elsewhere than on Windows the child's own limit on processor
time comes first, which a busy machine doesn't bring nearer."""
_TEMPLATE_STOPPED = noop("The chat template was stopped.")


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
        return _ask(stopped, Path(self._folder).name, do=what, folder=self._folder, **more)

    def encode(self, sequence: str, *, add_special_tokens: bool = True) -> Encoding:
        ids, begins, ends = self._ask("encode", text=sequence, special=add_special_tokens)
        return Encoding(ids, list(zip(begins, ends, strict=True)))

    def row(self, messages: Sequence[Mapping[str, Any]], template: Any, completion_only: bool, max_length: int | None,
            tools: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[bool], list[tuple[int, int]], str]:
        """The fields of `tokens.encode`'s answer, in one request instead of five."""
        ids, learned, begins, ends, text = self._ask(
            "row", messages=list(messages), **_template(template), only=completion_only, most=max_length,
            tools=list(tools))
        return ids, learned, list(zip(begins, ends, strict=True)), text

    def decode(self, ids: list[int]) -> str:
        return str(self._ask("decode", ids=ids))

    def token_to_id(self, token: str) -> int | None:
        found: int | None = self._ask("id", text=token)
        return found

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        return self._added


def render(template: Any, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool,
           tools: Sequence[Mapping[str, Any]]) -> str:
    """`ChatTemplate.render`, in the child. Raises UserError as it does."""
    return str(_ask(_TEMPLATE_STOPPED, "", do="render", **_template(template), messages=list(messages),
                    prompt=add_generation_prompt, tools=list(tools)))


def _template(template: Any) -> dict[str, Any]:
    """What the child makes the `ChatTemplate` of again."""
    return {"source": template.source, "tokens": dict(template.special_tokens), "thinks": template.thinks}


def check(source: str) -> None:
    """`ChatTemplate.check`, in the child. Raises UserError as it does."""
    _ask(_TEMPLATE_STOPPED, "", do="check", source=source)


class _Child:
    """The process, and how many requests it has answered."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(**started_as(f"{__package__}_child"), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.answered = 0
        self.too_late = False

    def _end(self) -> None:
        self.too_late = True
        self.process.kill()

    def ask(self, line: bytes) -> dict[str, Any] | None:
        """The answer to a request; None if the child died of it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        guard = threading.Timer(PATIENCE, self._end)
        guard.daemon = True
        guard.start()
        try:
            self.process.stdin.write(line)
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            found = json.loads(answer) if answer.endswith(b"\n") else None
        except (OSError, ValueError):
            found = None
        finally:
            guard.cancel()
        if found is None or found.get("memory"):
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(OSError):  # what couldn't be written is still in it
                    pipe.close()
            return None
        self.answered += 1
        return dict(found)

    @property
    def ran_out_of_time(self) -> bool:
        return self.too_late or self.process.returncode == -24  # SIGXCPU


_child: _Child | None = None
_one_at_a_time = threading.Lock()


def _ask(stopped: str, name: str, **request: Any) -> Any:
    """
    Args:
        stopped: what is said where the child was stopped at its limits.
        name: of the model that the text came with; "" for a template alone.

    Raises:
        UserError: the child says so, or was stopped at its limits.
        RuntimeError: the child failed for a reason of its own, which is a defect.
    """
    global _child
    line = json.dumps({**request, "language": i18n.language()}, default=dict).encode() + b"\n"
    with _one_at_a_time:
        while True:
            child = _child = _child or _Child()
            answer = child.ask(line)
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
                     memory_limit.said() or tr("It asked for more memory than any model needs."),
                     tr("Choose another model.") if name else tr("Choose a model with a different chat template."))
