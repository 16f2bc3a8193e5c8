"""Which language is spoken, and which there are."""

from __future__ import annotations

import os
from gettext import NullTranslations
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel import Locale

VARIABLE = "SLMSTUDIO_LANGUAGE"
"""Names the language; child processes speak that of their parent. It comes before the setting."""
SOURCE = "en"
PSEUDO = "en_XA"
"""English with accents, brackets and a third more letters: shows what can't be translated, and what would be cut."""
FOLDER = Path(__file__).resolve().parents[3] / "resources" / "translations"
_RIGHT_TO_LEFT = ("ar", "fa", "he", "ks", "sd", "ug", "ur", "yi")

_language = SOURCE
_catalogue: NullTranslations = NullTranslations()


def available() -> dict[str, str]:
    """Languages by their codes, each with the name that its speakers use; English first.

    Files that aren't named by a language, such as a translator's "hi copy.po", are left out.
    """
    codes = sorted(file.stem for file in FOLDER.glob("*.po") if is_known(file.stem))
    if not _has_babel():
        return {SOURCE: "English", **{code: code for code in codes}}
    known = {code: found for code in codes  # Babel takes "bn_backup" for Bengali
             if (found := locale(code)) is not None and str(found).lower() == code.lower()}
    return {SOURCE: "English", **{code: found.get_display_name(code) or code for code, found in known.items()}}


def locale(code: str) -> Locale | None:
    """What Babel knows of a language: None if it doesn't know it, or isn't installed."""
    if not _has_babel():
        return None
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(code)
    except (ValueError, UnknownLocaleError):
        return None


def _has_babel() -> bool:
    """It is missing where the program was set up before it could speak other languages."""
    try:
        import babel  # noqa: F401
    except ImportError:
        return False
    return True


def is_known(code: str) -> bool:
    """Whether `use` can speak it."""
    return code in (SOURCE, PSEUDO) or (code.replace("_", "").isalpha() and (FOLDER / f"{code}.po").is_file())


def system_language() -> str:
    """The best language of those that the system's user has chosen, or English."""
    for name in _system_locales():
        code = name.partition(".")[0].partition("@")[0].replace("-", "_")
        for known in (code, code.partition("_")[0]):
            if is_known(known):
                return known
    return SOURCE


def use(code: str = "") -> None:
    """Speak a language from now on, in this process and those that it starts.

    Args:
        code: as in `available`; "" is what the environment names, else the system's. An unknown one is English.
    """
    global _language, _catalogue
    code = code or os.environ.get(VARIABLE, "") or system_language()
    if code == PSEUDO:
        from slmstudio.core.i18n.catalogue import PseudoTranslations

        found: NullTranslations | None = PseudoTranslations()
    elif code == SOURCE:
        found = NullTranslations()
    else:
        from slmstudio.core.i18n import catalogue

        found = catalogue.load(FOLDER / f"{code}.po")
    _language, _catalogue = (code, found) if found is not None else (SOURCE, NullTranslations())
    os.environ[VARIABLE] = _language


def language() -> str:
    """The code of the language that is spoken: "en", "hi" …"""
    return _language


def catalogue() -> NullTranslations:
    return _catalogue


def is_english() -> bool:
    """Whether numbers and words stay as the code writes them."""
    return _language in (SOURCE, PSEUDO)


def is_right_to_left() -> bool:
    return _language.partition("_")[0] in _RIGHT_TO_LEFT


def _system_locales() -> list[str]:
    """Names of locales, the best first, such as "hi_IN.UTF-8" or "hi"."""
    if os.name == "nt":
        import ctypes
        import locale

        number = ctypes.windll.kernel32.GetUserDefaultUILanguage()  # type: ignore[attr-defined]
        return [locale.windows_locale.get(number, "")]
    chosen = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := os.environ.get(name))), "")
    if chosen in ("C", "POSIX", ""):  # as gettext: LANGUAGE counts only where there is a locale
        return []
    return [*filter(None, os.environ.get("LANGUAGE", "").split(":")), chosen]
