"""Loops are found soon, in any script; what repeats by right is none."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from slmstudio.core.chat.sampling import ends_in_loop

LOOPS = {
    "one word": "the " * 150,
    "a sentence": "The form is at the office. " * 20,
    "a sentence that is cut": "I see. " + ("The form is at window four of the ward office. " * 12)[:-17],
    "a paragraph": ("First fill in the form with your name and address. Then take it to the ward office before noon, "
                    "and ask for a receipt.\n\n") * 4,
    "Hindi": "आपका आवेदन स्वीकार कर लिया गया है। " * 6,
    "Tamil": "உங்கள் விண்ணப்பம் ஏற்றுக்கொள்ளப்பட்டது. " * 6,
    "Hindi, without spaces": "हाहा" * 60,
    "a list that counts": "".join(f"{number}. Use a variety of colours.\n" for number in range(1, 30)),
    "two items that take turns": "".join(f"{n}. {'The name' if n % 2 else 'The address'} of the customer.\n"
                                         for n in range(1, 40)),
    "turns of a template": "### Instruction:\nWhat is it?\n\n### Response:\nIt is a form.\n\n" * 10,
    "cells of a table without end": "| form | office |\n" * 100,
    "a ruler without end": "-" * 2000,
    "a function without end": "def f(x):\n    return [x]\n\n\n" * 70,
}

VERSE = "Twinkle, twinkle, little star,\nHow I wonder what you are!\n"
BHAJAN = "रघुपति राघव राजा राम, पतित पावन सीता राम।\n"
RIGHT = {
    "nothing": "",
    "a table with a wide ruler": "| name |" + " a |" * 40 + "\n|" + " --- |" * 41 + "\n",
    "a table of equal rows": "| form | window |\n| --- | --- |\n" + "| RC-1 | 4 |\n" * 30,
    "a table of numbers": "".join(f"| {n} | {n * 7 % 31} | 0.0 | 0.0 | 0.0 |\n" for n in range(90)),
    "CSV": "".join(f"2026-01-{n:02},Pune,clear,{20 + n % 9}\n" for n in range(1, 32)),
    "a matrix": "[\n" + "    [None, None, None, None, None, None, None, None],\n" * 8 + "]",
    "a board": "board = [\n" + "    [0, 0, 0, 0, 0, 0, 0, 0, 0],\n" * 9 + "]",
    "a field of dots": ". . . . . . . . . . . . . . . .\n" * 16,
    "empty cells": "<tr>" + "<td></td>" * 30 + "</tr>",
    "layers": "model = Sequential(\n" + "    Linear(512, 512), ReLU(), Dropout(0.1),\n" * 6 + ")",
    "a separator": "Title\n" + "=" * 120 + "\n" + "-" * 120,
    "a form to fill in": "Name: " + "_" * 80 + "\nDate: " + "_" * 80 + "\n",
    "a song with its chorus": (VERSE + "Up above the world so high,\n") * 3,
    "a chorus, thrice": "Row, row, row your boat, gently down the stream.\n" * 3,
    "a bhajan": BHAJAN * 3 + "ईश्वर अल्लाह तेरो नाम, सब को सन्मति दे भगवान।\n" + BHAJAN * 3,
    "laughter": "ha " * 20,
    "a list": "".join(f"{n}. Form {n} is at window {n % 9}.\n" for n in range(1, 60)),
    "a list in Hindi": "".join(f"{n}. फ़ॉर्म {n} खिड़की {n % 9} पर मिलता है।\n" for n in range(1, 60)),
    "days": "".join(f"Day {n}: Rest and recover.\n" for n in range(1, 40)),
    "a count": ", ".join(map(str, range(1, 300))),
    "numbers of a list": "".join(f"{n}.\n" for n in range(1, 300)),
    "a multiplication table": "".join(f"7 × {n} = {7 * n}\n" for n in range(1, 60)),
    "JSON": json.dumps([{"id": n, "value": n * 3, "ok": True} for n in range(40)], indent=2),
    "Python": "".join(f"    parser.add_argument('--{name}', type=int, default=0)\n" for name in "abcdefghijklmnopqrst"),
    "permutations": "\n".join(" ".join(each) for each in itertools.permutations(("one", "two", "three", "four"))),
    "a binary number": format(random.Random(1).getrandbits(1500), "b"),
    "spaces": " " * 400,
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_found_and_what_comes_before_it_is_none(name):
    text = "Here is how to apply for a ration card in Pune.\n" + LOOPS[name]
    assert ends_in_loop(text)
    assert not any(ends_in_loop(text[:end]) for end in range(0, 200, 7))
    assert not ends_in_loop(text + " That is all, thank you.")


@pytest.mark.parametrize("name", RIGHT)
def test_what_repeats_by_right_is_no_loop_at_any_length(name):
    text = RIGHT[name]
    assert not any(ends_in_loop(text[:end]) for end in range(0, len(text) + 1, 5))
    assert not ends_in_loop(text)
