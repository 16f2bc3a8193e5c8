"""Passages: pieces of a document that a teacher reads at a time, cut where its structure ends; and which sections are
held out for testing."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from slmstudio.core.data.languages import script_of

LATIN, OTHER = 4.4, 3.0
"""Bytes of a token in Latin script and in others, between small and large vocabularies (`model.token_guess`)."""
LEAST = 20
"""Letters of a passage that something can be asked about."""
_SENTENCE = re.compile(r"(?<=[.!?।॥。])\s+")


@dataclass(frozen=True)
class Block:
    """A paragraph, list item or table of a document.

    Attributes:
        heading: the headings above it, the outermost first.
        page: counted from 1; None where a document has no pages.
    """

    text: str
    heading: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True)
class Passage:
    """What is asked about at a time.

    Attributes:
        id: unique in its project.
        document: the file's name.
        section: id of the section, the same whenever the document is read.
        heading: the headings above it, the outermost first.
        page: where it begins, counted from 1.
    """

    id: str
    document: str
    section: str
    heading: tuple[str, ...]
    page: int | None
    text: str


def token_count(text: str) -> int:
    """About how many tokens a text has for a small model.

    >>> token_count("Leave is applied for in writing.")
    8
    """
    if text.isascii():
        return round(len(text) / LATIN + 0.5)
    latin = sum(1 for each in text if each.isascii() or script_of(each) in (None, "Latin"))
    return round(latin / LATIN + (len(text.encode(errors="surrogatepass")) - latin) / OTHER + 0.5)


def cut(document: str, number: int, blocks: Iterable[Block], budget: int) -> Iterator[Passage]:
    """The passages of a document. A section never shares one with another; a long paragraph is cut between sentences.

    Args:
        document: its name; `number`: of its project's documents, from 1.
        budget: tokens of a passage, about.
    """
    at, seen = 0, Counter[tuple[str, ...]]()
    # Where nothing has a heading, a page is a section: else all of the document would be held out, or nothing.
    for (heading, _), group in groupby(blocks, lambda block: (block.heading, None if block.heading else block.page)):
        seen[heading] += 1  # "Scope" may come in each chapter, or twice
        section = section_id(document, heading, seen[heading])
        for text, page in _filled(group, budget):
            if sum(map(str.isalpha, text)) >= LEAST:
                at += 1
                yield Passage(f"{number}-{at}", document, section, heading, page, text)


def _filled(blocks: Iterable[Block], budget: int) -> Iterator[tuple[str, int | None]]:
    """Texts within the budget, each with the page on which it begins."""
    parts: list[str] = []
    page, size = None, 0
    for block in blocks:
        for joint, text in _pieces(block.text, budget):
            tokens = token_count(text)
            if parts and size + tokens > budget:
                yield "".join(parts).strip(), page
                parts, size = [], 0
            if not parts:
                page = block.page
            parts += [joint if parts else "", text]
            size += tokens
    if parts:
        yield "".join(parts).strip(), page


def _pieces(text: str, budget: int) -> Iterator[tuple[str, str]]:
    """A block as (what joins it to the text before, text); one that is too long by sentences, or else by words."""
    if token_count(text) <= budget:
        yield "\n\n", text
        return
    for number, sentence in enumerate(_SENTENCE.split(text)):
        words, begin = sentence.split(" "), 0
        while begin < len(words):
            end = begin + 1
            size = token_count(words[begin])
            while end < len(words) and (size := size + token_count(words[end]) + 1) <= budget:
                end += 1
            yield "\n\n" if not number and not begin else " ", " ".join(words[begin:end])
            begin = end


def section_id(document: str, heading: tuple[str, ...], times: int) -> str:
    """
    Args:
        times: how often this path of headings came so far, from 1.
    """
    said = "\x1f".join((document, *heading, str(times)))
    return hashlib.sha256(said.encode(errors="surrogatepass")).hexdigest()[:12]


def held_out(sections: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """The sections that no row is learned from, so that a test about them is honest: `share` of the passages, about; at
    least one section where there are two. The same sections, share and seed give the same ones.

    Args:
        sections: of each passage.
        share: 0 to 1; for 0 there are none.
    """
    sizes = Counter(sections)
    order = sorted(sizes, key=lambda section: hashlib.sha256(f"{seed}/{section}".encode()).digest())
    room = share * sizes.total()
    chosen: list[str] = []
    for section in order[:-1] if share > 0 else ():  # one is always left to learn from
        if not chosen or sizes[section] <= room:
            chosen.append(section)
            room -= sizes[section]
    return frozenset(chosen)
