"""The rows that a run split off its data and never learned, as a test file in the run's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.data import layouts, reader, split
from slmstudio.core.data.row_texts import cut
from slmstudio.core.data.rows import ColumnsMissing, RowError, read_row
from slmstudio.core.data.source import Source
from slmstudio.core.data.strict_json import NotJson, parse
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.run.config import RunConfig

OTHER_FILE = "Choose a test file, with questions and their answers."


def learned(records: Sequence[reader.Record], train_split: dict[str, Any] | None) -> list[reader.Record]:
    """The rows of a training file that a run learned: all, or those that its split left for training.

    Args:
        train_split: {"eval_fraction": share, "seed": n} of the request, or None.
    """
    if not train_split:
        return list(records)
    return split.split(records, train_split["eval_fraction"], train_split["seed"])[0]


def held_out_file(run: Path, config: RunConfig, cancelled: Callable[[], bool] | None = None) -> Path:
    """The test file of a run's held-out rows, in RUN/jobs; written the first time it is asked for.

    The rows are those that `worker.training.data.read_rows` evaluated, each with all its columns.

    Raises:
        UserError: the training file is gone, is another one now, is plain text, or nothing was split off.
        ReadingCancelled: `cancelled` said so.
    """
    known = (jobs.Job(run).request().get("hashes") or {}).get("train_file")
    if known and (path := _place(run, config, known)).is_file():
        return path
    source = Path(config.train_file)
    dataset = reader.read_dataset(source, cancelled=cancelled)
    if known and dataset.sha256 != known:
        raise UserError(f"{source.name} was changed since this run learned from it.",
                        "So the rows that were held out cannot be told from those that were learned.", OTHER_FILE)
    if layouts.kind(dataset.layout) == "text":
        raise UserError(f"{source.name} is plain text.", "It asks nothing, so there is nothing to answer.", OTHER_FILE)
    _, held_out = split.split(dataset.records, config.eval_fraction, config.split_seed)
    if not held_out:
        raise UserError("This run held no rows out.", f"It learned all rows of {source.name}.", OTHER_FILE)
    path = _place(run, config, dataset.sha256)
    try:
        files.write_atomically(path, b"".join(_rows(dataset, held_out, cancelled)))
    except OSError as error:
        raise from_os_error(error, "write the held-out rows") from error
    return path


def _place(run: Path, config: RunConfig, sha256: str) -> Path:
    """Its name says what it was made of: where it is there, it is the right one."""
    made_of = json.dumps([sha256, config.eval_fraction, config.split_seed])
    return run / "jobs" / f"held-out-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}.jsonl"


def _rows(dataset: reader.Dataset, held_out: list[reader.Record],
          cancelled: Callable[[], bool] | None) -> list[bytes]:
    """The held-out rows' JSON, one on a line, as the training file has them.

    The file is read once more, in the way in which `Dataset.records` was made of it: the n-th row of its kind is the
    n-th record.
    """
    wanted = {id(record) for record in held_out}
    kind = layouts.kind(dataset.layout)
    source = Source(dataset.path, cancelled=cancelled)
    records = iter(dataset.records)
    rows = []
    for piece in cut(source.chunks()):
        try:
            value = None if piece.trouble else parse(piece.text)
            if value is None or layouts.kind(read_row(value).layout) != kind:
                continue
        except (NotJson, RowError, ColumnsMissing):
            continue
        if id(next(records, None)) in wanted:
            # Read again without `parse`, for which every number is a float.
            rows.append(files.dump_line(json.loads(piece.text)))
    if len(rows) != len(held_out) or source.sha256 != dataset.sha256:
        raise UserError(f"{dataset.path.name} changed while it was read.", "Another program wrote to it.",
                        "Wait until that program is done, then try again.")
    return rows
