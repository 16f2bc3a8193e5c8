"""Benchmarks: their data, fetched once at the user's request and used offline from then on, and the answers to them.

    benchmarks/NAME.json                what a benchmark uses: {"protocol", "name", "tasks": {task: dataset's folder}}
    benchmarks/data/cais--mmlu--anatomy/
        test.parquet dev.parquet ...    a file a split
        source.json                     where it came from, and each file's size and SHA-256

Both are complete or absent: a dataset's folder is filled under another name and then renamed.

    JOB/benchmark-rows.jsonl            what each model chose, as rows like those of a test set: {"id", "subject",
                                        "question", "choices", "right": each right answer, "answers": {model: chosen},
                                        "scores": {model: 0 to 1}}, a line a question

Written whole when the benchmark ends, from the same samples as its scores.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, paths, program
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.evaluation.answer_rows import ITEMS, Row
from slmstudio.core.i18n import ntr, tr

SOURCE = "source.json"
DATA = "data"


@dataclass(frozen=True)
class DataSet:
    """One fetched dataset.

    Attributes:
        dataset, part: its name and that of its part ("configuration") on the hub; the part may be "".
        revision: the hub's commit, "" if the hub didn't say.
        splits: name of a split → its file.
        rows: of all splits. bytes: of all files.
    """

    folder: Path
    dataset: str
    part: str
    revision: str
    splits: dict[str, Path]
    rows: int
    bytes: int


@dataclass(frozen=True)
class Fetched:
    """A benchmark whose data is on this machine.

    Attributes:
        tasks: lm_eval's name of a task → its dataset.
    """

    name: str
    tasks: dict[str, DataSet]

    @property
    def data_sets(self) -> tuple[DataSet, ...]:
        return tuple({each.folder: each for each in self.tasks.values()}.values())

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.data_sets)

    def sentence(self) -> str:
        """Where the data came from: "cais/mmlu (anatomy) at 1a2b3c4d"."""
        named = [f"{each.dataset}{f' ({each.part})' if each.part else ''}"
                 f"{f' @{each.revision[:8]}' if each.revision else ''}" for each in self.data_sets]
        shown = ", ".join(named[:3])
        return ntr("{names} and {n:,} more", "{names} and {n:,} more", len(named) - 3,
                   names=shown) if len(named) > 3 else shown


def find(name: str) -> Fetched | None:
    """The benchmark, if its data was fetched: by itself, or as a part of another one, such as a subject of MMLU.

    Raises:
        UserError: it was, and is no longer complete.
    """
    record = _record(name)
    tasks = record["tasks"] if record else _as_a_part(name)
    if not tasks:
        return None
    return Fetched(name, {task: read_data_set(paths.benchmarks_dir() / DATA / folder) for task, folder in
                          sorted(tasks.items())})


def _record(name: str) -> dict[str, Any] | None:
    if not re.fullmatch(r"[\w.-]+", name):
        return None
    found = formats.read("benchmark", paths.benchmarks_dir() / f"{name}.json")
    return found if found is not None and isinstance(found.get("tasks"), dict) and found["tasks"] else None


def _as_a_part(name: str) -> dict[str, str]:
    place = paths.benchmarks_dir()
    for path in sorted(place.glob("*.json")) if place.is_dir() else ():
        try:
            record = _record(path.stem)
        except UserError:
            continue  # reported when that benchmark itself is asked for
        if record and name in record["tasks"]:
            return {name: record["tasks"][name]}
    return {}


def read_data_set(folder: Path, hashes: bool = False) -> DataSet:
    """
    Args:
        hashes: whether every byte is checked, not only the size.

    Raises:
        UserError: it is gone or no longer complete.
    """
    source = formats.read("data set", folder / SOURCE)
    if source is None:
        raise not_whole(folder, tr("Its folder is gone, or has no source.json."))
    splits = {}
    for split, about in source["splits"].items():
        path = folder / about["file"]
        if not path.is_file() or path.stat().st_size != about["bytes"]:
            raise not_whole(folder, tr("{file} was cut off, changed or deleted.", file=path.name))
        if hashes and files.sha256_of(path) != about["sha256"]:
            raise not_whole(folder, tr("The content of {file} isn't what was downloaded.", file=path.name))
        splits[split] = path
    about = source["splits"].values()
    return DataSet(folder, source["dataset"], source["part"], source["revision"], splits,
                   sum(each["rows"] for each in about), sum(each["bytes"] for each in about))


def is_whole(folder: Path) -> bool:
    """Whether a dataset is there with all its files, each of its original size.

    Raises:
        NewerFormat: a newer program fetched it.
    """
    try:
        read_data_set(folder)
    except formats.NewerFormat:
        raise
    except UserError:
        return False
    return True


def not_whole(folder: Path, why: str) -> UserError:
    return UserError(tr("The benchmark data in {folder} is no longer complete.", folder=folder), why,
                     tr("Delete that folder and download the benchmark again."))


def folder_of(dataset: str, part: str, options: Mapping[str, Any]) -> str:
    """Name of a dataset's folder; what a task needs in addition, such as certain files, has a folder of its own."""
    import hashlib
    import json

    name = "--".join(re.sub(r"[^\w.-]+", "-", each) for each in (*dataset.split("/"), part) if each)
    if not options:
        return name
    return f"{name}--{hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]}"


