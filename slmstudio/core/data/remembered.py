"""Datasets that were open before: where they are, and what was chosen for each.

The settings keep them as plain objects. Those that are open come first, in the order of their list; behind them those
that were open once, the newest first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slmstudio.core.data import read_options, split
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

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
    named, options = read_options.parse(said)
    return bool(named) and options == read_options.NO_OPTIONS and all(
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
