"""One prompt and its answer: how tokens are drawn, what is heard of them, and where the answer ends."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from slmstudio.core.errors import UserError

# -- From tokens' bytes to the text that is shown.


class Text:
    """Puts characters together from tokens' bytes: a character may need several tokens.

    Args:
        strip_space: take off one space at the start, which sentencepiece puts before the first word.
    """

    def __init__(self, strip_space: bool):
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._strip_space = strip_space

    def add(self, piece: bytes) -> str:
        """The characters that are complete by now."""
        return self._stripped(self._decoder.decode(piece))

    @property
    def is_whole(self) -> bool:
        """Whether no half a character waits for the rest of it."""
        return not self._decoder.getstate()[0]

    def end(self) -> str:
        """What is left over: half a character becomes U+FFFD."""
        return self._stripped(self._decoder.decode(b"", final=True))

    def _stripped(self, text: str) -> str:
        if self._strip_space and text:
            self._strip_space = False
            return text.removeprefix(" ")
        return text


class StopStrings:
    """Ends an answer before a stop string; no part of one is ever let through."""

    def __init__(self, stops: Sequence[str]):
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def add(self, text: str) -> tuple[str, bool]:
        """What can be shown by now, and whether a stop string was found."""
        if not self._stops:
            return text, False
        self._held += text
        places = [at for at in map(self._held.find, self._stops) if at >= 0]
        if places:
            shown, self._held = self._held[:min(places)], ""
            return shown, True
        keep = max(map(self._begun, self._stops))
        shown, self._held = self._held[:len(self._held) - keep], self._held[len(self._held) - keep:]
        return shown, False

    def end(self) -> str:
        """What was held back, since nothing follows it."""
        held, self._held = self._held, ""
        return held

    def _begun(self, stop: str) -> int:
        """How many characters at the end may be the beginning of this stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((size for size in range(longest, 0, -1) if self._held.endswith(stop[:size])), 0)


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
