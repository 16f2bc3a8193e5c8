"""Faults within a single text: how each is found and fixed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from slmstudio.core.data.health import hidden, markup, personal, scripts
from slmstudio.core.data.health.texts import Part

_PLACEHOLDER_SIGNS = frozenset("{[<%")
_TODO_LETTERS = (frozenset("TOD"), frozenset("FIXME"))


class Look:
    """All texts of one row at a glance, so that most checks need not look at them at all.

    Attributes:
        joined: the texts, one after the other.
        letters: every character in them.
        ascii: whether they are all ASCII.
    """

    __slots__ = ("_may_be_personal", "ascii", "joined", "letters")

    def __init__(self, texts: list[str]):
        self.joined = texts[0] if len(texts) == 1 else "\n".join(texts)
        self.letters = set(self.joined)
        self.ascii = self.joined.isascii()
        self._may_be_personal: bool | None = None

    @property
    def may_be_personal(self) -> bool:
        """Whether there may be identifiers of people."""
        if self._may_be_personal is None:
            text = self.joined
            if not self.ascii and not personal.foreign_digits().isdisjoint(self.letters):
                text = personal.with_ascii_digits(text)
            self._may_be_personal = personal.may_be_personal(text)
        return self._may_be_personal


@dataclass(frozen=True, slots=True)
class TextCheck:
    """One kind of fault.

    Attributes:
        kind: id of the kind.
        may: whether a row may have it: quick, and never wrong when it says no.
        find: the faulty piece of a text, or None.
        fix: the text without the fault, or None if it can't be removed; None for kinds that nothing fixes.
        part: of the texts of a row, those in which it is looked for.
    """

    kind: str
    may: Callable[[Look], bool]
    find: Callable[[str], str | None]
    mend: Callable[[str], str | None] | None
    part: Part = "everything"


def text_checks(special_tokens: tuple[str, ...], kinds: frozenset[str]) -> list[TextCheck]:
    """The checks of these kinds, in the order in which fixing goes.

    Garbled text comes first: it contains controls and joiners, which are gone once it is restored. What removes
        characters comes before what looks at words.
    """
    checks = [
        TextCheck("mojibake", lambda look: not look.ascii and not hidden.GARBLED.isdisjoint(look.letters),
                  hidden.garbled, hidden.ungarbled),
        TextCheck("replacement_characters", lambda look: "\ufffd" in look.letters, hidden.replacement, None),
        TextCheck("html", _may_be_markup, markup.markup, markup.plain, part="spoken"),
        TextCheck("control_characters", lambda look: not look.letters.isdisjoint(hidden.CONTROLS), hidden.control,
                  hidden.without_controls),
        TextCheck("stray_joiners", lambda look: not look.ascii and not look.letters.isdisjoint(hidden.JOINERS),
                  hidden.stray_joiner, hidden.without_stray_joiners),
        _special_tokens(special_tokens),
        TextCheck("not_nfc", lambda look: not look.ascii, hidden.denormalised, hidden.composed),
        TextCheck("mixed_scripts", lambda look: not look.ascii and len(scripts.scripts_of(look.letters)) > 1,
                  scripts.mixed_script_word, scripts.in_own_script),
        *(_personal(personal.PREFIX + name) for name in personal.FINDERS),
        TextCheck("romanised_hindi", lambda look: "h" in look.letters and scripts.may_be_romanised(look.joined),
                  scripts.romanised_hindi, None, part="spoken"),
        TextCheck("placeholders", _may_have_placeholders, markup.placeholder, None, part="spoken"),
    ]
    return [check for check in checks if check.kind in kinds]


def _special_tokens(tokens: tuple[str, ...]) -> TextCheck:
    beginnings = markup.token_beginnings(tokens)
    return TextCheck("special_tokens", lambda look: not look.letters.isdisjoint(beginnings),
                     partial(markup.special_token, special_tokens=tokens),
                     partial(markup.without_special_tokens, special_tokens=tokens))


def _personal(kind: str) -> TextCheck:
    return TextCheck(kind, lambda look: look.may_be_personal, partial(personal.example, kind=kind),
                     partial(personal.masked, kind=kind))


def _may_be_markup(look: Look) -> bool:
    return ("<" in look.letters or "&" in look.letters) and markup.has_markup(look.joined)


def _may_have_placeholders(look: Look) -> bool:
    if not look.letters.isdisjoint(_PLACEHOLDER_SIGNS) or any(letters <= look.letters for letters in _TODO_LETTERS):
        return True
    return "orem" in look.joined or "OREM" in look.joined