def write_source(folder: Path, dataset: str, part: str, revision: str, rows: Mapping[str, int],
                 licence: str = "") -> None:
    """Finish a folder that was filled with SPLIT.parquet files."""
    splits = {}
    for split, count in rows.items():
        path = folder / f"{split}.parquet"
        splits[split] = {"file": path.name, "rows": count, "bytes": path.stat().st_size,
                         "sha256": files.sha256_of(path)}
    files.write_atomically(folder / SOURCE, files.dump_pretty({
        **formats.stamp("data set"), "dataset": dataset, "part": part, "revision": revision, "licence": licence,
        "splits": splits}))


def write_record(name: str, tasks: Mapping[str, str]) -> None:
    """Record that all data of a benchmark is here."""
    files.write_atomically(paths.benchmarks_dir() / f"{name}.json", files.dump_pretty(
        {**formats.stamp("benchmark"), "name": name, "tasks": dict(tasks)}))


def missing(name: str) -> UserError:
    """For a benchmark without data: how to get it."""
    return UserError(tr("The data of {benchmark} isn't on this machine.", benchmark=name),
                     tr("It's downloaded once, when you ask for it, and used offline from then on. Its size isn't "
                        "known beforehand."),
                     tr("Download it: {command}. Or choose a folder that has it (--data).",
                        command=program.command("evaluate", "starter", "--benchmark", name, "--fetch")))


# -- The questions of a benchmark with what each model chose.

ROWS_FILE = "benchmark-rows.jsonl"
METRIC = "accuracy"


def shows_rows(folder: Path) -> bool:
    """Whether a job's rows are those of a benchmark; those of a test set come first, as its scores do."""
    return (folder / ROWS_FILE).is_file() and not (folder / ITEMS).is_file()


def read_rows(folder: Path, progress: Callable[[int, int], None] | None = None) -> list[Row]:
    """All questions, in the benchmark's order.

    Args:
        progress: called with (questions read, questions) now and then; what it raises ends the reading.

    Raises:
        UserError: there are none, or the file can't be read.
    """
    with os_errors_as(tr("Could not read the benchmark's answers.")):
        lines = list(files.LineReader(folder / ROWS_FILE).read())
    rows: list[Row] = []
    for done, line in enumerate(lines):
        if progress and done % 256 == 0:
            progress(done, len(lines))
        if (row := _row(line)) is not None:
            rows.append(row)
    if not rows:
        raise UserError(tr("{folder} has no answers to a benchmark.", folder=folder.name),
                        tr("They are written when a benchmark ends.") if not lines else
                        tr("{file} is damaged.", file=ROWS_FILE), tr("Run the benchmark again."))
    return rows


def _row(line: dict[str, Any]) -> Row | None:
    """None for a damaged line."""
    answers, scores = line.get("answers"), line.get("scores")
    if not isinstance(line.get("id"), int) or not isinstance(answers, dict) or not isinstance(scores, dict):
        return None
    right, subject = line.get("right"), line.get("subject")
    return Row(line["id"], None, "choice" if line.get("choices") else "free",
               [{"role": "user", "content": str(line.get("question") or "")}],
               [str(each) for each in right] if isinstance(right, list) else [],
               str(subject) if subject else None, None, False,
               {str(name): str(text) for name, text in answers.items()},
               {str(name): {METRIC: 100.0 * value} for name, value in scores.items()
                if isinstance(value, int | float) and not isinstance(value, bool)})
