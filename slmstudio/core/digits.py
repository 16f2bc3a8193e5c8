"""Digits of every script as the digits 0 to 9."""

from __future__ import annotations

import unicodedata


def plain_digits(text: str) -> str:
    """Digits of every script as 0 to 9, and the Arabic decimal and thousands signs as "." and ",".

    >>> plain_digits("१२,३४,५६७ ٤٫٥ 2")
    '12,34,567 4.5 2'
    """
    return text if text.isascii() else text.translate(_PLAIN)


class _Plain(dict[int, str]):
    """What stands for each code point that was asked for: for a digit the plain one, for any other itself."""

    def __missing__(self, code: int) -> str:
        self[code] = found = str(unicodedata.decimal(chr(code), chr(code)))
        return found


_PLAIN = _Plain({ord("٫"): ".", ord("٬"): ","})
