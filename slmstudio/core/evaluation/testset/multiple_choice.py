"""Multiple choice as files write it: the choices, and which one is right."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from itertools import takewhile
from typing import Any, NamedTuple

from slmstudio.core.data.conversations import Findings, kind_of
from slmstudio.core.data.strict_json import printable
from slmstudio.core.evaluation.testset.cells import value_in

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LISTS = ("choices", "options", "endings", "mc1_targets")
RIGHT = ("answer", "answerkey", "answer_key", "answer_idx", "answer_index", "correct", "correct_answer",
         "correct_answer_num", "correct_option", "correct_choice", "correct_index", "gold", "target", "label", "cop")
"""Columns that say which choice is right; several may, if they agree."""
_REMARKS = ("correct", "gold", "target", "label")
"""Those of `RIGHT` that may say something else, where another says which choice is right."""
_SERIES = (tuple(LETTERS.lower()), *(
    tuple(f"{word}{mark}" for mark in marks)
    for word in ("option_", "option", "choice_", "choice", "op", "ending", "mc_answer", "sol")
    for marks in (LETTERS.lower(), range(10), range(1, 10))
), *(tuple(f"{word}{mark}" for mark in LETTERS.lower()) for word in ("answer", "answer_")), tuple("123456789"),
    *map(tuple, ("कखगघङ", "अबकडइ", "কখগঘঙ", "કખગઘઙ", "ਕਖਗਘਙ", "କଖଗଘଙ", "అఆఇఈఉ", "ಅಆಇಈಉ", "அஆஇஈஉ")))
"""Names of columns with a choice each: MMLU's A, B, C, D; MedMCQA's opa, opb ...; Winogrande's option1, option2."""
_IN_SERIES = frozenset(name for names in _SERIES for name in names)
_SEVERAL = re.compile(r"\s*(?:[,;/&+]|\band\b)\s*", re.IGNORECASE)


class Choice(NamedTuple):
    """The choices of a row and what is said of the right one.

    Attributes:
        choices: different texts, two or more; fewer where something is wrong.
        said: how the right one is named: "letter" (or by the choice's own label), "text", "index"; or "either" where a
            number may be the text of one choice and the index of another, "sign" where a letter may be the text of one
            and the letter of another. Both may be the same choice, which then tells nothing of the file.
        answer: its index from 0; of "index" and "either" the number that stands there, not checked against the choices.
        by_text: of "either" and "sign", the index of the choice with that text.
        first: the number that the columns give the first choice: 1 of option1, option2 ...; 0 where they do not tell.
    """

    choices: tuple[str, ...]
    said: str
    answer: int
    by_text: int | None
    first: int


def is_choice_column(name: str) -> bool:
    """Whether a column of that name may hold a choice; the name is in small letters."""
    return name in _IN_SERIES


def has_choices(row: Mapping[str, Any]) -> bool:
    """Whether the row has columns with choices; `row` has its names in small letters."""
    return any(row.get(name) is not None for name in LISTS) or bool(_lettered(row))


