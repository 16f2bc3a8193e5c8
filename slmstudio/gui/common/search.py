"""How typed text is compared with what is searched."""

from __future__ import annotations

import unicodedata


def folded(text: str) -> str:
    """Text as a search compares it: composed and without case, so that typed and stored forms meet."""
    return unicodedata.normalize("NFC", text).casefold()
