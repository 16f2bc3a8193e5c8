"""The encoding of a text file, judging by its first bytes."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

SNIFF_BYTES = 4096
SAMPLE_BYTES = 1 << 18
_NAMES = {"cp1252": "windows-1252", "cp1251": "windows-1251", "cp1256": "windows-1256", "cp1253": "windows-1253",
          "shift_jis": "Shift JIS", "cp932": "Shift JIS (cp932)", "gb18030": "GB 18030", "big5": "Big5",
          "euc_kr": "EUC-KR", "cp949": "EUC-KR (cp949)", "koi8_r": "KOI8-R",
          "cp866": "IBM 866"}
_NOT_IN_CP1252 = set(b"\x81\x8d\x8f\x90\x9d")
MANY = 20
"""Places at the beginning of JSON that aren't UTF-8, from which on that is more than damage."""
_BROKEN = re.compile("[\ud800-\udfff]+")


class Encoding(NamedTuple):
    """
    Attributes:
        name: for people.
        skip: bytes of the byte order mark.
        codec: Python's; "" for UTF-8.
        assumed: whether the file doesn't say it, so that it was guessed by its bytes.
    """

    name: str
    skip: int = 0
    codec: str = ""
    assumed: bool = False


def encoding_of(first: bytes, may_be_legacy: bool) -> Encoding:
    """The encoding of a text that begins so.

    Args:
        may_be_legacy: whether an encoding from before Unicode is believed. JSON is UTF-8 by its standard, so a few bad
            bytes in it are damage; a table that a spreadsheet saved is another matter.
    """
    if first.startswith(codecs.BOM_UTF8):
        return Encoding("UTF-8 with BOM", 3)
    order = utf16_order(first[:SNIFF_BYTES])
    if order:
        bom = 2 if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else 0
        return Encoding(f"UTF-16 {order}", bom, f"utf-16-{order}")
    sample = first[:SAMPLE_BYTES]
    if sample.isascii():
        return Encoding("UTF-8")
    text = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(sample)
    broken = len(_BROKEN.findall(text))
    if broken >= (1 if may_be_legacy else MANY) and broken > sum(
            not character.isascii() for character in _BROKEN.sub("", text)):
        return _legacy(sample)
    return Encoding("UTF-8")


def _legacy(sample: bytes) -> Encoding:
    from charset_normalizer import from_bytes

    # Nearly all ASCII with a few accents are the languages of Western Europe.
    has_few = sum(byte > 127 for byte in sample) * 20 < len(sample)
    best = None if has_few else from_bytes(sample, cp_isolation=list(_NAMES), enable_fallback=False).best()
    codec = best.encoding if best is not None else "cp1252"
    if codec == "cp1252" and set(sample) & _NOT_IN_CP1252:
        codec = "latin_1"
    return Encoding(_NAMES.get(codec, codec.replace("_", "-")), 0, codec, assumed=True)


def utf16_order(head: bytes) -> str:
    """ "LE" or "BE" for UTF-16, with a BOM or without, and "" for anything else."""
    if len(head) < 2 or head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return ""
    if head.startswith(codecs.BOM_UTF16_LE):
        return "LE"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "BE"
    # Data begin with ASCII, which has a zero byte in every UTF-16 unit; UTF-8 text has none at all.
    order = {(False, True): "LE", (True, False): "BE"}.get((head[0:1] == b"\0", head[1:2] == b"\0"), "")
    if order:
        try:
            text = codecs.getincrementaldecoder(f"utf-16-{order}")("surrogatepass").decode(head)
        except UnicodeDecodeError:
            return ""
        fits = (text[:1].isprintable() or text[:1].isspace()) and text.count("\0") <= len(text) / 100
        order = order if fits else ""
    return order
