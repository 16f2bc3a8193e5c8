"""The kinds of findings: what each is called, what is said of it, and what its fix does. Nowhere else is this said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slmstudio.core.data.health.finding import Severity


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
    return Kind(f"personal_{id}", title, f"1 row contains {what}.", f"{{count}} rows contain {several}.", "bad",
                f"Writes {mask} in place of each.", mask)


REMOVE = "Removes these rows."
KINDS: dict[str, Kind] = {kind.id: kind for kind in (
    Kind("empty_answer", "Empty answers", "1 row has an empty answer.", "{count} rows have an empty answer.", "bad",
         REMOVE),
    Kind("overlap", "Rows also used for evaluation", "1 row asks a question that is also used for evaluation.",
         "{count} rows ask questions that are also used for evaluation.", "bad",
         "Removes these rows here; the evaluation keeps them."),
    Kind("duplicate_rows", "Duplicate rows", "1 row repeats an earlier row exactly.",
         "{count} rows repeat an earlier row exactly.", "warn", "Keeps the first of each and removes the others."),
    Kind("near_duplicates", "Near-duplicates", "1 row is nearly the same as an earlier row.",
         "{count} rows are nearly the same as an earlier row.", "warn",
         "Keeps the first of each and removes the others."),
    Kind("conflicting_answers", "Conflicting answers", "1 row answers a question differently from another row.",
         "{count} rows answer the same question in different ways.", "warn"),
    Kind("too_long", "Rows that are cut",
         "1 row ({percent}) has more than {max_length} tokens and is cut; at {least_length}, none is.",
         "{count} rows ({percent}) have more than {max_length} tokens and are cut; at {least_length}, none is.",
         "warn", REMOVE),
    _personal("aadhaar", "Aadhaar numbers", "an Aadhaar number", "Aadhaar numbers", "[AADHAAR]"),
    _personal("pan", "PANs", "a PAN (income tax number)", "PANs (income tax numbers)", "[PAN]"),
    _personal("gstin", "GSTINs", "a GSTIN (goods and services tax number)",
              "GSTINs (goods and services tax numbers)", "[GSTIN]"),
    _personal("epic", "Voter IDs", "a voter ID number", "voter ID numbers", "[VOTER ID]"),
    _personal("card", "Card numbers", "a payment card number", "payment card numbers", "[CARD]"),
    _personal("phone", "Phone numbers", "a phone number", "phone numbers", "[PHONE]"),
    _personal("email", "Email addresses", "an email address", "email addresses", "[EMAIL]"),
    _personal("upi", "UPI IDs", "a UPI ID", "UPI IDs", "[UPI]"),
    Kind("special_tokens", "Special tokens", "1 row contains a special token of a model as text.",
         "{count} rows contain special tokens of a model as text.", "bad", "Removes the tokens from the text."),
    Kind("mojibake", "Garbled text", "1 row contains text that was decoded with the wrong encoding.",
         "{count} rows contain text that was decoded with the wrong encoding.", "bad", "Restores the original text."),
    Kind("replacement_characters", "Lost characters", "1 row contains �, which marks a lost character.",
         "{count} rows contain �, which marks a lost character.", "warn", REMOVE),
    Kind("control_characters", "Control characters", "1 row contains invisible control characters.",
         "{count} rows contain invisible control characters.", "warn", "Removes them."),
    Kind("stray_joiners", "Stray invisible characters", "1 row contains invisible characters that no script needs.",
         "{count} rows contain invisible characters that no script needs.", "warn",
         "Removes them; joiners that Indian scripts, Persian or emoji need are kept."),
    Kind("not_nfc", "Letters written in two ways",
         "1 row has letters that are not in Unicode's usual form (NFC).",
         "{count} rows have letters that are not in Unicode's usual form (NFC).", "note",
         "Converts the text to NFC, which looks the same. An accented letter becomes one character; "
         "Indian letters with a nukta, such as क़ and ड़, become two."),
    Kind("mixed_scripts", "Letters of another script", "1 row has a word with letters of another script in it.",
         "{count} rows have words with letters of another script in them.", "warn",
         "Writes these letters in the script of the word; removes a row where this isn't possible."),
    Kind("romanised_hindi", "Hindi in Latin letters", "1 row has Hindi written in Latin letters.",
         "{count} rows have Hindi written in Latin letters.", "note"),
    Kind("html", "HTML", "1 row contains HTML tags or entities.", "{count} rows contain HTML tags or entities.", "warn",
         "Turns them into plain text. Code is kept."),
    Kind("placeholders", "Unfilled placeholders", "1 row contains a placeholder that was never filled in.",
         "{count} rows contain placeholders that were never filled in.", "warn", REMOVE),
    Kind("refusals", "Refusals", "1 row has an answer in which an assistant refuses or speaks of itself as an AI.",
         "{count} rows have answers in which an assistant refuses or speaks of itself as an AI.", "warn", REMOVE),
    Kind("boilerplate", "Stock phrases", "1 answer begins or ends with a stock phrase.",
         "{count} answers begin or end with a stock phrase.", "note", "Removes these phrases from the answers."),
    Kind("short_answer", "Very short answers", "1 answer is a single short word or has no word at all.",
         "{count} answers are a single short word or have no word at all.", "note", REMOVE),
)}
"""By id, in the order in which they are shown."""
