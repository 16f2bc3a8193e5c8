"""Why a file can't be read yet: nothing in it can be used, or it doesn't say how."""

from __future__ import annotations

from pathlib import Path

from slmstudio.core.data.candidates import Candidate
from slmstudio.core.data.dataset import Dataset
from slmstudio.core.data.rows import as_sentence
from slmstudio.core.data.source import CHOOSE
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, ntr, tr

EXAMPLE = '{"instruction": "What is the capital of Kerala?", "output": "Thiruvananthapuram."}'
AS_JSONL = noop("Write each row on a line of its own, like this: {example}")
AS_UTF8 = noop("Save it as text in UTF-8, and open it again.")
CORRECT = noop("Correct the rows, or choose another file.")
COLUMNS = noop("Say which columns hold the question and the answer.")


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


class NotSure(HasCandidates):
    """The file can be read in several ways, and it doesn't say which one is meant."""


def not_sure(path: Path, candidates: tuple[Candidate, ...]) -> NotSure:
    """Asks how a file is to be read."""
    error = NotSure(tr("It isn't clear how {name} should be read.", name=path.name), "",
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
