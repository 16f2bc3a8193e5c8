"""YAML, XML, catalogues of translations and GIFT as the JSON that says the same, so that their rows are found as those
of JSON are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, NamedTuple
from xml.etree import ElementTree

import orjson

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

# -- Questions in Moodle's GIFT format, as rows with a question, its choices and the right answer.

_LEAST_SHARE = 0.75
"""Share of a text's paragraphs that are questions in this format, at least."""
_REMARK = re.compile(r"^\s*(?://.*|\$CATEGORY:.*)$", re.MULTILINE)
_QUESTION = re.compile(r"\s*(?:::(?P<title>(?:\\.|[^\\])*?)::)?\s*(?:\[\w+\])?(?P<before>(?:\\.|[^\\{}])*)"
                       r"\{(?P<inside>(?:\\.|[^\\{}])*)\}(?P<after>(?:\\.|[^\\{}])*)", re.DOTALL)
_INSIDE = re.compile(r"\s*(?:$|[=~#]|(?:T|F|TRUE|FALSE)\s*(?:#|$))")
"""What the brackets hold: nothing, answers behind a sign, a number, or whether it is true."""
_ANSWER = re.compile(r"(?P<sign>[=~])(?P<text>(?:\\.|[^\\=~])*)", re.DOTALL)
_WEIGHT = re.compile(r"\s*%(?P<share>-?[\d.]+)%")
_REMARKED = re.compile(r"(?<!\\)#.*", re.DOTALL)
_ESCAPED = re.compile(r"\\([~=#{}:\\])")
GAP = "_____"
"""What stands for the answer inside a sentence."""


class _Choice(NamedTuple):
    text: str
    is_right: bool


def is_gift(text: str) -> bool:
    """Whether a text, or its beginning, has questions in this format and hardly anything else."""
    found = [each for each in re.split(r"\n\s*\n", _REMARK.sub("", text).strip()) if each.strip()]
    asked = [match for each in found if (match := _QUESTION.fullmatch(each)) and _INSIDE.match(match["inside"])]
    has_signs = any(match["title"] or _ANSWER.search(match["inside"]) for match in asked)
    return has_signs and len(asked) >= _LEAST_SHARE * len(found)


def gift_rows(text: str) -> list[dict[str, Any]]:
    """A row for each question: "question", "answer" and "choices".

    A question without an answer, as an essay's, and a paragraph that isn't a question have "" for it. Where only some
    have choices, these are lines below their questions instead.
    """
    paragraphs = [each for each in re.split(r"\n\s*\n", _REMARK.sub("", text).strip()) if each.strip()]
    found = [_gift_row(match) if (match := _QUESTION.fullmatch(each)) and _INSIDE.match(match["inside"]) else
             {"question": _gift_plain(each), "answer": ""} for each in paragraphs]
    if not all("choices" in row for row in found):
        for row in found:
            row["question"] = "\n- ".join((row["question"], *row.pop("choices", ())))
    return found


def _gift_row(match: re.Match[str]) -> dict[str, Any]:
    before, after, inside = (match[name].strip() for name in ("before", "after", "inside"))
    asked = _gift_plain(f"{before} {GAP} {after}" if after else before)
    if inside[:1] == "#":
        return {"question": asked, "answer": _gift_number(inside[1:])}
    if inside[:1] in ("T", "F"):
        answer = "True" if inside[0] == "T" else "False"
        return {"question": asked, "choices": ["True", "False"], "answer": answer}
    choices = [_gift_choice(each) for each in _ANSWER.finditer(inside)]
    if any("->" in each.text for each in choices):
        return {"question": asked, "answer": "\n".join(each.text for each in choices)}
    right = [each.text for each in choices if each.is_right]
    if all(each.is_right for each in choices):  # other ways to write the same
        return {"question": asked, "answer": right[0] if right else ""}
    return {"question": asked, "choices": [each.text for each in choices], "answer": ", ".join(right)}


def _gift_choice(match: re.Match[str]) -> _Choice:
    weight = _WEIGHT.match(match["text"])
    text = match["text"][weight.end():] if weight else match["text"]
    return _Choice(_gift_plain(text), match["sign"] == "=" or (weight is not None and float(weight["share"]) > 0))


def _gift_number(inside: str) -> str:
    """The number of "4:0.1", "1..5" or "=3:0 =%50%4:1": without how far an answer may be off."""
    answers = [_gift_choice(each).text for each in _ANSWER.finditer(inside)] or [_gift_plain(inside)]
    return answers[0].split(":")[0].strip()


