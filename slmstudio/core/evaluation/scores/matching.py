"""Whether an answer says what a reference says: as text, as words, as a number, or by a pattern."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from slmstudio.core.data.strict_json import printable
from slmstudio.core.i18n import tr
from slmstudio.core.units import plain_digits

if TYPE_CHECKING:
    import regex

# -- Regular expressions that come with a test set: checked before use, and never matched for longer than a moment.

LONGEST = 2000
"""Characters of a pattern."""
MOST_STEPS = 20_000
"""The most steps of a pattern with its counted repeats written out: compiling more could take endless memory."""
MATCH_SECONDS = 0.5
"""How long matching one answer may take; a pattern that takes longer counts as not found, and is reported."""


_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(|\)|\{(\d*)(?:,(\d*))?\}|.", re.DOTALL)
"""An escape, a set of characters, a bracket, a counted repeat, or any other character."""


class BadPattern(ValueError):
    """A pattern can't be used; the message is a sentence that says why."""


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> regex.Pattern[str]:
    """The pattern, compiled in the `regex` package's compatible mode: what `re` understands means the same.

    Raises:
        BadPattern: it is empty, too long, or no regular expression.
    """
    import regex

    if not pattern:
        raise BadPattern(tr("the pattern is empty; it would match every answer."))
    if len(pattern) > LONGEST:
        raise BadPattern(tr("the pattern has {characters:,} characters; at most {most:,} are allowed.",
                            characters=len(pattern), most=LONGEST))
    if _steps(pattern) > MOST_STEPS:
        raise BadPattern(tr("its counted repeats, such as {example}, multiply to more than can be compiled.",
                            example="{1000}"))
    try:
        found = regex.compile(pattern, flags=regex.VERSION0, cache_pattern=False)
    except regex.error as error:
        reason = printable(error.msg)
        raise BadPattern(
            tr("the pattern can't be read: {reason}.", reason=reason) if error.pos is None else
            tr("the pattern can't be read: {reason} at character {place}.", reason=reason, place=error.pos + 1),
        ) from error
    except (OverflowError, MemoryError, RecursionError, ValueError) as error:
        raise BadPattern(tr("the pattern can't be read: {reason}.", reason=printable(str(error)))) from error
    return found


def _steps(pattern: str) -> int:
    """About how long the pattern is with its counted repeats written out."""
    groups: list[int] = []
    total, last = 0, 0  # of the group that is open: its steps so far, and those of its newest part
    for part in _PARTS.finditer(pattern):
        text = part.group()
        if text == "(":
            groups.append(total)
            total, last = 0, 0
        elif text == ")" and groups:
            last, total = total, groups.pop() + total
        elif text[0] == "{" and (part[1] or part[2]):
            times = max(int(count[:9]) for count in part.groups() if count)
            total += last * max(0, times - 1)
            last *= times
        else:
            total, last = total + 1, 1
    return total + sum(groups)


def matches_pattern(pattern: str, answer: str) -> bool | None:
    """Whether the pattern is found anywhere in the answer; None if looking took longer than `MATCH_SECONDS`.

    Raises:
        BadPattern: as `compiled`.
    """
    try:
        return compiled(pattern).search(answer, timeout=MATCH_SECONDS) is not None
    except TimeoutError:
        return None


# -- The number that an answer ends with, however it is written.

MOST_DIGITS = 400
"""Longer rows of digits are noise that a model repeats, not numbers."""

_SPACES = "\u00a0\u2009\u202f"
_SIGN = r"(?<![\w.,)\]%])(?P<sign>[-+])[ ]?[$€£¥₹]?[ ]?|(?<![\w.,)\]%])[$€£¥₹][ ]?(?P<inner>[-+])"
_GROUPS = rf"\d{{1,3}}(?P<mark>[,'’{_SPACES}])(?:\d{{2,3}}(?P=mark))*\d{{3}}(?!\d)"
_DOTTED = r"\d{1,3}(?:\.\d{3}){2,}(?![\d.])"
_BEFORE_COMMA = r"[1-9]\d{0,2}(?:\.\d{3})+(?=,\d+(?![\d,]|\.\d))"
"""One point is a decimal one in "1.234", but parts thousands in "1.234,56"."""
_WHOLE = rf"(?:{_GROUPS}|{_DOTTED}|{_BEFORE_COMMA}|\d+)"
_NUMBER = re.compile(
    rf"(?:{_SIGN})?(?:(?P<whole>{_WHOLE})(?P<part>\.\d+|,\d+(?![\d,]))?(?:[eE](?P<power>[-+]?\d{{1,3}})(?!\w))?|"
    r"(?<![\w.])(?P<bare>\.\d+))"
    r"(?:[ ]?(?P<over>[/⁄])[ ]?(?P<under>(?!0+(?!\d))\d+)(?![\d/.,]\d|/))?(?P<percent>[ ]?%)?")
