"""Texts that a tokenizer must give back as they are, in ten scripts, and others that have brought tokenizers down."""

from __future__ import annotations

from slmstudio.core.i18n import noop

PLAIN = "The answer is 42. Ask again, please: which office (open 9-5) helps?"
"""Every tokenizer must keep this; a difference in capital letters or white space is forgiven."""
LINES = "if ready:\n    print(1)\n\n\tdone"
SCRIPTS = {
    noop("Latin"): "Où est l'église? Größe, niño, žluťoučký kůň.",
    noop("Devanagari"): "जन्म प्रमाण पत्र कितने दिन में मिलता है? क्षत्रिय, १२३।",
    noop("Bengali"): "জন্ম সনদ কত দিনে পাওয়া যায়? ক্ষমা করবেন।",
    noop("Tamil"): "பிறப்புச் சான்றிதழ் எத்தனை நாட்களில் கிடைக்கும்?",
    noop("Telugu"): "జనన ధృవీకరణ పత్రం ఎన్ని రోజుల్లో వస్తుంది?",
    noop("Gujarati"): "જન્મનું પ્રમાણપત્ર કેટલા દિવસમાં મળે છે?",
    noop("Arabic"): "پیدائش کا سرٹیفکیٹ کتنے دن میں ملتا ہے؟ مرحبا بكم.",
    noop("Chinese"): "出生证明需要几天才能拿到？",
    noop("Cyrillic"): "Сколько дней нужно, чтобы получить справку?",
    noop("Emoji"): "Thanks 🙂 👍🏽 🇮🇳 👨‍👩‍👧",
}
LONG = tuple(text * (2_000 // len(text)) for text in ("a", " ", "0", "!", "\n", "ab ", "aA1 .", "क", "字", "\u200d"))
"""A regular expression that tries every way to cut a text takes forever on one of these."""
CHAT = ({"role": "user", "content": "Where is the office?"},
        {"role": "assistant", "content": "It is near the station."},
        {"role": "user", "content": "When does it open?"}, {"role": "assistant", "content": "It opens at nine."})
