"""A folder of multiple-choice tables by subject, as MMLU comes: data/{dev,val,test}/SUBJECT_{dev,val,test}.csv.

Hendrycks et al. 2021, https://arxiv.org/abs/2009.03300. Folders of one file a subject are read too.
"""

from __future__ import annotations

import csv
import json
import re
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
    for path in _tables(folder):
        named = _NAMED.fullmatch(path.stem)
        inside = path.parent.name if path.parent != folder and path.parent.name in SPLITS else "test"
        subject, split = (named[1], named[2]) if named else (path.stem, inside)
        found.setdefault(subject, {}).setdefault(split, path)
    if not found:
        raise UserError(tr("{folder} contains no table for any subject.", folder=folder.name),
                        tr("There is no .csv file in it."), tr(LAYOUT))
    incomplete = _incomplete(found)
    return MmluFolder(folder, found, (*_absent(folder, found), *incomplete), incomplete)


def examples(folder: MmluFolder) -> dict[str, int]:
    """How many few-shot examples each subject has that has questions: the rows of its dev file.

    A file that can't be read is left out; reading the questions names it.
    """
    found = {}
    for subject in folder.subjects:
        path = folder.files[subject].get("dev")
        try:
            found[subject] = _count(path) if path else 0
        except (OSError, UnicodeDecodeError, csv.Error):
            continue
    return found


def _count(path: Path) -> int:
    with open(path, encoding="utf-8-sig", newline="", opener=files.regular) as file:
        rows = [cells for cells in csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",") if cells]
    return len(rows) - (bool(rows) and [cell.strip().lower() for cell in rows[0]] == COLUMNS)


def _tables(folder: Path) -> list[Path]:
    """Tables in the folder and below it; hidden ones (macOS makes "._anatomy.csv") are none."""
    found = [path for suffix in SUFFIXES for path in folder.rglob(f"*{suffix}") if path.is_file()]
    parts = [(path, path.relative_to(folder).parts) for path in found]
    return sorted(path for path, names in parts
                  if len(names) <= DEEPEST and not any(name.startswith(".") for name in names))


def _absent(folder: Path, found: dict[str, dict[str, Path]]) -> tuple[str, ...]:
    known = categories()
    absent = [subject for subject in sorted(known) if subject not in found]
    if not absent or len(absent) == len(known):
        return ()
    return (ntr("{n} of MMLU's {known} subjects is missing in {folder}: {absent}.",
                "{n} of MMLU's {known} subjects are missing in {folder}: {absent}.", len(absent), known=len(known),
                folder=folder.name, absent=", ".join(absent)),)


def _incomplete(found: dict[str, dict[str, Path]]) -> tuple[str, ...]:
    sentences = []
    without = sorted(subject for subject, files in found.items() if "test" not in files)
    if without:
        sentences.append(tr("There are no questions (a test file) for: {subjects}.", subjects=", ".join(without)))
    if any("dev" in files for files in found.values()):
        bare = sorted(subject for subject, files in found.items() if "test" in files and "dev" not in files)
        if bare:
            sentences.append(tr("There are no examples (a dev file) for: {subjects}.", subjects=", ".join(bare)))
    return tuple(sentences)
