"""From tokens' bytes to the text that is shown."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


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
