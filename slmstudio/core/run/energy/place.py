"""The country that the machine is set up for: what its locale says, and India's time zone."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping

INDIA = "IN"
INDIAN_OFFSET = -19_800
"""Seconds west of Greenwich: UTC+5:30, which Sri Lanka has too."""
SRI_LANKAN_NAMES = ("+0530", "Sri Lanka Standard Time")


def country(environ: Mapping[str, str] = os.environ, zone: tuple[int, str] | None = None) -> str:
    """Two letters as in ISO 3166, or "" where it isn't known.

    India's time zone outweighs the locale: many machines there are set up in American or British English.

    Args:
        zone: seconds west of Greenwich and the time zone's name; the machine's own by default.
    """
    offset, name = zone or (time.timezone, time.tzname[0])
    if offset == INDIAN_OFFSET and name not in SRI_LANKAN_NAMES:
        return INDIA
    said = next((environ[key] for key in ("LC_ALL", "LC_MONETARY", "LANG") if environ.get(key)), "") or _of_windows()
    found = re.match(r"[A-Za-z]{2,3}(?:[_-][A-Za-z]{4})?[_-]([A-Z]{2})\b", said)
    return found[1] if found else ""


def _of_windows() -> str:
    """The name of the user's locale, as "hi-IN"; "" on other systems."""
    if sys.platform != "win32":
        return ""
    import ctypes

    name = ctypes.create_unicode_buffer(85)  # LOCALE_NAME_MAX_LENGTH
    ctypes.windll.kernel32.GetUserDefaultLocaleName(name, len(name))
    return name.value
