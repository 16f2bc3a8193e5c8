"""The language of a row: what a column says, or else a guess by the script of its letters.

The guess knows scripts, not languages: Devanagari counts as Hindi, though Marathi and Nepali are written in it too. So
items say whether their language was guessed.
"""

from __future__ import annotations

import re
from collections import Counter

from slmstudio.core.data.statistics import OTHER, script_of

SAMPLE = 200
"""Characters that are looked at of each text."""
LATIN = "und-Latn"
"""BCP 47 for "Latin letters, language not known"."""

_OF_SCRIPT = {
    "Greek": "el", "Cyrillic": "ru", "Armenian": "hy", "Hebrew": "he", "Arabic": "ar", "Devanagari": "hi",
    "Bengali": "bn", "Gurmukhi": "pa", "Gujarati": "gu", "Odia": "or", "Tamil": "ta", "Telugu": "te", "Kannada": "kn",
    "Malayalam": "ml", "Sinhala": "si", "Thai": "th", "Lao": "lo", "Tibetan": "bo", "Myanmar": "my", "Georgian": "ka",
    "Korean": "ko", "Ethiopic": "am", "Khmer": "km", "Ol Chiki": "sat", "Japanese": "ja", "Han": "zh",
    "Meetei Mayek": "mni",
}
"""The language with most writers in a script."""
_ASSAMESE = frozenset("ৰৱ")
_URDU = frozenset("ٹڈڑںےۓ")
_PERSIAN = frozenset("پچژگ")
_ENGLISH = frozenset({
    "the", "of", "and", "is", "are", "were", "what", "which", "how", "who", "when", "where", "why", "does", "did",
    "with", "for", "from", "this", "that", "not", "you",
})
_WORD = re.compile(r"[a-z']+")
_TAG = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_NAMES = {
    "assamese": "as", "bengali": "bn", "bangla": "bn", "bodo": "brx", "dogri": "doi", "english": "en", "eng": "en",
    "gujarati": "gu", "guj": "gu", "hindi": "hi", "hin": "hi", "kannada": "kn", "kan": "kn", "kashmiri": "ks",
    "konkani": "kok", "maithili": "mai", "malayalam": "ml", "mal": "ml", "manipuri": "mni", "meitei": "mni",
    "marathi": "mr", "mar": "mr", "nepali": "ne", "odia": "or", "oriya": "or", "punjabi": "pa", "panjabi": "pa",
    "sanskrit": "sa", "santali": "sat", "sindhi": "sd", "tamil": "ta", "tam": "ta", "telugu": "te", "tel": "te",
    "urdu": "ur", "urd": "ur", "ben": "bn", "asm": "as", "ori": "or", "ory": "or", "pan": "pa", "nep": "ne",
    "हिन्दी": "hi", "हिंदी": "hi", "मराठी": "mr", "தமிழ்": "ta", "తెలుగు": "te", "ಕನ್ನಡ": "kn", "മലയാളം": "ml",
    "বাংলা": "bn", "ગુજરાતી": "gu", "ਪੰਜਾਬੀ": "pa", "ଓଡ଼ିଆ": "or", "اردو": "ur",
    "arabic": "ar", "chinese": "zh", "french": "fr", "german": "de", "japanese": "ja", "korean": "ko",
    "portuguese": "pt", "russian": "ru", "spanish": "es",
}
"""Names that tables use, and ISO 639-3 codes of languages that have a shorter one."""


def from_column(value: str) -> str | None:
    """BCP 47 of what a column says: "Hindi", "hin", "hi_IN" → "hi", "hi", "hi-IN". Other words stay as they are."""
    text = value.strip()
    known = _NAMES.get(text.casefold())
    if known or not text:
        return known
    if not _TAG.fullmatch(text):
        return text
    language, *rest = re.split("[-_]", text)
    language = _NAMES.get(language.casefold(), language.casefold())
    return "-".join([language, *(_subtag(part) for part in rest)])


def _subtag(part: str) -> str:
    """As RFC 5646 writes them: "Deva", "IN"."""
    return part.title() if len(part) == 4 and part.isalpha() else part.upper() if len(part) == 2 else part.lower()


def guess(*texts: str) -> str | None:
    """The language that most letters of the texts suggest; None if there are no letters.

    Only the first `SAMPLE` characters of each text are looked at. Latin letters count as English if some of
    English's short words are among them; otherwise the language isn't known: `LATIN`.
    """
    sample = "\n".join(text[:SAMPLE] for text in texts)
    if sample.isascii():
        return _latin(sample) if any(map(str.isalpha, sample)) else None
    letters = Counter(sample)
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        if (script := script_of(letter)) and script != OTHER:
            scripts[script] += count
    if not scripts:
        return None
    if "Japanese" in scripts:  # which is written in kana and Chinese characters
        scripts["Japanese"] += scripts.pop("Han", 0)
    found = max(scripts, key=scripts.__getitem__)
    if found == "Latin":
        return _latin(sample)
    if found == "Bengali" and _ASSAMESE & letters.keys():
        return "as"
    if found == "Arabic" and _URDU & letters.keys():
        return "ur"
    if found == "Arabic" and _PERSIAN & letters.keys():
        return "fa"
    return _OF_SCRIPT[found]


def _latin(sample: str) -> str:
    words = _WORD.findall(sample.casefold())
    return "en" if sum(word in _ENGLISH for word in words) * 10 >= len(words) > 0 else LATIN