_MIXED = re.compile(r"(?P<whole>\d+)[ ]+$")


@dataclass(frozen=True)
class Number:
    """
    Attributes:
        value: exactly; of "45 %" it is 45.
        percent: whether a percent sign follows.
    """

    value: Fraction
    percent: bool = False

    def equals(self, other: Number) -> bool:
        """Whether both say the same. Where only one has a percent sign, 45 % is 45 and is 0.45 too."""
        if self.value == other.value:
            return True
        if self.percent == other.percent:
            return False
        share, plain = (self, other) if self.percent else (other, self)
        return share.value / 100 == plain.value


def numbers(text: str) -> list[Number]:
    """All numbers of a text, in their order.

    Understood are digits of every script; thousands separated by commas (also as lakh and crore: 12,34,567), points
    where there are two or more or a decimal comma follows (1.234,56), apostrophes or narrow spaces; a decimal point,
    or a comma that separates no thousands; a sign, also before or behind a currency; 1.5e3; 3/4, 1 1/2 and ½; percent.
    "10-5" and "3–5" hold no negative one.

    >>> [float(each.value) for each in numbers("१२,३४,५६७ and -₹1,234.50, then 3/4, 1½ or 1.5e3; 3,14")]
    [1234567.0, -1234.5, 0.75, 1.5, 1500.0, 3.14]
    """
    text = _flat(text)
    found: list[Number] = []
    end = 0
    for match in _NUMBER.finditer(text):
        number = _read(match)
        if number is None:
            end = match.end()
            continue
        if match["over"] and not match["sign"] and match.start() and end == match.start() - 1 and found:
            # "1 1/2": the whole number is just before the fraction.
            before = _MIXED.search(text, 0, match.start())
            if before and found[-1].value.denominator == 1 and abs(number.value) < 1 and not found[-1].percent:
                whole = found.pop().value
                number = Number(whole - number.value if whole < 0 else whole + number.value, number.percent)
        found.append(number)
        end = match.end()
    return found


def last_number(text: str) -> Number | None:
    """The number after the last "####", GSM8K's mark of the result, where there is one; otherwise the last of the
    text."""
    marked = text.rpartition("####")
    if marked[1] and (found := numbers(marked[2])):
        return found[0]
    found = numbers(text)
    return found[-1] if found else None


def same_number(answer: str, references: Sequence[str]) -> bool:
    """Whether the answer's last number is that of one of the references.

    >>> same_number("So she makes $18 a day.", ["9 * 2 = 18\\n#### 18"]), same_number("18", ["#### 19"])
    (True, False)
    """
    given = last_number(answer)
    return given is not None and any(
        (wanted := last_number(each)) is not None and given.equals(wanted) for each in references)


def _read(match: re.Match[str]) -> Number | None:
    """The value of a match of `_NUMBER`, or None if it is too long to be meant."""
    if len(match[0]) > MOST_DIGITS:
        return None
    if match["bare"]:
        value = Fraction("0" + match["bare"])
    else:
        whole = re.sub(r"\D", "", match["whole"])
        value = Fraction(whole + (match["part"] or "").replace(",", "."))
    if match["power"]:
        value *= Fraction(10) ** int(match["power"])
    if match["over"] and (under := int(match["under"])):
        value /= under
    if "-" in (match["sign"], match["inner"]):
        value = -value
    return Number(value, bool(match["percent"]))


def _flat(text: str) -> str:
    """ASCII digits and signs; single-character fractions, such as ½, separated from a number before them."""
    if text.isascii():
        return text
    text = text.translate(_vulgar())
    kept = "".join(each if each in _SPACES else unicodedata.normalize("NFKC", each) for each in text)
    return plain_digits(kept).replace("−", "-")


@functools.cache
def _vulgar() -> dict[int, str]:
    every = (*range(0xBC, 0xBF), *range(0x2150, 0x215F), 0x2189)
    return {code: " " + unicodedata.normalize("NFKC", chr(code)) for code in every}


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
