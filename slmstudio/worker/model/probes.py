"""Texts that tell two tokenizers apart, and the comparison itself."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence

from slmstudio.core import paths

MOST_ADDED = 64
PROBES: tuple[str, ...] = (
    "Hello world", "  two spaces first", "trailing spaces  ", "a  b   c    d",
    "tabs\t\tand\n\nlines\r\n\n\n end", "I'll, WE'RE, she's, don't, y'all'd've", "2024-11-24 07:05",
    "1 12 123 1234 12345 1234567890", "3.14159, 1,00,000 and 1e-9", "₹1,500.50 + 18% GST",
    "price: $12.50, 3rd, ½ ² Ⅷ ①", "x = {'a': [1, 2, 3]}; // C++", "def f(x):\n    return x**2\n",
    "<b>html</b> &amp; [link](http://example.org/?q=1)", "e-mail: someone@example.org",
    "CamelCase snake_case kebab-case", "ALL CAPS and MiXeD", "naïve café Straße Øre İstanbul", "e\u0301 and é",
    "non\u00a0breaking\u2009thin", "zero\u200bwidth", "“quotes” ‘single’ — dash… •", "🚀 👩‍👩‍👧 🇮🇳 👍🏽",
    "\u095b\u093f\u0928\u094d\u0926\u0917\u0940, \u095c and \u0921\u093c",
    "नमस्ते दुनिया", "आप कैसे हैं? मैं ठीक हूँ।", "पासपोर्ट के लिए ₹1500 शुल्क है",
    "क्षत्रिय, ज्ञान, श्री, ड़, ढ़, ॐ", "१२३ ४५६७ और 123 4567", "मेरा order 4521 अभी तक नहीं आया, please check",
    "हिन्दी में 3 दिन  लगेंगे", "जन्म तिथि: 01/02/1990", "सड़क क्र. १२, पुणे ४११०३८",
    "मराठी: तुम्ही कसे आहात?",
    "বাংলা ভাষা ১২৩", "தமிழ் மொழி 100", "తెలుగు భాష", "ಕನ್ನಡ ನುಡಿ", "മലയാളം ഭാഷ", "ગુજરાતી ૧૨૩", "ਪੰਜਾਬੀ",
    "ଓଡ଼ିଆ", "اردو زبان ۱۲۳", "中文字符，日本語テスト", "Привет, мир! 42", "العربية", "한국어", "ไทย", "Ελληνικά",
    "עברית",
    "A1B2C3 AB12 12AB", "......!!!!!!??????", "------======", "\n", " ", "a",
    "The quick brown fox jumps over the lazy dog 13 times; then, it rested.",
    "कृपया 24 घंटे में reply दें। धन्यवाद!", "Aadhaar 1234 5678 9012, PAN ABCDE1234F",
    "C:\\Users\\name\\file.txt /usr/bin", "\\n is not a newline", "SELECT * FROM t WHERE id=7;",
)
"""Digits in rows, spaces in rows, several scripts, combining marks and emoji: where pre-tokenizers differ."""


def differing(texts: Sequence[str], one: Callable[[str], list[int]], other: Callable[[str], list[int]]) -> list[str]:
    """The texts that `one` and `other` turn into different token ids."""
    return [text for text in texts if one(text) != other(text)]


@functools.cache
def strings() -> tuple[str, ...]:
    """The fixed texts of resources/parity/strings.jsonl: more than a thousand, of many scripts, all different."""
    with open(paths.resources() / "parity" / "strings.jsonl", encoding="utf-8") as file:
        return tuple(json.loads(line) for line in file)


def around(tokens: Sequence[str]) -> list[str]:
    """Texts with tokens that were added to a vocabulary: alone, inside words, beside spaces, and one behind another."""
    step = max(1, -(-len(tokens) // MOST_ADDED))
    found = []
    for number, token in enumerate(tokens[::step]):
        following = tokens[(number * step + 1) % len(tokens)]
        found += [token, f"a{token}b", f"one {token} two", f"\n{token}\n", f"नमस्ते{token}दुनिया",
                  f"{token}{following}", f"{token} {following}.", f"{token[:-1]} {token.upper()}"]
    return found
