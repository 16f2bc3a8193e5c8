"""Markdown as a model writes it, in pieces that a window can show: rich text, and code blocks apart.

It is foreign text. Raw HTML is shown as text, images become links, and addresses other than web and mail ones are shown
as text. While an answer grows only its end is read again: a block that another one follows doesn't change any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

SETTLED_CHARACTERS = 1500
"""An end that is longer than this is cut where a block, or an item of a list, begins."""
_SIGNS = re.compile(r"[\n`*_\[\]<>\\~|!&#]|^\W|^\d")
_BEFORE_WORD = re.compile(r" (?=[^\W\d_])")
SCHEMES = ("https://", "http://", "mailto:")
_PLAIN = {"strong_open": "<b>", "strong_close": "</b>", "em_open": "<i>", "em_close": "</i>", "s_open": "<s>",
          "s_close": "</s>", "hardbreak": "<br>", "softbreak": "<br>", "hr": "<hr>", "thead_open": "<thead>",
          "thead_close": "</thead>", "tbody_open": "<tbody>", "tbody_close": "</tbody>", "tr_open": "<tr>",
          "tr_close": "</tr>", "th_close": "</th>", "td_close": "</td>",
          "paragraph_close": "</p>", "list_item_close": "</li>",
          "table_open": '<table class="t" cellspacing="0" cellpadding="5">', "table_close": "</table>"}


@dataclass(frozen=True)
class Piece:
    """A part of a message.

    Attributes:
        kind: "text" or "code"; of `reply.Reply`, "thought" too.
        content: rich text in HTML for "text"; the code or the thoughts themselves for the others.
        language: of code, as the writer named it; may be "".
    """

    kind: str
    content: str
    language: str = ""


class Stream:
    """A message that grows; `wrap` puts places to break into words too long for a line."""

    def __init__(self, wrap: Callable[[str], str] = lambda text: text):
        self._wrap = wrap
        self._settled: list[Piece] = []
        self._rest = ""
        self._number: int | None = None  # the number that the list item at the start of the rest has
        self._try_at = SETTLED_CHARACTERS

    def add(self, text: str) -> None:
        """More text."""
        self._rest += text
        while len(self._rest) > self._try_at:
            # One long block stays whole; it is looked at again when it has grown by a quarter.
            self._try_at = SETTLED_CHARACTERS if self._settle() else len(self._rest) * 5 // 4

    def pieces(self, cursor: str = "") -> list[Piece]:
        """All pieces, as the message is now.

        Args:
            cursor: a sign that is shown at the end while more is to come.
        """
        # Behind a line of signs it would change what they mean.
        line = self._rest[self._rest.rfind("\n") + 1:].lstrip()
        # A row of a table is shown once it is whole: the table isn't laid out for each cell then.
        rest = self._rest.removesuffix(line) if cursor and line.startswith("|") else self._rest
        unclear = rest.endswith("|\n") or (line and (line[0] in "`~|" or not any(map(str.isalnum, line))))
        found = _pieces(_parser().parse(rest + ("" if unclear else cursor)), self._wrap, self._number)
        if cursor and found and found[-1].kind == "code":
            found[-1] = replace(found[-1], content=found[-1].content.removesuffix(cursor))
        return [*self._settled, *found]

    def _settle(self) -> bool:
        """Take the blocks but the last off the rest; False if there is only one."""
        tokens = _parser().parse(self._rest)
        starts = _starts(tokens, self._number)
        if len(starts) < 2:
            return self._cut_line()
        limit = self._rest.count("\n", 0, SETTLED_CHARACTERS)
        # As much as possible below the limit, so that a text piece doesn't grow too long; but at least one block.
        line, number = max((start for start in starts[1:] if start[0] <= limit), default=starts[1])
        at = _offset_of(self._rest, line)
        if at == 0:
            return False
        self._settled += _pieces(_parser().parse(self._rest[:at]), self._wrap, self._number)
        self._rest, self._number = self._rest[at:], number
        return True

    def _cut_line(self) -> bool:
        """Cut one endless line of plain words, as a model writes that goes round in circles. Returns whether it could:
        a sign in it may belong to another one far away."""
        at = max((space.start() for space in _BEFORE_WORD.finditer(self._rest, 0, SETTLED_CHARACTERS)), default=-1)
        if at < 0 or len(self._rest) < 2 * SETTLED_CHARACTERS or _SIGNS.search(self._rest[:at]):
            return False
        self._settled += _pieces(_parser().parse(self._rest[:at]), self._wrap, None)
        self._rest = self._rest[at + 1:]
        return True


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    """CommonMark with tables and struck-out text, in which a line end is a line end and HTML is text."""
    from markdown_it import MarkdownIt

    # Definitions of links are anywhere in a text, which is read in parts here.
    return MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"]).disable(
        "reference")


def _starts(tokens: Sequence[Token], first: int | None) -> list[tuple[int, int | None]]:
    """The lines at which reading could begin, with the number that an ordered list's item has there.

    Args:
        first: the number of the item at the very start, where a list was cut there.
    """
    found: list[tuple[int, int | None]] = []
    number: int | None = None
    for token in tokens:
        if token.map is None or token.nesting < 0:
            continue
        if token.level == 0:
            number = _first_number(token) if token.type == "ordered_list_open" else None
            number = first if number is not None and first is not None and not found else number
            found.append((token.map[0], number))
        elif token.level == 1 and token.type == "list_item_open" and token.map[0] != found[-1][0]:
            number = None if number is None else number + 1
            found.append((token.map[0], number))
    return found


def _first_number(token: Token) -> int:
    start = token.attrGet("start")
    return 1 if start is None else int(start)


def _offset_of(text: str, line: int) -> int:
    at = 0
    for _ in range(line):
        at = text.index("\n", at) + 1
    return at


def _pieces(tokens: Sequence[Token], wrap: Callable[[str], str], number: int | None) -> list[Piece]:
    writer = _Writer(wrap, number)
    for token in tokens:
        writer.write(token)
    return writer.end()


@dataclass
class _Container:
    """A list or a quotation that is open: "ul", "ol" or "q", and the number that a list's next item has.

    A list that a code block has interrupted continues as text that is moved in, until its next item.
    """

    kind: str
    number: int = 1
    interrupted: bool = False

    def opening(self) -> str:
        if self.kind == "q":
            return '<blockquote class="q">'
        if self.interrupted:
            return '<div class="i">'
        return f'<ol class="l" start="{self.number}">' if self.kind == "ol" else '<ul class="l">'

    def closing(self) -> str:
        return "</blockquote>" if self.kind == "q" else "</div>" if self.interrupted else f"</{self.kind}>"


class _Writer:
    """Turns tokens into pieces. A code block inside a list or a quotation is a piece of its own too."""

    def __init__(self, wrap: Callable[[str], str], number: int | None):
        self._wrap, self._number = wrap, number
        self._html: list[str] = []
        self._open: list[_Container] = []
        self._pieces: list[Piece] = []

    def end(self) -> list[Piece]:
        self._flush()
        return self._pieces

    def write(self, token: Token) -> None:
        kind = token.type
        if kind in ("fence", "code_block"):
            self._flush()
            language = token.info.split()[0] if token.info.strip() else ""
            self._pieces.append(Piece("code", token.content.removesuffix("\n"), language))
        elif kind == "inline":
            for child in token.children or ():
                self._inline(child)
        elif kind == "paragraph_open":
            self._html.append('<p class="n">' if token.hidden else "<p>")
        elif kind in ("heading_open", "heading_close"):
            self._html.append(f"<{'/' if token.nesting < 0 else ''}h{min(4, int(token.tag[1]) + 1)}>")
        elif kind in ("th_open", "td_open"):
            self._html.append(f'<{token.tag} align="{_alignment(token)}">')
        elif kind in ("bullet_list_open", "ordered_list_open", "blockquote_open"):
            self._begin(token)
        elif kind in ("bullet_list_close", "ordered_list_close", "blockquote_close"):
            self._html.append(self._open.pop().closing())
        elif kind == "list_item_open":
            self._begin_item()
        else:
            self._html.append(_PLAIN.get(kind, ""))

    def _begin(self, token: Token) -> None:
        container = _Container({"bullet_list_open": "ul", "ordered_list_open": "ol"}.get(token.type, "q"))
        if container.kind == "ol":
            container.number = self._number if self._number is not None and not self._open else _first_number(token)
        self._number = None
        self._html.append(container.opening())
        self._open.append(container)

    def _begin_item(self) -> None:
        items = self._open[-1]
        if items.interrupted:
            self._html.append(items.closing())
            items.interrupted = False
            self._html.append(items.opening())
        items.number += 1
        self._html.append("<li>")

    def _flush(self) -> None:
        """End the piece of text; what is open continues in the next one."""
        text = "".join(self._html)
        if _has_text(text):
            self._pieces.append(Piece("text", text + "".join(each.closing() for each in reversed(self._open))))
        for each in self._open:
            each.interrupted = each.kind != "q"
        self._html = [each.opening() for each in self._open]

    def _inline(self, token: Token) -> None:
        kind = token.type
        if kind == "text":
            self._html.append(escape(self._wrap(token.content)))
        elif kind == "code_inline":
            self._html.append(f"<code>{escape(self._wrap(token.content))}</code>")
        elif kind == "link_open":
            self._html.append(_link(str(token.attrGet("href") or "")))
        elif kind == "link_close":
            self._html.append("</a>")
        elif kind == "image":
            address, name = str(token.attrGet("src") or ""), token.content or "image"
            self._html.append(f"{_link(address)}{escape(self._wrap(name))}</a>")
        else:
            self._html.append(_PLAIN.get(kind, escape(token.content)))


def _has_text(html: str) -> bool:
    """Whether there is more than tags; a rule counts."""
    return "<hr>" in html or bool(re.sub(r"<[^>]*>", "", html).strip())


def _link(address: str) -> str:
    """The start of a link; one that leads elsewhere than to the web or to mail is none, but is closed as one."""
    return f'<a href="{escape(address)}">' if address.lower().startswith(SCHEMES) else "<a>"


def _alignment(token: Token) -> str:
    style = str(token.attrGet("style") or "")
    return next((side for side in ("center", "right") if side in style), "left")
