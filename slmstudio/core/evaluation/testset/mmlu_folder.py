"""A folder of multiple-choice tables by subject, as MMLU comes: data/{dev,val,test}/SUBJECT_{dev,val,test}.csv.

Hendrycks et al. 2021, https://arxiv.org/abs/2009.03300. Folders of one file a subject are read too.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from slmstudio.core import files, paths
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, ntr, tr

SPLITS = ("dev", "val", "test")
SUFFIXES = (".csv", ".tsv")
COLUMNS = ["question", "a", "b", "c", "d", "answer"]
"""As a file's first line may name them."""
LAYOUT = noop("Such a folder has test/anatomy_test.csv and dev/anatomy_dev.csv, each of question,A,B,C,D,answer.")
_NAMED = re.compile(rf"(.+)_({'|'.join(SPLITS)})")
DEEPEST = 3
"""Folders below the chosen one that are looked into."""


@dataclass(frozen=True)
class MmluFolder:
    """What a folder holds.

    Attributes:
        files: by subject and split ("dev", "val" or "test") the file. A file whose name says no split is "test".
        missing: what isn't there, each as a sentence: MMLU's subjects, where the folder has some of them, and subjects
            with a file of examples and none of questions.
        incomplete: those of `missing` without which the folder can't be used.
    """

    path: Path
    files: dict[str, dict[str, Path]]
    missing: tuple[str, ...]
    incomplete: tuple[str, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(sorted(subject for subject, files in self.files.items() if "test" in files))

    def sentence(self) -> str:
        """All that is missing, for people; empty if nothing is."""
        return " ".join(self.missing)


@lru_cache(maxsize=1)
def categories() -> dict[str, str]:
    """MMLU's 57 subjects, each with its category as in categories.py of https://github.com/hendrycks/test."""
    by_category = json.loads((paths.resources() / "benchmarks" / "mmlu_subjects.json").read_text(encoding="utf-8"))
    return {subject: category for category, subjects in by_category.items() for subject in subjects}


def find_mmlu(folder: Path | str) -> MmluFolder:
    """Look which subjects a folder has, without reading the files.

    Raises:
        UserError: it isn't a folder, or has no such file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(tr("{folder} isn't a folder.", folder=folder),
                        tr("A benchmark is a folder with a file for each subject."), tr(LAYOUT))
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(path for suffix in SUFFIXES for path in folder.rglob(f"*{suffix}") if path.is_file()):
        inside = path.relative_to(folder).parts
        if len(inside) > DEEPEST or any(name.startswith(".") for name in inside):
            continue  # macOS makes "._anatomy.csv"
        named = _NAMED.fullmatch(path.stem)
        subject, split = (named[1], named[2]) if named else (
            path.stem, next((name for name in inside[-2:-1] if name in SPLITS), "test"))
        found.setdefault(subject, {}).setdefault(split, path)
    if not found:
        raise UserError(tr("{folder} contains no table for any subject.", folder=folder.name),
                        tr("There is no .csv file in it."), tr(LAYOUT))
    known = categories()
    absent = sorted(known.keys() - found.keys())
    missing = [ntr("{n} of MMLU's {known} subjects is missing in {folder}: {absent}.",
                   "{n} of MMLU's {known} subjects are missing in {folder}: {absent}.", len(absent), known=len(known),
                   folder=folder.name, absent=", ".join(absent))] if 0 < len(absent) < len(known) else []
    asked, shown = ({subject for subject, files in found.items() if split in files} for split in ("test", "dev"))
    incomplete = []
    if len(asked) < len(found):
        incomplete.append(tr("There are no questions (a test file) for: {subjects}.",
                             subjects=", ".join(sorted(found.keys() - asked))))
    if shown and asked - shown:
        incomplete.append(tr("There are no examples (a dev file) for: {subjects}.",
                             subjects=", ".join(sorted(asked - shown))))
    return MmluFolder(folder, found, (*missing, *incomplete), tuple(incomplete))


def rows_in(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells of each row of a table, without the names of the columns.

    Raises:
        OSError, UnicodeDecodeError, csv.Error: it can't be read.
    """
    with open(path, encoding="utf-8-sig", newline="", opener=files.regular) as file:
        table = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        is_first = True
        for cells in filter(None, table):
            if not is_first or [cell.strip().lower() for cell in cells] != COLUMNS:
                yield table.line_num, cells
            is_first = False


def examples(folder: MmluFolder) -> dict[str, int]:
    """How many few-shot examples each subject has that has questions: the rows of its dev file.

    A file that can't be read is left out; reading the questions names it.
    """
    found = {}
    for subject in folder.subjects:
        path = folder.files[subject].get("dev")
        try:
            found[subject] = sum(1 for _ in rows_in(path)) if path else 0
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
    return found
