"""One prompt and its answer: how tokens are drawn, what is heard of them, and where the answer ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.worker.chat.text import StopStrings, Text


def common(known: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens of a prompt need not be read again, as they are known. Its last one is always read: the next is
    drawn from what the model says after it."""
    return next((at for at, (old, new) in enumerate(zip(known, prompt[:-1], strict=False)) if old != new),
                min(len(known), max(0, len(prompt) - 1)))


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn, in llama.cpp's order: penalties, top-k, top-p, min-p, temperature.

    Attributes:
        temperature: 0 takes the likeliest token always.
        stop: the answer ends before any of these texts.
        max_tokens: at least 1; the room in the context bounds it too.
        json: the answer is one JSON object, or the beginning of one where it ends for its length.
    """

    max_tokens: int
    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    seed: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    json: bool = False


@dataclass(frozen=True)
class Piece:
    text: str


@dataclass(frozen=True)
class End:
    """The last word on a prompt.

    Attributes:
        reason: "stop" (by itself, or at a stop text), "length", "cancelled" or "failed".
        cached: tokens of the prompt that the slot still knew.
    """

    reason: str
    tokens: int = 0
    cached: int = 0
    error: UserError | None = None


class Generation:
    """One prompt and its answer.

    Args:
        on_event: hears each `Piece` and, once, the `End`, in the engine's thread.
        strip_space: take off the space that sentencepiece puts before the first word.

    Attributes:
        drawn: the answer's tokens so far, kept by an engine that interrupts it while others wait.
        sampler: with which that engine draws them; None before the first and after the last.
    """

    def __init__(self, prompt: list[int], sampling: Sampling, on_event: Callable[[Piece | End], None],
                 strip_space: bool = False):
        self.prompt, self.sampling, self.on_event = prompt, sampling, on_event
        self._text, self._stops = Text(strip_space), StopStrings(sampling.stop)
        self.cancelled = False
        self.written = self.cached = 0
        self.drawn: list[int] = []
        self.sampler: Any = None

    def cancel(self) -> None:
        """End it at the next step; it may have ended already. Thread-safe."""
        self.cancelled = True

    def write(self, piece: bytes) -> bool:
        """Take a token's bytes, and tell the text that is certain by now. Returns whether a stop text came."""
        text, stopped = self._stops.add(self._text.add(piece))
        self.written += 1
        if text:
            self.tell(Piece(text))
        return stopped

    def flush(self) -> None:
        """Tell what was held back, since nothing follows it."""
        text, stopped = self._stops.add(self._text.end())
        if rest := text + ("" if stopped else self._stops.end()):
            self.tell(Piece(rest))

    def tell(self, event: Piece | End) -> None:
        with contextlib.suppress(RuntimeError):  # the listener's event loop has ended
            self.on_event(event)
