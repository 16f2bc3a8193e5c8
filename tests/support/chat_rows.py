"""Rows of conversations, and reading them from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slmstudio.core.data.reader import Dataset, read_dataset


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write(folder: Path, content: bytes, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read(folder: Path, rows: Any, name: str = "rows.jsonl") -> Dataset:
    """Read rows as a file holds them: one a line, or all as one JSON value where its name ends in ".json"."""
    path = folder / name
    path.write_text(json.dumps(rows, ensure_ascii=False) if name.endswith(".json") else "".join(
        json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return read_dataset(path)
