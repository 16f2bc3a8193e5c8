"""The words of the glossary in the language of the window."""

from __future__ import annotations

from slmstudio.core.i18n import tr
from slmstudio.core.terms import TERMS


def name(key: str) -> str:
    """What a term is called; raises KeyError for one that isn't in the table."""
    return tr(TERMS[key].name)


def sentences(key: str) -> tuple[str, str]:
    """What it is, and what to make of it."""
    return tr(TERMS[key].what), tr(TERMS[key].so)
