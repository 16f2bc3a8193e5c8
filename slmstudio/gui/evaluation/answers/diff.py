"""Which words of two texts differ, in any script."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

LONGEST = 800
"""Pieces of a text that are compared; what comes after is shown without marks, for comparing takes their square."""
LEAST_COMMON = 0.5
"""Share of the pieces that two texts must have in common: between texts that are less alike, nearly all would be
marked."""
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
_PIECES = re.compile(r"\s+|[^\s]+")


def pieces(text: str) -> list[str]:
    """A text in words, white space and marks; put together they are the text.

    Punctuation stands apart, so that "Form 7." and "Form 7" differ in the point alone; scripts that write no spaces
    are cut into letters with their marks.

    >>> pieces("फ़ॉर्म 7 भरें।"), pieces("go, now")
    (['फ़ॉर्म', ' ', '7', ' ', 'भरें', '।'], ['go', ',', ' ', 'now'])
    """
    found: list[str] = []
    for run in _PIECES.findall(text):
        found += [run] if run.isspace() else _words(run)
    return found


def _words(run: str) -> list[str]:
    found: list[str] = []
    before = ""
    for letter in run:
        kind = _kind(letter)
        if found and (kind == "mark" or (kind == "word" and before == "word")):
            found[-1] += letter
        else:
            found.append(letter)
        before = before if kind == "mark" and before else kind
    return found


def _kind(letter: str) -> str:
    """ "word", "mark" (belongs to the letter before it), "alone" (a letter of an unspaced script) or "sign"."""
    category = unicodedata.category(letter)
    if category[0] == "M" or letter in "\u200c\u200d":
        return "mark"
    if category[0] in "LN":
        return "alone" if unicodedata.name(letter, "").startswith(_UNSPACED) else "word"
    return "sign"


def _compared(piece: str) -> str:
    return unicodedata.normalize("NFC", piece)


def changed(text: str, other: str) -> list[tuple[str, bool]]:
    """The pieces of `text`, each with whether it isn't in `other` at its place. White space never differs, and of texts
    that have little in common nothing is marked."""
    mine, its = pieces(text), pieces(other)
    first, second = mine[:LONGEST], its[:LONGEST]
    matcher = SequenceMatcher(None, [_compared(p) for p in first if not p.isspace()],
                              [_compared(p) for p in second if not p.isspace()], autojunk=False)
    if matcher.ratio() < LEAST_COMMON:
        return [(piece, False) for piece in mine]
    equal: set[int] = set()
    for block in matcher.get_matching_blocks():
        equal.update(range(block.a, block.a + block.size))
    out, number = [], 0
    for piece in first:
        if piece.isspace():
            out.append((piece, False))
            continue
        out.append((piece, number not in equal))
        number += 1
    return out + [(piece, False) for piece in mine[LONGEST:]]


def nearest(text: str, references: Sequence[str]) -> int:
    """Index of the reference that has the most words in common with a text."""
    def common(reference: str) -> float:
        ours, its = (set(map(_compared, pieces(each[:4000]))) for each in (text, reference))
        return 2 * len(ours & its) / max(1, len(ours) + len(its))

    return max(range(len(references)), key=lambda index: common(references[index]))


def marked(text: str, other: str, style: str) -> str:
    """`text` as rich text, with the words in `style` that `other` hasn't.

    Args:
        style: CSS of a marked word.
    """
    out: list[str] = []
    open_ = False
    parts = changed(text, other)
    for number, (piece, differs) in enumerate(parts):
        follows = number + 1 < len(parts) and parts[number + 1][1]
        inside = differs or (open_ and piece.isspace() and follows and "\n" not in piece)
        if inside != open_:
            out.append(f'<span style="{style}">' if inside else "</span>")
            open_ = inside
        out.append(escaped(piece))
    return "".join(out) + ("</span>" if open_ else "")


def escaped(text: str) -> str:
    """Plain text as rich text that keeps its lines and spaces."""
    return html.escape(text).replace("\n", "<br>").replace("  ", "&nbsp; ")
