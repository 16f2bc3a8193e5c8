"""Rows as published datasets have them."""

from __future__ import annotations

from support import chat_rows

Q, A, B = "महाराष्ट्र की राजधानी क्या है?", "मुंबई", "पुणे"
ASK, GOOD, BAD = (
    {"role": "user", "content": Q},
    {"role": "assistant", "content": A},
    {"role": "assistant", "content": B},
)


def read(folder, *rows, name="rows.jsonl"):
    found = chat_rows.read(folder, rows[0] if name.endswith(".json") and len(rows) == 1 else rows, name)
    assert found.problems == []
    return found
