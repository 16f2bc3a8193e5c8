"""Datasets that were open before: where they are, and what was chosen for each, as how a file is to be read.

The settings keep them as plain objects. Those that are open come first, in the order of their list; behind them those
that were open once, the newest first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from slmstudio.core.data import split
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

# -- How a file is read, as one line of text: which column holds what, which sheet, list or header, who speaks.

CUTS = ("paragraph", "line", "document", "length", "question", "dialogue")
"""What each row of a text may be: a paragraph, a line, the whole file, about 4,000 characters, a question with its
answer, or a conversation whose lines begin with who speaks."""
JOIN = "\n\n"
_NEXT = re.compile(r",(?=[a-z_]+=)")
"""A comma between two of them; a column's name may contain others."""
_HEADER = re.compile(r"none|\d{1,3}(?:-\d{1,3})?")


@dataclass(frozen=True)
class ReadOptions:
    """What a user may choose for a file that it doesn't say itself; None leaves it to the program.

    Attributes:
        sheet: name of a workbook's sheet.
        text_by: how a text is cut into rows, one of `CUTS`.
        header: rows of a table that hold the names of its columns, "2" or "2-3", counted from 1 as the spreadsheet
            does; "none" if no row does.
        rows: where the rows of a JSON file are, as a JMESPath expression ("train", "data[].items[]").
        files: which files of a folder or an archive are read, as a pattern ("test*.csv").
        user, assistant: who asks and who answers, by the names in the file; several are separated by " + ".
        join: text between joined columns; `JOIN` if None. A new line is written as \\n.
        between: text before which a cell that holds both ends its question; None finds it ("A:", "Answer:" …).
        unanswered: "drop" leaves out a last message that nobody answers.
        marks: "ignore" learns rows whatever a mark such as "accepted" says about them.
    """

    sheet: str | None = None
    text_by: str | None = None
    header: str | None = None
    rows: str | None = None
    files: str | None = None
    user: str | None = None
    assistant: str | None = None
    join: str | None = None
    between: str | None = None
    unanswered: str | None = None
    marks: str | None = None

    @property
    def header_rows(self) -> range | None:
        """The numbers of the rows with names, from 1; empty for "none"; None if not chosen."""
        if self.header is None:
            return None
        first, _, last = self.header.partition("-")
        return range(0) if self.header == "none" else range(int(first), int(last or first) + 1)


NO_OPTIONS = ReadOptions()
NAMES = tuple(each.name for each in fields(ReadOptions))
_OF_COLUMNS = ("user", "assistant", "join", "between", "unanswered", "marks")
_ONE_OF = {"text_by": CUTS, "unanswered": ("drop",), "marks": ("ignore",)}


def parse(text: str | None) -> tuple[dict[str, str], ReadOptions]:
    """The column of each target, and the options.

    Raises:
        UserError: it can't be read.
    """
    found: dict[str, str] = {}
    for part in _NEXT.split(text) if text else ():
        target, equals, column = part.partition("=")
        if not equals or not target.strip() or not column:
            raise UserError(tr('"{part}" doesn\'t name a column.', part=part), tr("It needs a target and a column."),
                            tr("Write it like this: {example}.", example="instruction=Question,output=Answer"))
        found[target.strip()] = column
    options = {name: found.pop(name) for name in NAMES if name in found}
    _check(options)
    if "join" in options:
        options["join"] = options["join"].replace(r"\n", "\n")
    return found, ReadOptions(**options)


def _check(options: Mapping[str, str]) -> None:
    for name, value in options.items():
        words = _ONE_OF.get(name)
        if words is not None and value not in words:
            raise UserError(tr('"{option}" can\'t be "{value}".', option=name, value=value), "",
                            tr("Choose one of {ways}.", ways=", ".join(words)))
        if name == "header" and not _HEADER.fullmatch(value):
            raise UserError(tr('"{option}" can\'t be "{value}".', option=name, value=value), "",
                            tr("Write the number of the row with the column names, such as {example}.",
                               example="header=2, header=2-3, header=none"))


def of_columns(options: ReadOptions) -> ReadOptions:
    """Those of them that say how columns are read, which holds for other files with the same columns."""
    return replace(NO_OPTIONS, **{name: getattr(options, name) for name in _OF_COLUMNS})


def written(columns: Mapping[str, str], options: ReadOptions) -> str | None:
    """As text; None if nothing was chosen."""
    chosen = {**columns, **{name: getattr(options, name) for name in NAMES}}
    if options.join:
        chosen["join"] = options.join.replace("\n", r"\n")
    return ",".join(f"{target}={value}" for target, value in chosen.items() if value) or None


# -- What a user said about columns, kept for other files that have the same ones: {columns: said}, the newest
# first; `said` is a line as `read_options.written` makes it.

MOST_SHAPES = 50


def key(columns: Iterable[str]) -> str:
    """A set of columns as one text, whatever their order.

    >>> key(["b", "a"]) == key(("a", "b"))
    True
    """
    return "\n".join(sorted(columns))


def said_of(known: Mapping[str, str], columns: Iterable[str]) -> str:
    """What was said about a file with these columns; "" if nothing was."""
    return known.get(key(columns), "")


