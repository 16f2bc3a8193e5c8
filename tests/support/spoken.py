"""Another language for a while: the one that nobody speaks, whose messages stand in brackets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from slmstudio.core import i18n
from slmstudio.core.i18n import catalogue, messages


@contextmanager
def brackets() -> Iterator[None]:
    before = i18n.language()
    i18n.use(messages.PSEUDO)
    try:
        yield
    finally:
        i18n.use(before)


def is_translated(text: str) -> bool:
    """Whether a text is made of messages from beginning to end."""
    return text.startswith(catalogue.OPEN) and text.endswith(catalogue.CLOSE)
