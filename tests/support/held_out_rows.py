"""Rows that a run held out, in its folder as a run keeps them."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

from slmstudio.core.data.record import Record
from slmstudio.core.run.rows import disk_rows, run_rows


def hold_out(run: Path, rows: Iterable[Record]) -> None:
    (run / run_rows.FOLDER).mkdir()
    run_rows.file_of(run / run_rows.FOLDER, run_rows.EVALUATION).write_bytes(
        gzip.compress(b"".join(map(disk_rows.dump, rows))))


def asked(question: str, answer: str, system: str = "", line: int = 1) -> Record:
    """A row with one question."""
    before = ({"role": "system", "content": system},) if system else ()
    return Record((*before, {"role": "user", "content": question}, {"role": "assistant", "content": answer}), line)
