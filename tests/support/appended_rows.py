"""Rows to append, and files to append them to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slmstudio.core.data.versions.appending import NewRow


def said(*texts: str, system: str = "") -> tuple[dict[str, str], ...]:
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return (*([{"role": "system", "content": system}] if system else []), *turns)


NEW = NewRow(said("राशन कार्ड?", "तहसील कार्यालय।"))
ROWS: dict[str, dict[str, Any]] = {
    "messages": {"messages": list(said("Hi", "Hello", system="Be kind."))},
    "instruction": {"instruction": "Hi", "output": "Hello"},
    "instruction and input": {"id": 3, "instruction": "Hi", "input": "", "output": "Hello"},
    "system": {"system": "Be kind.", "instruction": "Hi", "output": "Hello"},
    "question": {"question": "Hi", "answer": "Hello"},
    "prompt": {"prompt": "Hi", "completion": "Hello"},
    "prompt messages": {"prompt": list(said("Hi")), "completion": [{"role": "assistant", "content": "Hello"}]},
}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