def same(text: str) -> str:
    """What two choices are compared by: "aa" and "AA" differ, as genotypes do; spaces and Unicode's forms do not."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def read_choice(row: Mapping[str, Any], findings: Findings) -> Choice | None:
    """The choices of a row; what is wrong with them goes to `findings`.

    Returns:
        None where something is wrong.
    """
    before = len(findings)
    name = next((name for name in LISTS if row.get(name) is not None), "")
    columns: tuple[str, ...] = () if name else _lettered(row)
    if name:
        texts, labels, flags = _from_list(row[name], name, findings)
    else:
        texts = [_lettered_text(row, at, columns, findings) for at in range(len(columns))]
        labels, flags = [], []
    if len(findings) > before:
        return None
    found = _all_named(row, columns, texts, labels, findings)
    if flags:
        found += [("letter", index, None) for index, flag in enumerate(flags) if flag]
    if not found and len(findings) == before:
        findings.append(("answer", 'no column says which choice is right; it may be called "answer".'))
    _check_choices(texts, name or "choices", findings)
    if len(findings) > before:
        return None
    said, answer, by_text = _agreed(found, findings)
    if said in ("letter", "text"):
        _check_repeats(texts, answer, findings)
    else:
        _check_repeats(texts, -1, findings)
    if len(findings) > before:
        return None
    return Choice(tuple(texts), said, answer, by_text, int(columns[0][-1:] == "1") if columns else 0)


def names_one(row: Mapping[str, Any]) -> bool:
    """Whether the row has choices and an answer that is one of them, whatever else may be wrong with them."""
    name = next((name for name in LISTS if row.get(name) is not None), "")
    columns = () if name else _lettered(row)
    if name and not isinstance(value_in(row[name]) if isinstance(row[name], str) else row[name], (list, dict)):
        return False
    texts, labels, flags = _from_list(row[name], name, []) if name else (
        [_lettered_text(row, at, columns, []) for at in range(len(columns))], [], [])
    named = _all_named(row, columns, texts, labels, [])
    return len(texts) > 1 and (any(flags) or any(
        said not in ("index", "either") or 0 <= answer <= len(texts) for said, answer, _ in named))


def _all_named(row: Mapping[str, Any], columns: tuple[str, ...], texts: list[str], labels: list[str],
               findings: Findings) -> list[_Named]:
    """What each of the columns in `RIGHT` says. A remark ("label": "easy") beside one that says it is passed over."""
    found: list[_Named] = []
    remarks: Findings = []
    named = [each.replace("_", "") for each in columns]
    for name in RIGHT:
        if row.get(name) is None or name in columns:
            continue
        wrong: Findings = []
        bare = re.sub(r"[\s_]", "", str(row[name])).casefold()
        if bare in named and (len(bare) > 1 or not bare.isascii()):  # MILU says "option2"
            found.append(("letter", named.index(bare), None))
        elif said := _named(row[name], name, texts, labels, wrong):
            # Under columns that are called A, B, C, a letter is theirs, whatever stands in them.
            found.append(("letter", said[1], None) if said[0] == "sign" and columns[:1] == ("a",) else said)
        elif name in _REMARKS and _is_remark(row[name]):
            remarks += wrong
        else:
            findings += wrong
    findings += remarks if not found else []
    return found


def _is_remark(value: Any) -> bool:
    return value is True or isinstance(value, float) or (
        isinstance(value, str) and len(value.strip()) != 1 and not value.lstrip().startswith("["))


def _lettered(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns that hold a choice each. Empty ones at the end are those of rows with more choices."""
    for names in _runs(tuple(row)):
        last = len(names)
        while last and _is_blank(row.get(names[last - 1])):
            last -= 1
        if last:
            return names[:last]
    return ()


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _lettered_text(row: Mapping[str, Any], at: int, columns: tuple[str, ...], findings: Findings) -> str:
    value = row.get(columns[at])
    if _is_blank(value):
        findings.append((columns[at], f"choice {LETTERS[at]} is empty."))
        return ""
    return _text(value, columns[at], findings)


