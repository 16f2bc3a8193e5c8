"""What a number is, judging by the words before it."""

from __future__ import annotations

import re
from collections.abc import Iterator

REACH = 48
"""Characters before a number in which a word says what it is."""
WORDS = {
    "phone": r"phone|mobile|\bmob\b|\btel\b|telephone|\bcall(?:ed|ing)?\b|whats ?app|\bsms\b|contact|\bdial\b|\bring\b"
             r"|helpline|wa\.me/|\bcell\b|फ़?ोन|फोन|फ़ोन|मोबाइल|मोबाईल|संपर्क|सम्पर्क|कॉल|व्हाट्सएप|ফোন|মোবাইল"
             r"|தொலைபேசி|மொபைல்"
             r"|కాల్|ఫోన్|మొబైల్|ફોન|ਫ਼?ੋਨ|ਫੋਨ|فون|موبائل|ഫോൺ|ಫೋನ್",
    "aadhaar": r"aadh?aar|adhaar|\buid(?:ai)?\b|आधार|আধার|ஆதார்|ఆధార్|આધાર|ಆಧಾರ್|ആധാർ|آدھار",
    "card": r"\bcards?\b|credit|debit|\bvisa\b|mastercard|rupay|\bamex\b|कार्ड",
    "epic": r"\bepic\b|voter|मतदाता|वोटर",
    "thing": r"\borders?\b|track|invoice|\bbill\b|\bawb\b|consignment|shipment|parcel|\bref(?:erence)?\b|\btxn\b"
             r"|transaction|\butr\b|\brrn\b|\baccount\b|\ba/c\b|\bacct\b|polic[yi]|receipt|ticket|\bpnr\b|serial"
             r"|\bmodel\b"
             r"|\bbatch\b|\bsku\b|\bisbn\b|\bbarcode\b|\bimei\b|\bloan\b|\bfolio\b|\bcomplaint\b|\bcase\b|docket"
             r"|\bamounts?\b|\btotal\b|\bprice\b|\bcosts?\b|\bpopulation\b|\bpaid\b|₹|\$|€|£|\brs\b|\binr\b|\busd\b"
             r"|\bproduct\b"
             r"|\bpart\b|application|registration|\broll\b|\bversion\b|timestamp|\bcode\b|customer id|\bid\b"
             r"|ऑर्डर|आर्डर|ट्रैकिंग|बिल|चालान|खाता|खाते|रसीद|टिकट|रुपये|राशि|कीमत|जनसंख्या|लेनदेन|অর্ডার|ஆர்டர்"
             r"|ఆర్డర్|ওঅর্ডার|آرڈر",
}
_ANY = re.compile("|".join(f"(?P<{role}>{words})" for role, words in WORDS.items()), re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?।;](?=\s)|\n")
_ABBREVIATION = re.compile(r"(?:\bno|\bnos|\bmob|\btel|\bph|\brs|\bref|\bnum|\bacct|नं|सं)\.$", re.IGNORECASE)


_GAPS = "[ \u00a0\u2010-\u2013().-]"
_NUMBER = re.compile(rf"[+(]{{0,2}}[0-9](?:{_GAPS}{{0,2}}[0-9]){{9,}}")


def in_numbers(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """What `pattern` finds where ten digits or more are near each other: much quicker than everywhere.

    The pattern must begin with a digit, a plus or a bracket, and look no further than 8 characters past the number.
    """
    for number in _NUMBER.finditer(text):
        yield from pattern.finditer(text, number.start(), min(len(text), number.end() + 8))


def role_before(text: str, start: int) -> str | None:
    """What the nearest word before text[start] in its sentence makes of a number: a key of `WORDS`, or None."""
    before = text[max(0, start - REACH):start]
    for end in reversed(list(_SENTENCE_END.finditer(before))):
        if not _ABBREVIATION.search(before[:end.end()]):
            before = before[end.end():]
            break
    role = None
    for found in _ANY.finditer(before):
        role = found.lastgroup
    return role
