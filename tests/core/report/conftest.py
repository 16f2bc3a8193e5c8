"""What the page says, as its reader sees it."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from slmstudio.core.report.gather import gather
from slmstudio.core.report.page import render


class _Text(HTMLParser):
    """Collects the text of a page, without its style, and all tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._hidden = False

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._hidden = self._hidden or tag in ("style", "title", "desc")
        self.parts.append(" ")

    def handle_endtag(self, tag):
        if tag in ("style", "title", "desc"):
            self._hidden = False
        self.parts.append(" ")

    def handle_data(self, data):
        if not self._hidden:
            self.parts.append(data)


class Page:
    """
    Attributes:
        html: the file. text: what one reads, blanks as one. tags: (name, attributes).
    """

    def __init__(self, html: str):
        reader = _Text()
        reader.feed(html)
        reader.close()
        self.html, self.tags = html, reader.tags
        self.text = " ".join("".join(reader.parts).split())


@pytest.fixture
def page() -> Callable[[Path], Page]:
    """The report of a run folder."""
    return lambda folder: Page(render(gather(folder)))