@lru_cache(maxsize=64)  # the rows of a file have the same columns, or few different ones
def _runs(columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Each of `_SERIES` as far as its names are among the columns. Half of them may be missing: they are gaps then."""
    found = []
    for names in _SERIES:
        here = [at for at, name in enumerate(names) if name in columns]
        whole = names[: here[-1] + 1] if here else ()
        if 2 * len(here) < len(whole) or (here and here[0] and names[0].endswith("0")):
            whole = tuple(takewhile(columns.__contains__, names))
        if len(here) > 1 and len(whole) > 1:
            found.append(whole)
    return found


def _from_list(value: Any, name: str, findings: Findings) -> tuple[list[str], list[str], list[Any]]:
    """Texts, labels and flags of the right ones, of all the forms that lists of choices have."""
    if isinstance(value, str):
        value = value_in(value)
    if isinstance(value, dict):
        texts = next((value[key] for key in ("text", "texts", "choices") if isinstance(value.get(key), list)), None)
        if texts is None:  # {"A": "one", "B": "two"}
            return [_text(each, name, findings) for each in value.values()], [str(key) for key in value], []
        labels, flags = value.get("label"), value.get("labels")
        labels = [_label(each) for each in labels] if isinstance(labels, list) and len(labels) == len(texts) else []
        flags = flags if isinstance(flags, list) and len(flags) == len(texts) else []
        return [_text(each, name, findings) for each in texts], labels, flags
    if isinstance(value, list) and value and all(isinstance(each, dict) and "text" in each for each in value):
        labels = [_label(each["label"]) for each in value if each.get("label") is not None]
        flags = [each.get("correct", each.get("is_correct", False)) for each in value]
        texts = [_text(each["text"], name, findings) for each in value]
        return texts, labels if len(labels) == len(texts) else [], flags if any(flags) else []
    if isinstance(value, list):
        return [_text(each, name, findings) for each in value], [], []
    findings.append((name, f'"{name}" is {kind_of(value)}; it must be a list of texts.'))
    return [], [], []


def _text(value: Any, name: str, findings: Findings) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(value)
    if not isinstance(value, str) or not value.strip():
        what = "empty" if isinstance(value, str) else kind_of(value)
        findings.append((name, f'a choice in "{name}" is {what}; it must be text.'))
        return ""
    return value


def number_text(value: float) -> str:
    """A JSON number as it was written: 4.0 came from 4."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(value)


def _label(value: Any) -> str:
    return number_text(value) if isinstance(value, float) else str(value)


_Named = tuple[str, int, int | None]
"""`Choice.said`, `answer` and `by_text`."""


def _named(value: Any, column: str, texts: list[str], labels: list[str], findings: Findings) -> _Named | None:
    """Which choice a value names: by a label or letter, by its text, or by its index."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = value_in(value)
    if isinstance(value, list):
        if len(value) == 1:
            return _named(value[0], column, texts, labels, findings)
        findings.append((column, f"{len(value)} choices are called right; exactly one must be." if value else
                         "no choice is called right; exactly one must be."))
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        findings.append((column, f'"{column}" is {kind_of(value)}; it must be a letter, an index or the text.'))
        return None
    text = value.strip() if isinstance(value, str) else number_text(value)
    if text in labels:
        return "letter", labels.index(text), None
    of_text = [index for index, choice in enumerate(texts) if same(choice) == same(text)]
    if len(of_text) > 1:
        findings.append((column, f'two correct choices: "{printable(text)}" stands among them more than once.'))
        return None
    if re.fullmatch(r"-?\d{1,6}", text) and not labels:
        if not of_text:
            return "index", int(text), None
        if 0 <= int(text) <= len(texts):
            return "either", int(text), of_text[0]
    if of_text:
        by_letter = LETTERS[: len(texts)].find(text.upper()) if len(text) == 1 and not labels else -1
        return ("text", of_text[0], None) if by_letter < 0 else ("sign", by_letter, of_text[0])
    return _by_letter(text, column, texts, labels, findings)


def _by_letter(text: str, column: str, texts: list[str], labels: list[str], findings: Findings) -> _Named | None:
    """The choice that a letter names, as "B", "(b)" or "B." do."""
    bare = text.strip("().: ").upper()
    names = labels if labels and bare in map(str.upper, labels) else list(LETTERS[: len(texts)])
    upper = [name.upper() for name in names]
    if bare in upper:
        return "letter", upper.index(bare), None
    parts = [part.strip("().: ").upper() for part in _SEVERAL.split(text)]
    if len(parts) == 1 and 1 < len(bare) <= len(upper) and len(set(bare)) == len(bare):
        parts = list(bare)
    if len(parts) > 1 and all(part in upper for part in parts):
        findings.append((column, f"{len(parts)} choices are called right ({', '.join(parts)}); exactly one must be."))
        return None
    known = labels or names
    outside = f" They are called {known[0]} to {known[-1]}." if known else ""
    findings.append((column, f'the answer "{printable(text)}" is none of the {len(texts)} choices.{outside}'))
    return None


def _agreed(found: list[_Named], findings: Findings) -> _Named:
    """What all columns say together: a text beside its letter is common."""
    sure = [each for each in found if each[0] in ("letter", "text")]
    # Beside a letter or a text, an index is the same choice counted from 0 or from 1.
    numbers = [each for each in found if each not in sure]
    differ = len({answer for _, answer, _ in (sure or numbers)}) > 1 or (
        bool(sure) and any(sure[0][1] not in (answer, answer - 1, by_text) for _, answer, by_text in numbers))
    if differ:
        findings.append(("answer", "two correct choices: the columns that say which one is right differ."))
    return (sure or found)[0]


def _check_choices(texts: list[str], name: str, findings: Findings) -> None:
    if len(texts) < 2:
        findings.append((name, f"there is {'one choice' if texts else 'no choice'}; two or more are needed."))
    elif len(texts) > len(LETTERS):
        findings.append((name, f"there are {len(texts):,} choices; at most {len(LETTERS)} can have a letter."))


def _check_repeats(texts: list[str], answer: int, findings: Findings) -> None:
    seen: dict[str, int] = {}
    for index, text in enumerate(map(same, texts)):
        first = seen.setdefault(text, index)
        if first == index:
            continue
        pair = f"choices {LETTERS[first]} and {LETTERS[index]} are the same"
        if answer in (first, index):
            findings.append(("choices", f"two correct choices: {pair}."))
        else:
            findings.append(("choices", f"{pair}."))