def with_said(known: Mapping[str, str], columns: Iterable[str], said: str) -> dict[str, str]:
    """`known` with this in front; without the columns where `said` is empty. The oldest beyond `MOST_SHAPES` are
    forgotten."""
    here = key(columns)
    rest = {each: text for each, text in known.items() if each != here}
    found = {here: said, **rest} if said and here else rest
    return dict(list(found.items())[:MOST_SHAPES])


def fits(said: str | None, columns: Collection[str]) -> bool:
    """Whether what was said about columns can be said about these, too: all that it names are there.

    >>> fits("instruction=A + B,output=C", ["C", "B", "A"]), fits("output=C,header=2", ["C"]), fits("text_by=line", [])
    (True, False, False)
    """
    named, options = parse(said)
    return bool(named) and options == NO_OPTIONS and all(
        column in columns or set(column.split(" + ")) <= set(columns) for column in named.values())


MOST = 20


@dataclass(frozen=True)
class Remembered:
    """One dataset.

    Attributes:
        eval_path: the file with its evaluation rows; None if they are split off.
        eval_said: as `said`, of that file.
        eval_fraction, split_seed, split_by: how they are split off; a share of None is the usual one.
        sha256: of the file when it was read last; "" if nobody has.
        open: whether it was on the list when the window was closed.
        shown: whether it was the one that is shown.
        used: whether it was the one to train on.
        said: what its columns hold, where a user said so, as `read_options.written` has it.
    """

    path: Path
    eval_path: Path | None = None
    eval_fraction: float | None = None
    split_seed: int = 0
    sha256: str = ""
    open: bool = False
    shown: bool = False
    used: bool = False
    said: str = ""
    eval_said: str = ""
    split_by: str = split.ROWS

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "path": str(self.path), "eval_path": str(self.eval_path) if self.eval_path else ""}


class Missing(UserError):
    """A remembered file isn't there.

    Attributes:
        whole_folder: whether its folder isn't there either, as with a disk that is unplugged.
    """

    def __init__(self, what: str, why: str, remedy: str, *, whole_folder: bool):
        super().__init__(what, why, remedy)
        self.whole_folder = whole_folder


def read_all(states: Iterable[Any]) -> list[Remembered]:
    """What the settings keep. An entry without a usable path is left out; another field that doesn't fit is
    ignored."""
    found: dict[Path, Remembered] = {}
    for state in states:
        path = state.get("path") if isinstance(state, dict) else None
        if isinstance(path, str) and Path(path).is_absolute() and Path(path) not in found:
            values = {name: state[name] for name, fits in _FITS.items() if name in state and fits(state[name])}
            if "eval_path" in values:
                values["eval_path"] = Path(values["eval_path"])
            found[Path(path)] = Remembered(Path(path), **values)
    return list(found.values())


_FITS: dict[str, Callable[[Any], bool]] = {
    "eval_path": lambda value: isinstance(value, str) and Path(value).is_absolute(),
    "eval_fraction": lambda value: type(value) in (int, float) and 0 <= value <= 0.5,
    "split_seed": lambda value: type(value) is int and 0 <= value < 2**31,
    "split_by": lambda value: value in split.BY,
    **dict.fromkeys(("sha256", "said", "eval_said"), lambda value: isinstance(value, str)),
    **dict.fromkeys(("open", "shown", "used"), lambda value: isinstance(value, bool)),
}
"""Whether a value may be that of a field."""


def with_open(known: Sequence[Remembered], now: Sequence[Remembered]) -> list[Remembered]:
    """`known`, where those of `now` are open and all others aren't. The oldest beyond `MOST` are forgotten."""
    paths = {each.path for each in now}
    closed = [replace(each, open=False, shown=False, used=False) for each in known if each.path not in paths]
    return [*now, *closed][:max(MOST, len(now))]


def with_written(known: Sequence[Remembered], path: Path) -> list[Remembered]:
    """`known` with a file that rows were written to: first among those that aren't open, unless it is open."""
    if any(each.path == path and each.open for each in known):
        return list(known)
    there = next((each for each in known if each.path == path), Remembered(path))
    opened = [each for each in known if each.open]
    return [*opened, there, *(each for each in known if not each.open and each.path != path)][:max(MOST, len(opened))]


def without(known: Sequence[Remembered], path: Path) -> list[Remembered]:
    return [each for each in known if each.path != path]


def trouble(path: Path) -> Missing | None:
    """Why a remembered file can't be opened now, or None. It asks the disk, so it belongs off the UI thread."""
    try:
        if path.exists():
            return None
        folder = path.parent.is_dir()
    except OSError:  # as without permission to look: reading it says so
        return None
    if folder:
        return Missing(tr("{name} is no longer in {folder}.", name=path.name, folder=path.parent),
                       tr("It was moved, renamed or deleted."),
                       tr("Open it from its new place, or remove it from the recent files."), whole_folder=False)
    return Missing(tr("{name} can't be reached.", name=path.name),
                   tr("Its folder {folder} is missing; the disk may be unplugged.", folder=path.parent),
                   tr("Plug it in, or remove the file from the recent files."), whole_folder=True)
