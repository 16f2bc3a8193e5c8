"""The kinds of findings: their names, what people are told, and what their fixes do. These words live nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from slmstudio.core.i18n import nnoop, noop, ntr, tr

Severity = Literal["bad", "warn", "note"]
"""Severities: spoils training or reveals personal data; worth a look; good to know."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding.

    Attributes:
        id: as in `Finding.kind`.
        label: its title in English.
        rows: what is said in English of one row, and of several.
        severity: "bad", "warn" or "note".
        repair: what the fix does, in English; None if there is none.
        mask: of an identifier of people, what the fix writes instead of it.
    """

    id: str
    label: str
    rows: tuple[str, str]
    severity: Severity
    repair: str | None = None
    mask: str = ""

    @property
    def title(self) -> str:
        """A few words."""
        return tr(self.label)

    @property
    def fix(self) -> str | None:
        """What the fix does; None if there is none."""
        return None if self.repair is None else tr(self.repair, mask=self.mask)

    def sentence(self, count: int, **figures: Any) -> str:
        """What is said about `count` rows."""
        one, many = self.rows
        return ntr(one, many, count, **figures)


def _personal(id: str, label: str, rows: tuple[str, str], mask: str) -> Kind:
    return Kind(f"personal_{id}", label, rows, "bad", MASKS, mask)


REMOVES = noop("Removes these rows.")
KEEPS_FIRST = noop("Keeps the first of each and removes the others.")
MASKS = noop("Writes {mask} in place of each.")
KINDS: dict[str, Kind] = {kind.id: kind for kind in (
    Kind("empty_answer", noop("Empty answers"),
         nnoop("{n:,} row has an empty answer.", "{n:,} rows have an empty answer."), "bad", REMOVES),
    Kind("overlap", noop("Rows also used for evaluation"),
         nnoop("{n:,} row asks a question that is also used for evaluation.",
               "{n:,} rows ask questions that are also used for evaluation."), "bad",
         noop("Removes these rows here; the evaluation keeps them.")),
    Kind("duplicate_rows", noop("Duplicate rows"),
         nnoop("{n:,} row repeats an earlier row exactly.", "{n:,} rows repeat an earlier row exactly."), "warn",
         KEEPS_FIRST),
    Kind("near_duplicates", noop("Near-duplicates"),
         nnoop("{n:,} row is nearly the same as an earlier row.",
               "{n:,} rows are nearly the same as an earlier row."), "warn", KEEPS_FIRST),
    Kind("conflicting_answers", noop("Conflicting answers"),
         nnoop("{n:,} row answers a question differently from another row.",
               "{n:,} rows answer the same question in different ways."), "warn"),
    Kind("too_long", noop("Rows that are cut"),
         nnoop("{n:,} row ({percent}) has more than {max_length:,} tokens and is cut; at {least_length:,}, none is.",
               "{n:,} rows ({percent}) have more than {max_length:,} tokens and are cut; at {least_length:,}, none "
               "is."), "warn", REMOVES),
    _personal("aadhaar", noop("Aadhaar numbers"),
              nnoop("{n:,} row contains an Aadhaar number.", "{n:,} rows contain Aadhaar numbers."), "[AADHAAR]"),
    _personal("pan", noop("PANs"),
              nnoop("{n:,} row contains a PAN (income tax number).",
                    "{n:,} rows contain PANs (income tax numbers)."), "[PAN]"),
    _personal("gstin", noop("GSTINs"),
              nnoop("{n:,} row contains a GSTIN (goods and services tax number).",
                    "{n:,} rows contain GSTINs (goods and services tax numbers)."), "[GSTIN]"),
    _personal("epic", noop("Voter IDs"),
              nnoop("{n:,} row contains a voter ID number.", "{n:,} rows contain voter ID numbers."), "[VOTER ID]"),
    _personal("card", noop("Card numbers"),
              nnoop("{n:,} row contains a payment card number.", "{n:,} rows contain payment card numbers."),
              "[CARD]"),
    _personal("phone", noop("Phone numbers"),
              nnoop("{n:,} row contains a phone number.", "{n:,} rows contain phone numbers."), "[PHONE]"),
    _personal("email", noop("Email addresses"),
              nnoop("{n:,} row contains an email address.", "{n:,} rows contain email addresses."), "[EMAIL]"),
    _personal("upi", noop("UPI IDs"), nnoop("{n:,} row contains a UPI ID.", "{n:,} rows contain UPI IDs."), "[UPI]"),
    Kind("special_tokens", noop("Special tokens"),
         nnoop("{n:,} row contains a special token of a model as text.",
               "{n:,} rows contain special tokens of a model as text."), "bad",
         noop("Removes the tokens from the text.")),
    Kind("mojibake", noop("Garbled text"),
         nnoop("{n:,} row contains text that was decoded with the wrong encoding.",
               "{n:,} rows contain text that was decoded with the wrong encoding."), "bad",
         noop("Restores the original text.")),
    Kind("replacement_characters", noop("Lost characters"),
         nnoop("{n:,} row contains �, which marks a lost character.",
               "{n:,} rows contain �, which marks a lost character."), "warn", REMOVES),
    Kind("control_characters", noop("Control characters"),
         nnoop("{n:,} row contains invisible control characters.",
               "{n:,} rows contain invisible control characters."), "warn", noop("Removes them.")),
    Kind("stray_joiners", noop("Stray invisible characters"),
         nnoop("{n:,} row contains invisible characters that no script needs.",
               "{n:,} rows contain invisible characters that no script needs."), "warn",
         noop("Removes them; joiners that Indian scripts, Persian or emoji need are kept.")),
    Kind("not_nfc", noop("Letters written in two ways"),
         nnoop("{n:,} row has letters that aren't in Unicode's usual form (NFC).",
               "{n:,} rows have letters that aren't in Unicode's usual form (NFC)."), "note",
         noop("Converts the text to NFC, which looks the same. An accented letter becomes one character; Indian "
              "letters with a nukta, such as क़ and ड़, become two.")),
    Kind("mixed_scripts", noop("Letters of another script"),
         nnoop("{n:,} row has a word with letters of another script in it.",
               "{n:,} rows have words with letters of another script in them."), "warn",
         noop("Writes these letters in the script of the word; removes a row where this isn't possible.")),
    Kind("romanised_hindi", noop("Hindi in Latin letters"),
         nnoop("{n:,} row has Hindi written in Latin letters.",
               "{n:,} rows have Hindi written in Latin letters."), "note"),
    Kind("html", noop("HTML"),
         nnoop("{n:,} row contains HTML tags or entities.", "{n:,} rows contain HTML tags or entities."), "warn",
         noop("Turns them into plain text. Code is kept.")),
    Kind("placeholders", noop("Unfilled placeholders"),
         nnoop("{n:,} row contains a placeholder that was never filled in.",
               "{n:,} rows contain placeholders that were never filled in."), "warn", REMOVES),
    Kind("refusals", noop("Refusals"),
         nnoop("{n:,} row has an answer in which an assistant refuses or speaks of itself as an AI.",
               "{n:,} rows have answers in which an assistant refuses or speaks of itself as an AI."), "warn",
         REMOVES),
    Kind("boilerplate", noop("Stock phrases"),
         nnoop("{n:,} answer begins or ends with a stock phrase.",
               "{n:,} answers begin or end with a stock phrase."), "note",
         noop("Removes these phrases from the answers.")),
    Kind("short_answer", noop("Very short answers"),
         nnoop("{n:,} answer is a single short word or has no word at all.",
               "{n:,} answers are a single short word or have no word at all."), "note", REMOVES),
)}
"""By id, in the order in which they are shown."""
