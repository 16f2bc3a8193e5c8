"""Digits of every script as the digits 0 to 9."""

from __future__ import annotations

import functools
import unicodedata


def plain_digits(text: str) -> str:
    """Digits of every script as 0 to 9, and the Arabic decimal and thousands signs as "." and ",".

    >>> plain_digits("१२,३४,५६७ ٤٫٥ 2")
    '12,34,567 4.5 2'
    """
    return text if text.isascii() else text.translate(_digits())


@functools.cache
def _digits() -> dict[int, str]:
    """Every code point of the Unicode category Nd, which Python counts once and for all."""
    found = {code: str(unicodedata.decimal(chr(code))) for code in range(128, 0x110000) if chr(code).isdecimal()}
    return {**found, ord("٫"): ".", ord("٬"): ","}
