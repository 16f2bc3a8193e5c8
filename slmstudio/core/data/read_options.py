"""How a file is read, as one line of text: which column holds what, which sheet, list or header, who speaks.

    instruction=Title + Body,output=Answer,sheet=2024,header=2
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

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
