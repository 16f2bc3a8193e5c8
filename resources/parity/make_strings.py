#!/usr/bin/env python3
"""Writes strings.jsonl, one JSON text a line: what a tokenizer has to cut as training did. No argument, same result.

    python make_strings.py

phrases.json holds sentences of our own in many scripts. Each is taken as it is, and changed in ways in which
tokenizers are known to differ; code, numbers, white space, emoji and marks come on top.
"""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
HIDDEN = ("Cf", "Zl", "Zp", "Co", "Cn")


def changed(phrase: str) -> list[str]:
    """A phrase in ways in which tokenizers differ."""
    words = phrase.split(" ")
    return [f" {phrase}", f"{phrase}\n", "  ".join(words), "".join(words), "\r\n".join(words),
            f"“{phrase}” ({words[0]})", f"{words[-1]}123{words[0]}", f"Please reply: {phrase} Thanks!",
            unicodedata.normalize("NFD", phrase), unicodedata.normalize("NFKC", phrase), phrase.upper(), phrase[::2],
            re.sub(r"(\w)(\w)", "\\1\u200d\\2", phrase, count=2), phrase.replace(" ", "\u00a0")]


def all_strings(known: dict[str, Any]) -> list[str]:
    groups = known["phrases"].values()
    found = [phrase for group in groups for phrase in group]
    found += [other for group in groups for number, phrase in enumerate(group)
              for other in changed(phrase)[number % 3::3]]
    for zero in known["zeros"]:  # of every script; the other digits follow it
        digits = "".join(chr(ord(zero) + digit) for digit in range(10))
        found += [digits, digits[1:3], f"a{digits[1:5]}b", f"{digits[1]},{digits[2:4]},{digits[4:7]}",
                  f"{digits[7:9]} 12 {digits[:3]}"]
    for kind in ("numbers", "code", "emoji", "marks", "look_alikes"):
        found += [form for text in known[kind] for form in (text, f"मेरा {text} है", f"x{text}y {text}")]
    for space in known["spaces"]:
        found += [space, f"a{space}b", f"{space}a", f"है{space}", f"1{space}{space}2 {space}."]
    for sign in known["currency"]:
        found += [f"{sign}1,500.50", f"99 {sign}", f"{sign}{sign}"]
    found += [form for mark, count in known["runs"] for form in (mark * count, f"so{mark * count} no")]
    found += known["mixed"]
    found += ["\n".join(group) for group in groups]
    return list(dict.fromkeys(text for text in found if text))


def line(text: str) -> str:
    """JSON in which everything is escaped that an editor hides or changes."""
    return "".join(json.dumps(char)[1:-1] if unicodedata.category(char) in HIDDEN or (char != " " and char.isspace())
                   else char for char in json.dumps(text, ensure_ascii=False))


if __name__ == "__main__":
    strings = all_strings(json.loads((HERE / "phrases.json").read_text(encoding="utf-8")))
    (HERE / "strings.jsonl").write_bytes("".join(line(text) + "\n" for text in strings).encode())