def _gift_plain(text: str) -> str:
    """A text without remarks for whoever answers, and without the signs that protect others."""
    return _ESCAPED.sub(r"\1", _REMARKED.sub("", text)).strip()


_LARGEST = 64 << 20
"""Bytes of a text that is read whole."""
_MOST_VALUES = 20_000_000
"""Of a YAML text: each alias stands for a whole value, and aliases of aliases for any number of them."""


def kind_of(first: bytes, suffix: str) -> str:
    """"xml", "yaml", "po" or "gift" for such a text, "" for another."""
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if first.lstrip()[:5] == b"<?xml":
        return "xml"
    begin = first[:1 << 16]
    return "gift" if b"{" in begin and suffix in ("", ".txt", ".text") and is_gift(
        begin.decode("utf-8", "replace")) else ""


def as_json(chunks: Iterable[bytes], kind: str, name: str) -> bytes:
    """A whole text in UTF-8 of such a kind as JSON. Of an XML element, attributes and elements in it are keys, repeated
    ones lists.

    Args:
        name: of the file, in sentences.

    Raises:
        UserError: it is damaged, or too large to be read whole.
    """
    text = b""
    for chunk in chunks:
        text += chunk
        if len(text) > _LARGEST:
            raise UserError(tr("{name} has more than {size} MB, too many to be read whole.", name=name,
                               size=_LARGEST >> 20), "", tr("Split the file, or save it as JSONL."))
    try:
        return orjson.dumps(_READERS[kind](text), default=str, option=orjson.OPT_NON_STR_KEYS)
    except (ElementTree.ParseError, ValueError, TypeError, RecursionError) as error:
        raise UserError(tr("{name} is damaged, or isn't {kind}.", name=name, kind=kind.upper()), str(error),
                        tr("Correct it, or choose another file.")) from error


def _of_yaml(text: bytes) -> Any:
    import yaml  # type: ignore[import-untyped]

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = list(yaml.load_all(text, loader))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if _written_out(found, {}) > _MOST_VALUES:
        raise ValueError(tr("Its aliases stand for more than {n:,} values.", n=_MOST_VALUES))
    return found[0] if len(found) == 1 else [each for each in found if each is not None]


def _written_out(value: Any, known: dict[int, int]) -> int:
    """How many values there are once each alias is written out. Raises RecursionError: one holds itself."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_written_out(each, known) for each in parts)
    return known[id(value)]


def _of_xml(text: bytes) -> Any:
    if b"<!ENTITY" in text:  # may grow without bounds
        raise ValueError("<!ENTITY")
    return _value(ElementTree.fromstring(text.decode("utf-8")))


def _value(element: ElementTree.Element) -> Any:
    found: dict[str, Any] = {_plain(key): value for key, value in element.attrib.items()}
    several: dict[str, list[Any]] = {}
    for child in element:
        several.setdefault(_plain(child.tag), []).append(_value(child))
    for key, values in several.items():  # of elements with attributes and without, all are objects
        are_mixed = {dict, str} <= set(map(type, values))
        values = [{"text": each} if are_mixed and isinstance(each, str) else each for each in values]
        found[key] = values if len(values) > 1 else values[0]
    said = (element.text or "").strip()
    return found | ({"text": said} if said and "text" not in found else {}) if found else said


def _plain(name: str) -> str:
    return name.rpartition("}")[2]


def _of_po(text: bytes) -> Any:
    """Each message with its translation; those that aren't translated, or that a translator has to look at, are left
    out, and of a plural the first form counts."""
    from babel.messages import pofile

    try:
        found = pofile.read_po(BytesIO(text), ignore_obsolete=True, abort_invalid=True)
    except pofile.PoFileError as error:
        raise ValueError(str(error)) from error
    pairs = [(each.id, each.string) if isinstance(each.id, str) else (each.id[0], (each.string or ("",))[0])
             for each in found if each.id and not each.fuzzy]
    return [{"source": source, "translation": translation} for source, translation in pairs if translation]


_READERS: dict[str, Callable[[bytes], Any]] = {
    "yaml": _of_yaml, "xml": _of_xml, "po": _of_po, "gift": lambda text: gift_rows(text.decode("utf-8-sig"))}
_SUFFIXES = {".xml": "xml", ".yml": "yaml", ".yaml": "yaml", ".po": "po", ".gift": "gift"}
