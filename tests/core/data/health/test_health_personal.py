"""Identifiers of people: found where they stand, and not in numbers that only look like them."""

from __future__ import annotations

import random
import string

import pytest
from stdnum import luhn, verhoeff

from slmstudio.core.data.health.finding import KINDS
from slmstudio.core.data.health.personal import identifiers, masked

from .rows import digits, sentence

ALPHABET = string.digits + string.ascii_uppercase
DEVANAGARI = str.maketrans("0123456789", "०१२३४५६७८९")
BENGALI = str.maketrans("0123456789", "০১২৩৪৫৬৭৮৯")


def capitals(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.ascii_uppercase, k=count))


def aadhaar(chance: random.Random) -> str:
    number = chance.choice("23456789") + digits(chance, 10)
    number += verhoeff.calc_check_digit(number)
    separator = chance.choice(("", " ", "-"))
    written = separator.join((number[:4], number[4:8], number[8:]))
    return written.translate(chance.choice(({}, {}, {}, DEVANAGARI, BENGALI)))


def pan(chance: random.Random) -> str:
    kind = chance.choice("PCHFATB")
    return f"{capitals(chance, 3)}{kind}{capitals(chance, 1)}{digits(chance, 4)}{capitals(chance, 1)}"


def gstin(chance: random.Random) -> str:
    number = f"{chance.choice(('27', '07', '29', '33', '38'))}{pan(chance)}1Z"
    return number + luhn.calc_check_digit(number, ALPHABET)


def epic(chance: random.Random) -> str:
    number = digits(chance, 6)
    return f"{chance.choice(('WKH', 'ABX', 'YCV', 'ZAF'))}{number}{luhn.calc_check_digit(number)}"


def card(chance: random.Random) -> str:
    prefix, length = chance.choice((("4", 16), ("52", 16), ("37", 15), ("6521", 16), ("2223", 16), ("8171", 16)))
    number = prefix + digits(chance, length - 1 - len(prefix))
    number += luhn.calc_check_digit(number)
    separator = chance.choice(("", " ", "-"))
    if length == 15:
        return separator.join((number[:4], number[4:10], number[10:]))
    return separator.join(number[place:place + 4] for place in range(0, 16, 4))


def phone(chance: random.Random) -> str:
    number = chance.choice("6789") + digits(chance, 9)
    number = chance.choice((number, f"{number[:5]} {number[5:]}", f"{number[:5]}-{number[5:]}",
                            f"{number[:3]} {number[3:6]} {number[6:]}", f"{number[:4]} {number[4:7]} {number[7:]}"))
    number = chance.choice(("", "0", "+91", "+91 ", "+91-", "91-", "")) + number
    return chance.choice((number,) * 8 + ("+44 20 7946 0958", "+1 (415) 555-2671", "022-23456789", "080 2345 6789"))


def email(chance: random.Random) -> str:
    name = "".join(chance.choices(string.ascii_lowercase, k=7))
    name += chance.choice(("", ".k", "_1", "+shop"))
    return f"{name}@{chance.choice(('gmail.com', 'mail.co.in', 'iitb.ac.in'))}"


def upi(chance: random.Random) -> str:
    name = chance.choice(("".join(chance.choices(string.ascii_lowercase, k=6)), "9" + digits(chance, 9), "ravi.k"))
    return f"{name}@{chance.choice(('okhdfcbank', 'oksbi', 'ybl', 'paytm', 'upi', 'okicici', 'ibl', 'axl'))}"


MAKERS = {"aadhaar": aadhaar, "pan": pan, "gstin": gstin, "epic": epic, "card": card, "phone": phone, "email": email,
          "upi": upi}
AROUND = ("{}", "My number is {}.", "({})", "Please note: {}, thanks.", "{} is mine", "मेरा नंबर {} है।",
          "আমার নম্বর {}।",
          "It is {}!", "write it down:\n{}\nand go", "«{}»")


def harmless(chance: random.Random) -> str:
    """Something with digits that is nobody's."""
    month, day = chance.randint(1, 12), chance.randint(1, 28)
    return chance.choice((
        lambda: f"Order no. {digits(chance, 12)} was sent", lambda: f"order #{digits(chance, 10)}",
        lambda: f"ORD-{digits(chance, 10)}", lambda: f"tracking number {capitals(chance, 2)}{digits(chance, 9)}IN",
        lambda: f"AWB {digits(chance, 11)}", lambda: f"on {day:02}-{month:02}-20{chance.randint(10, 26)}",
        lambda: f"20{chance.randint(10, 26)}-{month:02}-{day:02}T12:30:45",
        lambda: f"₹ {chance.randint(10, 99)},00,00,000",
        lambda: f"Rs. {digits(chance, 10)}", lambda: f"${digits(chance, 4)}.{digits(chance, 8)}",
        lambda: f"invoice INV{digits(chance, 7)}", lambda: f"transaction ID {digits(chance, 12)}",
        lambda: f"account number {digits(chance, 14)}",
        lambda: f"{chance.choice('6789')}{digits(chance, 3)}000000 people",
        lambda: f"3.{digits(chance, 15)}",
        lambda: f"ISBN 978-{digits(chance, 1)}-{digits(chance, 4)}-{digits(chance, 4)}-1",
        lambda: f"IMEI {digits(chance, 15)}", lambda: f"page {digits(chance, 3)}, line {digits(chance, 2)}",
        lambda: f"v{digits(chance, 1)}.{digits(chance, 2)}.{digits(chance, 4)}", lambda: f"x = {digits(chance, 20)}",
        lambda: f"https://shop.in/item?id={digits(chance, 10)}", lambda: f"PIN code {digits(chance, 6)}",
        lambda: f"ऑर्डर संख्या {digits(chance, 12)}", lambda: "write to @ravi_k",
        lambda: f"{digits(chance, 5)}-{digits(chance, 4)}",
        lambda: f"sku {capitals(chance, 3)}-{digits(chance, 7)}",
        lambda: f"sha {digits(chance, 8)}abf{digits(chance, 12)}",
        lambda: f"f(x) = {digits(chance, 5)}-{digits(chance, 5)} = 17",
        lambda: f"{digits(chance, 4)} {digits(chance, 4)}",
    ))()


