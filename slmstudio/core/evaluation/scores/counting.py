"""What one answer adds to the sums that a score is computed from."""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmstudio.core.evaluation.scores import ngrams, patterns
from slmstudio.core.evaluation.scores.ngrams import rouge_l_of_words
from slmstudio.core.evaluation.scores.numbers import same_number
from slmstudio.core.files import finite
from slmstudio.core.units import plain_digits

# -- Answers and references in one form, whatever script, width, case or punctuation they were written in.

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


Item = Mapping[str, Any]
"""A line of items.jsonl."""
Answer = Mapping[str, Any]
"""A line of answers-*.jsonl."""
GRAIN = 2.0**-20
"""Nats and shares are kept in multiples of this, about 1e-6: sums of them are exact, so in whatever order and by
whatever library they are added, every bit of the score is the same."""


@dataclass(frozen=True)
class Given:
    """What one model answered to one item.

    Attributes:
        text: the answer; None if there is none to read.
        intl: whether BLEU by the punctuation of every script is wanted.
    """

    item: Item
    answer: Answer
    references: References
    intl: bool

    @property
    def text(self) -> str | None:
        text = self.answer.get("answer")
        return text if isinstance(text, str) else None

    @functools.cached_property
    def nats(self) -> list[float] | None:
        """Nats and tokens of all references together."""
        nats, tokens = self.answer.get("reference_nats") or (), self.answer.get("reference_tokens") or ()
        pairs = [(n, t) for n, t in zip(nats, tokens, strict=False) if _is_number(n) and _is_number(t) and t > 0]
        return [_grained(math.fsum(n for n, _ in pairs)), float(sum(t for _, t in pairs))] if pairs else None


class References:
    """The references of one row, looked at once for all models."""

    def __init__(self, texts: list[str], intl: bool):
        self.texts = texts
        self._intl = intl

    @functools.cached_property
    def normalised(self) -> dict[str, str]:
        return {each: normalised(each) for each in self.texts}

    @functools.cached_property
    def words(self) -> list[list[str]]:
        return [words(each) for each in self.texts]

    @functools.cached_property
    def grams(self) -> ngrams.References:
        return ngrams.References(self.texts, ("13a", "intl") if self._intl else ("13a",))


def _of_text(given: Given, count: Callable[[str], list[float]]) -> list[float] | None:
    """What `count` makes of the text of an answer that has references."""
    text = given.text
    return count(text) if text is not None and given.references.texts else None


def _yes(right: bool) -> list[float]:
    return [float(right), 1]


def numeric(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: _yes(same_number(text, given.references.texts)))


def pattern(given: Given) -> list[float] | None:
    wanted = given.item.get("pattern")
    return None if given.text is None or not isinstance(wanted, str) else _yes(
        bool(patterns.matches(wanted, given.text)))


def exact(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: _yes(any(same_text(text, each) for each in given.references.texts)))


def normalised_match(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: _yes(same_words(text, given.references.normalised)))


def chrf(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: [*given.references.grams.chrf(text)])


def bleu(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: [*given.references.grams.bleu(text, "13a")])


def bleu_intl(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: [*given.references.grams.bleu(text, "intl")]) if given.intl else None


def rouge(given: Given) -> list[float] | None:
    return _of_text(given, lambda text: [_grained(rouge_l_of_words(words(text), given.references.words)), 1])


def loss(given: Given) -> list[float] | None:
    return given.nats


def accuracy(given: Given) -> list[float] | None:
    logprobs = _choice_logprobs(given)
    return _yes(_best(logprobs) == given.item["answer"]) if logprobs else None


def accuracy_norm(given: Given) -> list[float] | None:
    logprobs = _choice_logprobs(given)
    if not logprobs or given.answer.get("choices_by") == "letter":
        return None  # letters are of one length, whatever they stand for
    by_length = [p / max(1, len(choice)) for p, choice in zip(logprobs, given.item["choices"], strict=True)]
    return _yes(_best(by_length) == given.item["answer"])


def _choice_logprobs(given: Given) -> Sequence[float]:
    logprobs, choices = given.answer.get("choice_logprobs") or [], given.item.get("choices") or []
    whole = given.item.get("answer") is not None and len(logprobs) == len(choices) and all(map(_is_number, logprobs))
    return list(logprobs) if whole else []


def _best(values: Sequence[float]) -> int:
    """The first of the highest, as numpy's argmax and so lm_eval."""
    return max(range(len(values)), key=lambda i: (values[i], -i))


def _is_number(value: Any) -> bool:
    return finite(value) is not None


def _grained(value: float) -> float:
    return round(value / GRAIN) * GRAIN
