"""How many tokens a row has for a model, also for one that isn't on this machine: from its bytes and their script."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Sequence

from slmstudio.core.data.languages import script_of
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.model.tokens import load_tokenizer

SAMPLED = 200
"""Rows that are looked at, evenly spread."""
PER_MESSAGE = 6.0
"""Tokens that a chat template puts around a message, about."""
LATIN = 4.4
"""Bytes of a token in Latin script: SmolLM2's on English help texts."""
KNOWN, LARGE, SMALL = 9.0, 4.0, 2.0
"""The same in another script: where the model's makers name a language of it and the vocabulary has `EACH` for each
that they name, or it is as large as Gemma's; where it is as large as Qwen's, which has some of these words; and where
it is small: SmolLM2's on Hindi has 2.3, on Tamil 1.6. The first two are assumptions."""
EACH = 6_000
SIZES = (200_000, 100_000)
"""Rows of the embeddings from which a vocabulary is as large as Gemma's, and as Qwen's."""
LANGUAGES = {"Devanagari": "hi mr ne sa kok mai doi brx", "Bengali": "bn as mni", "Gurmukhi": "pa", "Gujarati": "gu",
             "Odia": "or", "Tamil": "ta", "Telugu": "te", "Kannada": "kn", "Malayalam": "ml",
             "Arabic": "ar ur fa sd ks", "Cyrillic": "ru uk bg sr", "Han": "zh ja", "Japanese": "ja", "Korean": "ko",
             "Thai": "th", "Greek": "el"}
"""ISO 639 codes of languages that are written in a script."""


def tokens_per_row(records: Sequence[Record], languages: Collection[str], facts: ModelFacts) -> float:
    """Tokens of a row, on average; counted by the model's own tokenizer where it is on the disk. Takes up to a second.

    Args:
        records: rows of a dataset.
        languages: ISO 639 codes that the model's makers name.
        facts: of a model on the disk, or of one in the catalogue.
    """
    sample = records[::1 + len(records) // SAMPLED]
    around = PER_MESSAGE * sum(len(row.contents) for row in sample)
    if (facts.path / "tokenizer.json").is_file():
        with contextlib.suppress(UserError):
            tokenizer = load_tokenizer(facts.path)
            counted = sum(len(tokenizer.encode(text, add_special_tokens=False).ids)
                          for row in sample for text in row.contents)
            return (counted + around) / max(1, len(sample))
    characters = Counter[str]()
    for row in sample:
        for text in row.contents:
            characters.update(text)
    guessed = sum(count * len(character.encode(errors="surrogatepass"))
                  / _bytes_of_token(script_of(character), languages, facts)
                  for character, count in characters.items())
    return (guessed + around) / max(1, len(sample))


def _bytes_of_token(script: str | None, languages: Collection[str], facts: ModelFacts) -> float:
    if script in (None, "Latin"):
        return LATIN
    knows = not set(LANGUAGES.get(script or "", "").split()).isdisjoint(languages)
    if (knows and facts.vocabulary_size >= EACH * len(languages)) or facts.vocabulary_size >= SIZES[0]:
        return KNOWN
    return LARGE if facts.vocabulary_size >= SIZES[1] else SMALL
