"""Reads a test set: every usable row, and everything that is wrong with the others."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from re import compile as pattern

from slmstudio.core import files, paths
from slmstudio.core.data import column_names, read_options
from slmstudio.core.data.candidates import Candidate, ranked, why
from slmstudio.core.data.collector import gathered
from slmstudio.core.data.languages import LATIN
from slmstudio.core.data.mapping.choices import Counting
from slmstudio.core.data.opening import DataFile, all_rows, first_rows
from slmstudio.core.data.read_options import NO_OPTIONS
from slmstudio.core.data.rows import RowError
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.strict_json import printable
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.evaluation.testset.item import TestItem, TestSet
from slmstudio.core.evaluation.testset.rows import Draft, TestMapper
from slmstudio.core.i18n import noop, ntr, tr

# -- A folder of multiple-choice tables by subject, as MMLU comes: data/{dev,val,test}/SUBJECT_{dev,val,test}.csv.
# Hendrycks et al. 2021, https://arxiv.org/abs/2009.03300. Folders of one file a subject are read too.

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


__all__ = ["ReadingCancelled", "TestItem", "TestSet", "read_test_set"]

IN_JSON = '{"question": "What is the capital of Kerala?", "answer": "Thiruvananthapuram."}'
REMEDY = noop("A row looks like this, on one line: {example}")
CHOOSE = noop("Choose a file with questions and their answers: JSONL, JSON, CSV, Excel or Parquet.")
TEXTS = ("text", "markdown", "pdf", "docx")
NUMBERS_SHARE = 0.9
"""A file of which this many free answers are bare numbers is one of numbers."""
NAMED = 8
_MARK = pattern(r".*(id|idx|_no|_number|_type|_name)")
"""Names of columns that tell rows apart, and are neither asked nor answered."""
_NUMBER = pattern(r"[-+−]?\d[\d,]*([.٫]\d+)?")


def read_test_set(path: str | Path, progress: Callable[[int, int], None] | None = None,
                  cancelled: Callable[[], bool] | None = None, said: str | None = None) -> TestSet:
    """Read test rows from any file of rows that `core.data.opening` opens. What a row is, is found by its columns:

    - multiple choice: "choices" (a list, {"A": text, ...}, or ARC's {"text": [], "label": []}) or columns "A", "B",
      "C" ...; "answer" names the right one by its letter, its index from 0 (or from 1, where the
      file shows that), or its text. A table without column names may have MMLU's: question, A, B, C, D, answer;
    - a pattern: "pattern" or "regex", found anywhere in an answer;
    - several references: "references" or "answers", a list; or a list as "answer";
    - exact: "exact" or "expected", which an answer must equal;
    - a number: an answer that ends with "#### 42"; or a file whose answers are numbers, nearly all;
    - free: question and answer, in every shape that `core.data.mapping` reads.

    "kind" may say it instead. "system", "context", "category" (or "subject") and "language" may be beside it. Columns
    may be named in other languages (`column_names`). What was made of nothing is told in the notes. Without a column
    the language is guessed by the script.

    Args:
        progress: called with (bytes read, bytes in all) about every MB.
        cancelled: asked about every MB; True ends the reading.
        said: what a user says about the columns and the sheet, as `read_options.parse` reads it; beside the targets of
            training there are those of `rows.TARGETS`.

    Raises:
        UserError: nothing can be used: no such file, no permission, empty, binary, damaged, changed while it
            was read, or no usable row (then with the problems of all rows); or `said` names no column.
        ReadingCancelled: `cancelled` said so.
    """
    wanted, told = read_options.parse(said)
    file = DataFile(Path(path), told, progress, cancelled, wanted.values())
    rows = _collect(file, wanted)
    if rows is None:
        raise UserError(tr("{file} doesn't fit in memory.", file=file.path.name),
                        tr("It has {bytes:,} bytes.", bytes=file.size),
                        tr("Close other programs, or split the file."))
    items = rows.items()
    problems = sorted(rows.problems, key=lambda problem: problem.line or 0)
    if not items:
        raise _nothing_usable(file, gathered(problems, 1))
    return TestSet(file.path, items, problems, file.sha256, Counter(item.kind for item in items),
                   tuple(dict.fromkeys(rows.notes)), tuple(sorted(rows.unused)), ranked(rows.candidates))


def doubt(found: TestSet) -> Problem | None:
    """What must be asked before a test set is used, with the two likeliest answers; None if it is sure or was said."""
    if found.is_sure:
        return None
    reasons = why(found.candidates[0])
    lines = [f'"{each.line}"' for each in found.candidates[:2] if each.line]
    choose = (tr("Write {first} or {second} under Columns, or after --map in the terminal.", first=lines[0],
                 second=lines[1]) if len(lines) > 1 else
              tr("Write {first} or other columns under Columns, or after --map in the terminal.", first=lines[0])
              if lines else tr(CHOOSE))
    unclear = tr("it isn't clear what the columns of {file} contain.", file=found.path.name)
    return Problem(" ".join(filter(None, (unclear, reasons, choose))), field="test")


class _Rows:
    """The rows of a file; some things are only known from all of them together."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.unused: set[str] = set()
        self.candidates: list[Candidate] = []
        self._drafts: list[tuple[Draft, int]] = []
        self._sentences: dict[str, str] = {}

    def add(self, mapper: TestMapper, raw: Raw) -> None:
        if raw.problem is not None:
            self.problems.append(raw.problem)
            return
        try:
            self._drafts += [(draft, raw.line) for draft in mapper.read(raw.value)]
        except RowError as error:
            for key, sentence in error.findings:
                self._complain(sentence, raw.line, key)

    def items(self) -> list[TestItem]:
        counting = Counting((draft.choice, line) for draft, line in self._drafts if draft.choice)
        free = [draft.item for draft, _ in self._drafts if draft.item["kind"] == "free" and not draft.has_kind]
        if sum(all(map(_is_number, item["references"])) for item in free) >= NUMBERS_SHARE * len(free):
            for item in free:
                item["kind"] = "number"
        guessed = [draft.item for draft, _ in self._drafts if draft.item["language_guessed"]]
        latin = Counter(item["language"] for item in guessed)
        # Most rows in Latin letters have English's little words: then those without are English too.
        for item in guessed if latin["en"] > 2 * latin[LATIN] else ():
            item["language"] = "en" if item["language"] == LATIN else item["language"]
        items: list[TestItem] = []
        for (item, choice, _), line in self._drafts:
            answer = counting.answer(choice) if choice else None
            if isinstance(answer, str):
                self._complain(answer, line, "answer")
                continue
            if choice and answer is not None:
                item["references"] = (choice.choices[answer],)
            items.append(TestItem(len(items), line, answer=answer, **item))
        self.notes += [*counting.notes(), *_unused_note(self.unused)]
        return items

    def _complain(self, sentence: str, line: int, key: str) -> None:
        # 100,000 rows with one mistake share one sentence.
        self.problems.append(Problem(self._sentences.setdefault(sentence, sentence), line, field=key or None))


def _collect(file: DataFile, wanted: dict[str, str]) -> _Rows | None:
    """The file's rows, or None if memory ran out; they are let go then, which an error's traceback would prevent."""
    rows = _Rows()
    try:
        for part in file.parts():
            sample = [raw.value for raw in first_rows(part)]
            if part.format in TEXTS and sample:
                raise UserError(tr("{file} is plain text.", file=file.path.name),
                                tr("A test set needs questions with their answers."), tr(CHOOSE))
            mapper = TestMapper(sample, wanted)
            for raw in all_rows(part):
                rows.add(mapper, raw)
            rows.notes += [*part.notes, *mapper.notes()]
            rows.unused |= mapper.unused
            rows.candidates += mapper.candidates(file.options, part.certainty)
            if not wanted and file.options == NO_OPTIONS:
                rows.candidates += part.others
    except MemoryError:
        return None
    return rows


def _is_number(text: str) -> bool:
    """Whether a text is nothing but a number, in the digits of any script, perhaps with a currency or % sign."""
    bare = "".join(c for c in text.strip() if unicodedata.category(c) != "Sc" and c not in "%").strip()
    return _NUMBER.fullmatch(bare) is not None


def _unused_note(unused: set[str]) -> list[str]:
    """A sentence on the columns that nothing was made of, apart from those of numbers, links and the like."""
    found = [f'"{printable(name)}"' for name in sorted(unused) if (known := column_names.column(name))
             not in column_names.BESIDE and not _MARK.fullmatch(known)]
    if not found:
        return []
    shown = ", ".join(found[:NAMED])
    if len(found) > NAMED:
        shown = ntr("{names} and {n:,} more", "{names} and {n:,} more", len(found) - NAMED, names=shown)
    return [ntr("This column isn't used: {columns}.", "These columns aren't used: {columns}.", len(found),
                columns=shown)]


def _nothing_usable(file: DataFile, problems: list[Problem]) -> UserError:
    name = file.path.name
    if file.size == 0 or not problems:
        return UserError(tr("The test set {file} is empty.", file=name),
                         tr("It has no rows.") if file.size else tr("It has 0 bytes."), tr(CHOOSE))
    first = str(problems[0])
    why = first[0].upper() + first[1:] if len(problems) == 1 else ntr(
        "There is {n:,} problem: {first}", "There are {n:,} problems; the first: {first}", len(problems), first=first)
    return UserError(tr("{file} has no row that can be used for a test.", file=name), why,
                     tr(REMEDY, example=IN_JSON), problems)
