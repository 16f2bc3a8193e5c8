"""YAML, XML, catalogues of translations and GIFT as the JSON that says the same, so that their rows are found as those
of JSON are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import orjson

from slmstudio.core.data.sources import gift
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

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
    return "gift" if b"{" in begin and suffix in ("", ".txt", ".text") and gift.is_gift(
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
    "yaml": _of_yaml, "xml": _of_xml, "po": _of_po, "gift": lambda text: gift.rows(text.decode("utf-8-sig"))}
_SUFFIXES = {".xml": "xml", ".yml": "yaml", ".yaml": "yaml", ".po": "po", ".gift": "gift"}
