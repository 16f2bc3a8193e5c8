"""The language of a row: what a column says, or else a guess by the script of its letters.

The guess knows scripts, not languages: Devanagari counts as Hindi, though Marathi and Nepali are written in it too. So
items say whether their language was guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

SAMPLE = 200
"""Characters that are looked at of each text."""
LATIN = "und-Latn"
"""BCP 47 for "Latin letters, language not known"."""

_RANGES = (
    (0x0041, 0x024F, "Latn"), (0x0370, 0x03FF, "el"), (0x0400, 0x052F, "ru"), (0x0531, 0x058F, "hy"),
    (0x0591, 0x05F4, "he"), (0x0600, 0x06FF, "Arab"), (0x0750, 0x077F, "Arab"), (0x08A0, 0x08FF, "Arab"),
    (0x0900, 0x097F, "hi"), (0x0980, 0x09FF, "bn"), (0x0A00, 0x0A7F, "pa"), (0x0A80, 0x0AFF, "gu"),
    (0x0B00, 0x0B7F, "or"), (0x0B80, 0x0BFF, "ta"), (0x0C00, 0x0C7F, "te"), (0x0C80, 0x0CFF, "kn"),
    (0x0D00, 0x0D7F, "ml"), (0x0D80, 0x0DFF, "si"), (0x0E00, 0x0E7F, "th"), (0x0E80, 0x0EFF, "lo"),
    (0x0F00, 0x0FFF, "bo"), (0x1000, 0x109F, "my"), (0x10A0, 0x10FF, "ka"), (0x1200, 0x137F, "am"),
    (0x1780, 0x17FF, "km"), (0x1C50, 0x1C7F, "sat"), (0x1E00, 0x1EFF, "Latn"), (0x3040, 0x30FF, "ja"),
    (0x3400, 0x4DBF, "zh"), (0x4E00, 0x9FFF, "zh"), (0xA8E0, 0xA8FF, "hi"), (0xABC0, 0xABFF, "mni"),
    (0xAC00, 0xD7AF, "ko"), (0x1100, 0x11FF, "ko"), (0xFB50, 0xFDFF, "Arab"), (0xFE70, 0xFEFF, "Arab"),
)
"""First and last code point of a script's blocks (Unicode 16), and the language with most writers in it."""
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
    """The language that most letters of the texts speak for; None where there is no letter.

    Only the first `SAMPLE` characters of each text are looked at. Latin letters count as English where English's
    little words stand among them, else the language is not known: `LATIN`.
    """
    sample = "\n".join(text[:SAMPLE] for text in texts)
    if sample.isascii():
        return _latin(sample) if any(map(str.isalpha, sample)) else None
    letters = Counter(sample)
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        if script := _script(letter):
            scripts[script] += count
    if not scripts:
        return None
    if "ja" in scripts and "zh" in scripts:  # Japanese is written in kana and Chinese characters
        scripts["ja"] += scripts.pop("zh")
    found = max(scripts, key=lambda script: scripts[script])
    if found == "Latn":
        return _latin(sample)
    if found == "bn" and _ASSAMESE & letters.keys():
        return "as"
    if found == "Arab":
        return "ur" if _URDU & letters.keys() else "fa" if _PERSIAN & letters.keys() else "ar"
    return found


def _latin(sample: str) -> str:
    words = _WORD.findall(sample.casefold())
    return "en" if sum(word in _ENGLISH for word in words) * 10 >= len(words) > 0 else LATIN


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    if not (letter.isalpha() or "\u0900" <= letter <= "\u0dff"):  # the vowel signs of Indian scripts are no letters
        return ""
    code = ord(letter)
    return next((script for first, last, script in _RANGES if first <= code <= last), "")
