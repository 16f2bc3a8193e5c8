"""What a run learned, and the rows that it never learned, as a test file in the run's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.data import layouts, split
from slmstudio.core.data.reader import Dataset, columns_of, read_as
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import noop, tr
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import disk_rows, run_rows, saving_rows
from slmstudio.core.run.rows.run_rows import EVALUATION

Cancelled = Callable[[], bool] | None
OTHER_FILE = noop("Choose a test file, with questions and their answers.")


def learned(records: Sequence[Record], train_split: dict[str, Any] | None) -> list[Record]:
    """The rows of a training file that a run without rows of its own learned: all, or those that its split left.

    Args:
        train_split: of the request, or None; with "groups", rows of one group stay together.
    """
    if not train_split:
        return list(records)
    by, rows = train_split.get("by", split.ROWS), records if train_split.get("groups") else _single(records)
    return split.split_evenly(rows, train_split["eval_fraction"], train_split["seed"], by)[0]


def _single(records: Iterable[Record]) -> list[Record]:
    """Rows as a run saw them that keeps none: those of one group weren't kept on one side then."""
    return [replace(record, group="") for record in records]


def learned_rows(request: Mapping[str, Any], cancelled: Cancelled = None) -> tuple[Sequence[Record], str]:
    """What the models of a request have learned, and the SHA-256 of the file that it came from.

    The run's own rows, where it keeps them; otherwise those of the file, as it is now.

    Raises:
        UserError: neither can be read.
        ReadingCancelled: `cancelled` said so.
    """
    run = request.get("train_run")
    if run and (Path(run) / jobs.RUN).is_file():
        kept = saving_rows.of_run(Path(run), RunConfig.from_dict(jobs.Job(Path(run)).request()), cancelled)
        if kept is not None:
            return kept.train, kept.source.sha256
    training = read_as(Path(str(request["train_file"])), request.get("train_map"), cancelled=cancelled)
    return learned(training.records, request.get("train_split")), training.sha256


def own_test_file(run: Path, config: RunConfig, cancelled: Cancelled = None) -> Path:
    """The file with the rows that a run was evaluated on: its own, as long as it is the same, else what was kept of it.

    Raises as `held_out_file`.
    """
    if not config.eval_file:
        return held_out_file(run, config, cancelled)
    file, manifest = Path(config.eval_file).absolute(), run_rows.read_manifest(run)
    known = manifest.sources.get("eval_file") if manifest is not None else None
    try:
        same = known is None or files.sha256_of(file) == known.sha256
    except OSError:
        same = False
    return file if same else held_out_file(run, config, cancelled)


def held_out_file(run: Path, config: RunConfig, cancelled: Cancelled = None) -> Path:
    """The test file of a run's held-out rows, in RUN/jobs; written the first time it is asked for.

    The rows are those that `worker.training.training_rows.read_rows` evaluated, each with all its columns.

    Raises:
        UserError: the rows are damaged, are plain text, or nothing was split off; of a run that keeps none: the
            training file is gone, or is another one now.
        ReadingCancelled: `cancelled` said so.
    """
    manifest = run_rows.read_manifest(run)
    if manifest is None:
        return _of_its_file(run, config, cancelled)
    side, name = manifest.sides[EVALUATION], manifest.sources.get("eval_file", manifest.sources["train_file"]).name
    _refuse(name, side.layout, side.rows)
    path = run / "jobs" / f"held-out-{side.sha256[:12]}.jsonl"
    if path.is_file():
        return path
    try:
        _write(path, map(disk_rows.as_json, run_rows.evaluation_rows(run)))
    except run_rows.DamagedRows:
        if config.eval_file:
            raise
        return _of_its_file(run, config, cancelled)
    return path


def _of_its_file(run: Path, config: RunConfig, cancelled: Cancelled) -> Path:
    """The same of a run that keeps no rows."""
    known = (jobs.Job(run).request().get("hashes") or {}).get("train_file")
    if known and (path := _place(run, config, known)).is_file():
        return path
    source = Path(config.train_file)
    dataset = read_as(source, config.train_map, cancelled=cancelled)
    if known and dataset.sha256 != known:
        raise UserError(tr("{file} has changed since this run was trained on it.", file=source.name),
                        tr("So the held-out rows can't be told apart from the training rows."),
                        tr(OTHER_FILE))
    held_out = split.held_out(_single(dataset.records), config.eval_fraction, config.split_seed, config.split_by)
    return write_held_out(_place(run, config, dataset.sha256), dataset, held_out, cancelled)


def write_held_out(path: Path, dataset: Dataset, held_out: Any, cancelled: Cancelled = None) -> Path:
    """Write the rows of a dataset that `split.held_out` marks, with all their columns. Raises as `held_out_file`."""
    _refuse(dataset.path.name, dataset.layout, int(held_out.sum()))
    rows = columns_of(dataset, held_out, cancelled)
    if rows is None:
        raise UserError(tr("{file} changed while it was being read.", file=dataset.path.name),
                        tr("Another program wrote to it."), tr("Wait until that program is done, then try again."))
    _write(path, map(disk_rows.as_json, rows))
    return path


def _refuse(name: str, layout: str, rows: int) -> None:
    """Raises UserError: no test can be made of such rows."""
    if layouts.kind(layout) == "text":
        raise UserError(tr("{file} is plain text.", file=name),
                        tr("It asks nothing, so there is nothing to answer."), tr(OTHER_FILE))
    if not rows:
        raise UserError(tr("No rows were held out in this run."), tr("It was trained on all rows of "
                                                                     "{file}.", file=name),
                        tr(OTHER_FILE))


def _write(path: Path, lines: Iterable[bytes]) -> None:
    with os_errors_as(tr("Could not write the held-out rows.")):
        files.write_atomically(path, b"".join(lines))


def _place(run: Path, config: RunConfig, sha256: str) -> Path:
    """Its name says what it was made from: if it exists, it is the right one."""
    by = [] if config.split_by == split.ROWS else [config.split_by]
    made_of = json.dumps([sha256, config.eval_fraction, config.split_seed, *by])
    return run / "jobs" / f"held-out-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}.jsonl"
