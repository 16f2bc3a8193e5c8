"""Answers and references in one form, whatever script, width, case or punctuation they were written in."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping

from slmstudio.core.digits import plain_digits

_GROUPED = re.compile(r"(?<![\d,])\d{1,3}(?:,\d{2,3})*,\d{3}(?![\d,])")
_APOSTROPHES = dict.fromkeys(map(ord, "'’‘ʼ`´"))
_SHAPELESS = ("Cf", "Cc")
_MINUSES = frozenset("-−﹣－")


def normalised(text: str) -> str:
    """What is left of `text` when only what it says counts.

    Compatibility forms are one (NFKC: half and full width, ligatures, nukta letters in one or two code points), case
    is folded, digits of every script are 0 to 9, thousands separators of any grouping and characters without a shape
    (zero-width joiners, soft hyphens, marks of direction) are gone, apostrophes too; all other punctuation, the danda
    as well, parts words as a space does. Kept are combining marks, symbols such as %, ₹ and +, the point between two
    digits, the minus before a number and the # that ends a name (C#), which all say something.

    >>> normalised("  “१२,३४,५६७ रुपये।” "), normalised("It's TWENTY-one."), normalised("-3.5 %")
    ('1234567 रुपये', 'its twenty one', '-3.5 %')
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = plain_digits(text).translate(_APOSTROPHES)
    text = _GROUPED.sub(lambda number: number[0].replace(",", ""), text.translate(_SHAPES))
    return " ".join(_SIGNS.sub(_sign, text.translate(_POINTS)).split())


class _Shapes(dict[int, int | None]):
    """What becomes of each code point: those without a shape go. Filled as they come."""

    def __missing__(self, code: int) -> int | None:
        each = chr(code)
        self[code] = None if unicodedata.category(each) in _SHAPELESS and not each.isspace() else code
        return self[code]


class _Points(dict[int, str | int]):
    """Punctuation becomes a space, apart from what may belong to a number."""

    def __missing__(self, code: int) -> str | int:
        each = chr(code)
        kept = each in _MINUSES or each in "%.#" or not unicodedata.category(each).startswith("P")
        self[code] = code if kept else " "
        return self[code]


_SHAPES, _POINTS = _Shapes(), _Points()
_SIGNS = re.compile(f"[.#{''.join(map(re.escape, sorted(_MINUSES)))}]")


def _sign(found: re.Match[str]) -> str:
    """A point between two digits stays, and so do a minus before a number and the # that ends a name."""
    text, at, each = found.string, found.start(), found[0]
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    if each in _MINUSES and after.isdigit() and not before.isalnum():
        return "-"
    if each == "." and before.isdigit() and after.isdigit():
        return each
    if each == "#" and before.isalpha() and not after.isalnum():
        return each
    return " " if unicodedata.category(each).startswith("P") else each


def same_text(answer: str, reference: str) -> bool:
    """Word for word, spaces around it aside; how code points compose (NFC) is nothing that people see."""
    return unicodedata.normalize("NFC", answer.strip()) == unicodedata.normalize("NFC", reference.strip())


def same_words(answer: str, references: Mapping[str, str]) -> bool:
    """Whether the answer equals a reference apart from what `normalised` leaves out.

    Where nothing is left of the answer, as of ";", the signs themselves are what it says.

    Args:
        references: each as it is written, with its normalised form.

    >>> same_words("Paris!", {"paris": "paris"}), same_words(",", {";": ""}), same_words(" ;", {";": ""})
    (True, False, True)
    """
    bare = normalised(answer)
    if bare:
        return bare in references.values()
    return any(same_text(answer, reference) for reference in references)


def words(text: str) -> list[str]:
    """The words of a text in any script, folded: runs of letters, digits and their combining marks.

    Scripts that write no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) give a word for each
    letter with its marks. Of English, the words are those of `rouge_score` without its stemmer.

    >>> words("क्या यह ठीक है? Yes, 100%"), words("東京へ")
    (['क्या', 'यह', 'ठीक', 'है', 'yes', '100'], ['東', '京', 'へ'])
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _word().findall(plain_digits(folded.translate(_JOINERS)))


_JOINERS = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))


@functools.cache
def _word() -> re.Pattern[str]:
    import regex  # knows scripts and marks, which `re` doesn't; loaded only when something is scored

    alone = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    pattern: re.Pattern[str] = regex.compile(
        rf"[[{alone}]&&\p{{L}}]\p{{M}}*|[[\p{{L}}\p{{N}}\p{{M}}]--[{alone}]]+|\p{{N}}+", regex.VERSION1)
    return pattern
