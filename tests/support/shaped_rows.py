"""Rows as published datasets have them."""

from __future__ import annotations

import json

from slmstudio.core.data.reader import read_dataset

Q, A, B = "महाराष्ट्र की राजधानी क्या है?", "मुंबई", "पुणे"
ASK, GOOD, BAD = (
    {"role": "user", "content": Q},
    {"role": "assistant", "content": A},
    {"role": "assistant", "content": B},
)


def read(folder, *rows, name="rows.jsonl"):
    path = folder / name
    text = (
        json.dumps(rows[0] if name.endswith(".json") and len(rows) == 1 else rows, ensure_ascii=False)
        if (name.endswith(".json"))
        else "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    )
    path.write_text(text, encoding="utf-8")
    found = read_dataset(path)
    assert found.problems == []
    return found
