"""What a file, an archive or a folder with rows holds; what to know of it, or why it can't be read yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from slmstudio.core.data.candidates import Candidate
from slmstudio.core.data.mapping.mapper import SAMPLE
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions, written
from slmstudio.core.data.record import Record
from slmstudio.core.data.rows import as_sentence
from slmstudio.core.data.source import CHOOSE
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, ntr, tr

EXAMPLE = '{"instruction": "What is the capital of Kerala?", "output": "Thiruvananthapuram."}'
AS_JSONL = noop("Write each row on a line of its own, like this: {example}")
AS_UTF8 = noop("Save it as text in UTF-8, and open it again.")
CORRECT = noop("Correct the rows, or choose another file.")
COLUMNS = noop("Say which columns hold the question and the answer.")
KRUTI_DEV = frozenset({"gS", "gSa", "dk", "dh", "ds", "esa", "ls", "dks", "vkSj", "ij", "ugha", "fd;k", "Hkh", "fy,"})
"""Frequent words of Hindi as Kruti Dev writes them: है, हैं, का, की, के, में, से, को, और, पर, नहीं, किया …"""


@dataclass
class Dataset:
    """What a file, a folder or an archive holds.

    Attributes:
        path: it.
        layout: "instruction", "messages", or "mixed" where it has rows of both; "preference", "labelled" or "text".
        encoding: of a text, as of `source.Encoding`; "" of other files.
        records: the usable rows, in the file's order.
        problems: everything that is wrong with the other rows, by line. The column of a UTF-8 fault counts bytes.
        sha256: of the file's bytes, in hexadecimal; of a folder, over its files.
        bytes: size of the file.
        unused: names of the columns that usable rows have beside the ones read ("id", "messages.weight"), sorted;
            unused_words: those of them that hold words.
        format: as in `opening.Part.format`; "folder" or "zip" of several files of more than one format.
        mapping: the column that each target was read from, as in `mapping.look.TARGETS`.
        columns: names of the columns, of a table in its order.
        notes: sentences on how the file was understood, where that isn't plain.
        rows_left_out: how many rows can't be used.
        count: usable rows, also where `records` weren't kept.
        text_by, sheets: how a text was cut; the sheet that was read, and the workbook's others.
        options, given: what a user said about the file, and of its columns.
        assumed: whether the encoding was guessed.
        examples: the first value of each column, as one line of text.
        candidates: the ways in which it may be read, the surest first, which is the one that was read; where the user
            has said how, that alone.
    """

    path: Path
    layout: str = ""
    encoding: str = ""
    records: list[Record] = field(default_factory=list, repr=False)
    problems: list[Problem] = field(default_factory=list)
    sha256: str = ""
    bytes: int = 0
    unused: tuple[str, ...] = ()
    unused_words: tuple[str, ...] = ()
    format: str = "jsonl"
    mapping: dict[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rows_left_out: int = 0
    count: int = 0
    text_by: str = ""
    sheets: tuple[str, ...] = ()
    options: ReadOptions = NO_OPTIONS
    given: dict[str, str] = field(default_factory=dict)
    assumed: bool = False
    examples: dict[str, str] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()

    @property
    def is_sure(self) -> bool:
        """Whether it needn't be asked how the file is read."""
        return not self.candidates or self.candidates[0].is_sure

    @property
    def line(self) -> str | None:
        """What a user has said about it, as `read_options.written` has it."""
        return written(self.given, self.options)

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


# -- why it can't be read yet --------------------------------------------------------------------------------


class HasCandidates(UserError):
    """A user must say how a file is to be read.

    Attributes:
        path: the file.
        candidates: the ways in which it may be read, the likeliest first; none where nothing is known.
        option: the words of a command that say it, where "{line}" stands for `Candidate.line`; None if it has none.
    """

    path = Path()
    candidates: tuple[Candidate, ...] = ()
    option: tuple[str, str] | None = ("--map", "{line}")


class NoUsableRow(HasCandidates):
    """There are rows, and none of them can be used: a user must say what the columns hold, or fix the file."""


def not_sure(path: Path, candidates: tuple[Candidate, ...]) -> HasCandidates:
    """Asks how a file is to be read that can be read in several ways."""
    error = HasCandidates(tr("It isn't clear how {name} should be read.", name=path.name), "",
                          tr("Choose one of these ways, or another one."))
    error.path, error.candidates = path, candidates
    return error


def nothing_usable(found: Dataset, rows: int) -> UserError:
    """What to say of a file without a usable row.

    Args:
        found: with what is known of it.
        rows: how many there are.
    """
    name, problems = found.path.name, found.problems
    if found.bytes == 0:
        return UserError(tr("{name} is empty.", name=name), tr("It has 0 bytes."), tr(CHOOSE))
    if not rows and found.columns:
        named = ", ".join(f"“{column}”" for column in found.columns[:12])
        return UserError(tr("{name} contains no rows below its column names.", name=name),
                         tr("Its only row is read as the names of the columns: {names}.", names=named),
                         tr("If it has no column names, say so: {option}.", option="--map header=none"))
    if not rows:
        return UserError(tr("{name} contains no rows.", name=name),
                         tr("It contains only spaces or an empty list."), tr(CHOOSE))
    what = (tr("{name} has no row that can be used.", name=name) if found.is_sure else
            tr("It isn't clear how {name} should be read.", name=name))
    error = NoUsableRow(what, _why(found, rows), _remedy(found), problems)
    if not found.is_sure:
        error.path, error.candidates = found.path, found.candidates
    return error


def _why(found: Dataset, rows: int) -> str:
    problems = found.problems
    if not problems:
        return ntr("Its {n:,} row holds nothing that could be learned.",
                   "Its {n:,} rows hold nothing that could be learned.", rows)
    first = str(problems[0])
    if len(problems) == 1:
        return as_sentence(first if found.is_sure else problems[0].message)
    return ntr("There is {n:,} problem: {first}", "There are {n:,} problems; the first: {first}", len(problems),
               first=first)


def _remedy(found: Dataset) -> str:
    if not found.is_sure:
        return tr(COLUMNS)
    if found.format in ("text", "markdown"):
        return tr(AS_UTF8) if any(problem.column is not None for problem in found.problems) else tr(CORRECT)
    return tr(AS_JSONL, example=EXAMPLE) if found.format in ("jsonl", "json") else tr(CORRECT)


def texts_of(found: Dataset) -> Iterator[str]:
    """Those of its first records."""
    for record in islice(found.records, SAMPLE):
        yield from (record.text or "", *(str(message["content"]) for message in record.messages))


def legacy_font(texts: Iterable[str]) -> str:
    """A sentence on Hindi that was typed for a font from before Unicode; "" of anything else."""
    words = [word for text in texts for word in text.split()]
    of_hindi = Counter(word for word in words if word in KRUTI_DEV)
    if len(of_hindi) < 4 or 20 * of_hindi.total() < len(words):
        return ""
    return tr("This looks like Hindi typed for the font Kruti Dev: its letters are Latin ones that only this font "
              "shows as Devanagari, and a model would learn those. Convert it to Unicode first.")
