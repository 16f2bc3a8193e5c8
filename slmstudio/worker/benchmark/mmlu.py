"""Folders in MMLU's layout: dev/SUBJECT_dev.csv and test/SUBJECT_test.csv of question,A,B,C,D,answer."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.evaluation.testset.mmlu_folder import COLUMNS, LAYOUT, find_mmlu
from slmstudio.core.i18n import ntr, tr

MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Subject:
    """
    Attributes:
        name: as in file names.
        test, dev: rows {"question", "choices", "answer", "subject"} as lm_eval's MMLU has them; few-shot examples are
            taken from dev.
    """

    name: str
    test: list[dict[str, Any]]
    dev: list[dict[str, Any]]


def read_mmlu(folder: Path, only: str | None = None) -> tuple[list[Subject], tuple[str, ...]]:
    """Read all subjects of a folder, or one.

    Returns:
        The subjects by name; and what must be said about them.

    Raises:
        UserError: with everything that is wrong.
    """
    found = find_mmlu(folder)
    files = {name: splits for name, splits in found.files.items() if only in (None, name)}
    if not files:
        raise UserError(tr("{folder} doesn't have {subject}.", folder=folder.name, subject=only), "", tr(LAYOUT))
    problems = [Problem(tr("The subject {subject} has no test file, only: {splits}.", subject=name,
                           splits=", ".join(splits)))
                for name, splits in sorted(files.items()) if "test" not in splits]
    with_dev = {name for name, splits in files.items() if "dev" in splits}
    if with_dev:
        problems += [Problem(tr("The subject {subject} has no dev file, unlike the others.", subject=name))
                     for name in sorted(files.keys() - with_dev)]
    subjects = []
    for name, splits in sorted(files.items()):
        rows = {split: _rows(path, name, problems) for split, path in splits.items() if split != "val"}
        subjects.append(Subject(name, rows.get("test", []), rows.get("dev", [])))
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise UserError(tr("The benchmark in {folder} is incomplete.", folder=folder.name),
                        ntr("And {n:,} more.", "And {n:,} more.", more) if more > 0 else "", tr(LAYOUT),
                        problems[:MOST_PROBLEMS])
    return subjects, () if only else found.missing


def has_subject(folder: Path, name: str) -> bool:
    try:
        return name in find_mmlu(folder).files
    except UserError:
        return False


def _rows(path: Path, subject: str, problems: list[Problem]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    where = f"{path.parent.name}/{path.name}"
    try:
        with open(path, encoding="utf-8-sig", newline="", opener=files.regular) as file:
            table = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            for cells in table:
                line = table.line_num
                if not cells or (not rows and [cell.strip().lower() for cell in cells] == COLUMNS):
                    continue
                wrong = _wrong(cells)
                if wrong:
                    problems.append(Problem(f"{where}: {wrong}", line=line))
                else:
                    rows.append({"question": cells[0], "choices": cells[1:5], "subject": subject,
                                 "answer": "ABCD".index(cells[5].strip())})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(Problem(tr("{file} can't be read: {reason}.", file=where, reason=error)))
        return rows
    if not rows:
        problems.append(Problem(tr("{file} has no questions.", file=where)))
    return rows


def _wrong(cells: list[str]) -> str:
    if len(cells) != len(COLUMNS):
        return ntr("{n} column where 6 are needed.", "{n} columns where 6 are needed.", len(cells))
    if cells[5].strip() not in ("A", "B", "C", "D"):
        return tr("the answer is {answer!r}, not A, B, C or D.", answer=cells[5].strip())
    if not cells[0].strip() or not any(cell.strip() for cell in cells[1:5]):
        return tr("the question or its choices are empty.")
    return ""