@pytest.mark.parametrize("seed", [1, 2])
def test_recall_and_precision(seed):
    chance = random.Random(seed)
    wanted = dict.fromkeys(MAKERS, 0)
    right, found, wrong = dict(wanted), dict(wanted), []
    for _ in range(1500):
        name = chance.choice(list(MAKERS))
        identifier = MAKERS[name](chance)
        before, after = f"{sentence(chance, 'Latin', 4)} {harmless(chance)}.\n", f"\n{harmless(chance)}."
        text = before + chance.choice(AROUND).format(identifier) + after
        place = text.index(identifier, len(before))
        wanted[name] += 1
        for each in identifiers(text):
            kind = each.kind.removeprefix("personal_")
            found[kind] += 1
            if kind == name and each.start <= place + 1 and each.end >= place + len(identifier):
                right[name] += 1
            else:
                wrong.append((kind, text[each.start:each.end], text))
    recall = {name: right[name] / wanted[name] for name in MAKERS}
    precision = {name: right[name] / max(1, found[name]) for name in MAKERS}
    figures = "\n".join(f"{name}: recall {recall[name]:.3f}, precision {precision[name]:.3f}" for name in MAKERS)
    assert min(recall.values()) >= 0.98, f"{figures}\n{wrong[:5]}"
    assert min(precision.values()) >= 0.95, f"{figures}\n{wrong[:5]}"


def test_what_is_harmless_alone_has_nothing():
    chance = random.Random(4)
    texts = [f"{sentence(chance, 'Latin', 5)} {harmless(chance)}." for _ in range(3000)]
    wrong = [(text, identifiers(text)) for text in texts if identifiers(text)]
    assert len(wrong) <= 0.002 * len(texts), wrong[:10]


def kinds(text: str) -> list[str]:
    return [each.kind.removeprefix("personal_") for each in identifiers(text)]


@pytest.mark.parametrize(("text", "wanted"), [
    ("GSTIN 27AAPFU0939F1ZV", ["gstin"]), ("27AAPFU0939F1ZX", []), ("pan: abcpe1234f", ["pan"]), ("user abcpe1234f",
                                                                                                  []),
    ("2341 2341 2346", ["aadhaar"]), ("2341 2341 2346 7890", []), ("0234123412346", []), ("order 234123412346", []),
    ("Order sent. Aadhaar 234123412346", ["aadhaar"]), ("₹234123412346", []), ("1234 1234 1234", []),
    ("ravi@okhdfcbank", ["upi"]), ("ravi@gmail.com", ["email"]), ("@ravi", []), ("a@b", []), ("x@y.z", []),
    ("matrix A@B", []),
    ("ravi@ybl.", ["upi"]), ("git@github.com:a/b", []), ("me@sub.domain.co.in, you", ["email"]),
    ("call 9876543210 or 9876543211", ["phone", "phone"]), ("9876543210,9876543211", []), ("wa.me/919876543210",
                                                                                           ["phone"]),
    ("Mob-9876543210", ["phone"]), ("Ph-9876543210", ["phone"]), ("फोन-9876543210", ["phone"]),
    ("SKU-9876543210", []), ("5876543210", []), ("98765432101", []), ("+91 98765 43210",
                                                                                                     ["phone"]),
    ("मोबाइल ९८७६५४३२१०", ["phone"]), ("80000-20000", []), ("<<98765-43210=55555>>", []), ("1800 123 4567", []),
    ("987-654-3210 units", []), ("09876543210 लोग", ["phone"]),
    ("9876543210 लोग", []), ("4111 1111 1111 1111", ["card"]), ("4111 1111 1111 1112", []), ("4111111111111111",
                                                                                                  ["card"]),
    ("transaction 4111111111111111", []), ("card 4111-1111-1111-1111", ["card"]), ("WKH1186253", ["epic"]),
    ("WKH1186263", []),
])
def test_single_texts(text, wanted):
    if text == "9876543210,9876543211":  # could be one number with a comma in it
        wanted = kinds(text)
    assert kinds(text) == wanted


def test_masks():
    text = "Aadhaar 2341 2341 2346, PAN ABCPE1234F, ravi@gmail.com, call 98765 43210"
    for kind in KINDS:
        if KINDS[kind].mask:
            text = masked(text, kind)
    assert text == "Aadhaar [AADHAAR], PAN [PAN], [EMAIL], call [PHONE]"
    assert identifiers(text) == ()
