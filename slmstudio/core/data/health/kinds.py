"""The kinds of findings: what each is called, what is said of it, and what its fix does. Nowhere else is this said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slmstudio.core.data.health.finding import Severity
from slmstudio.core.i18n import noop, tr


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding.

    Attributes:
        id: as in `Finding.kind`.
        title: a few words.
        one, many: sentence for one row and for `{count}` rows.
        severity: "bad", "warn" or "note".
        fix: what the fix does; None where there is none.
        mask: of an identifier of people, what stands in its place after the fix.
    """

    id: str
    title: str
    one: str
    many: str
    severity: Severity
    fix: str | None = None
    mask: str = ""

    def sentence(self, count: int, **figures: Any) -> str:
        """What is said of `count` rows."""
        return (self.one if count == 1 else self.many).format(count=f"{count:,}", **figures)


def _personal(id: str, title: str, what: str, several: str, mask: str) -> Kind:
    return Kind(f"personal_{id}", title, tr("1 row contains {what}.", what=what),
                tr("{{count}} rows contain {several}.", several=several), "bad",
                tr("Writes {mask} in place of each.", mask=mask), mask)


REMOVE = noop("Removes these rows.")
KINDS: dict[str, Kind] = {kind.id: kind for kind in (
    Kind("empty_answer", noop("Empty answers"), noop("1 row has an empty answer."),
         noop("{count} rows have an empty answer."), "bad", REMOVE),
    Kind("overlap", noop("Rows also used for evaluation"),
         noop("1 row asks a question that is also used for evaluation."),
         noop("{count} rows ask questions that are also used for evaluation."), "bad",
         noop("Removes these rows here; the evaluation keeps them.")),
    Kind("duplicate_rows", noop("Duplicate rows"), noop("1 row repeats an earlier row exactly."),
         noop("{count} rows repeat an earlier row exactly."), "warn",
         noop("Keeps the first of each and removes the others.")),
    Kind("near_duplicates", "Near-duplicates", noop("1 row is nearly the same as an earlier row."),
         noop("{count} rows are nearly the same as an earlier row."), "warn",
         noop("Keeps the first of each and removes the others.")),
    Kind("conflicting_answers", noop("Conflicting answers"),
         noop("1 row answers a question differently from another row."),
         noop("{count} rows answer the same question in different ways."), "warn"),
    Kind("too_long", noop("Rows that are cut"),
         noop("1 row ({percent}) has more than {max_length} tokens and is cut; at {least_length}, none is."),
         noop("{count} rows ({percent}) have more than {max_length} tokens and are cut; at {least_length}, none is."),
         "warn", REMOVE),
    _personal("aadhaar", noop("Aadhaar numbers"), "an Aadhaar number", noop("Aadhaar numbers"), "[AADHAAR]"),
    _personal("pan", "PANs", "a PAN (income tax number)", noop("PANs (income tax numbers)"), "[PAN]"),
    _personal("gstin", "GSTINs", "a GSTIN (goods and services tax number)",
              noop("GSTINs (goods and services tax numbers)"), "[GSTIN]"),
    _personal("epic", noop("Voter IDs"), "a voter ID number", "voter ID numbers", "[VOTER ID]"),
    _personal("card", noop("Card numbers"), "a payment card number", "payment card numbers", "[CARD]"),
    _personal("phone", noop("Phone numbers"), "a phone number", "phone numbers", "[PHONE]"),
    _personal("email", noop("Email addresses"), "an email address", "email addresses", "[EMAIL]"),
    _personal("upi", "UPI IDs", "a UPI ID", "UPI IDs", "[UPI]"),
    Kind("special_tokens", noop("Special tokens"), noop("1 row contains a special token of a model as text."),
         noop("{count} rows contain special tokens of a model as text."), "bad",
         noop("Removes the tokens from the text.")),
    Kind("mojibake", noop("Garbled text"), noop("1 row contains text that was decoded with the wrong encoding."),
         noop("{count} rows contain text that was decoded with the wrong encoding."), "bad",
         noop("Restores the original text.")),
    Kind("replacement_characters", noop("Lost characters"), noop("1 row contains �, which marks a lost character."),
         noop("{count} rows contain �, which marks a lost character."), "warn", REMOVE),
    Kind("control_characters", noop("Control characters"), noop("1 row contains invisible control characters."),
         noop("{count} rows contain invisible control characters."), "warn", noop("Removes them.")),
    Kind("stray_joiners", noop("Stray invisible characters"),
         noop("1 row contains invisible characters that no script needs."),
         noop("{count} rows contain invisible characters that no script needs."), "warn",
         noop("Removes them; joiners that Indian scripts, Persian or emoji need are kept.")),
    Kind("not_nfc", noop("Letters written in two ways"),
         noop("1 row has letters that are not in Unicode's usual form (NFC)."),
         noop("{count} rows have letters that are not in Unicode's usual form (NFC)."), "note",
         noop("Converts the text to NFC, which looks the same. An accented letter becomes one character; Indian "
              "letters with a nukta, such as क़ and ड़, become two.")),
    Kind("mixed_scripts", noop("Letters of another script"),
         noop("1 row has a word with letters of another script in it."),
         noop("{count} rows have words with letters of another script in them."), "warn",
         noop("Writes these letters in the script of the word; removes a row where this isn't possible.")),
    Kind("romanised_hindi", noop("Hindi in Latin letters"), noop("1 row has Hindi written in Latin letters."),
         noop("{count} rows have Hindi written in Latin letters."), "note"),
    Kind("html", "HTML", noop("1 row contains HTML tags or entities."),
         noop("{count} rows contain HTML tags or entities."), "warn",
         noop("Turns them into plain text. Code is kept.")),
    Kind("placeholders", noop("Unfilled placeholders"), noop("1 row contains a placeholder that was never filled in."),
         noop("{count} rows contain placeholders that were never filled in."), "warn", REMOVE),
    Kind("refusals", "Refusals",
         noop("1 row has an answer in which an assistant refuses or speaks of itself as an AI."),
         noop("{count} rows have answers in which an assistant refuses or speaks of itself as an AI."), "warn", REMOVE),
    Kind("boilerplate", noop("Stock phrases"), noop("1 answer begins or ends with a stock phrase."),
         noop("{count} answers begin or end with a stock phrase."), "note",
         noop("Removes these phrases from the answers.")),
    Kind("short_answer", noop("Very short answers"), noop("1 answer is a single short word or has no word at all."),
         noop("{count} answers are a single short word or have no word at all."), "note", REMOVE),
)}
"""By id, in the order in which they are shown."""
