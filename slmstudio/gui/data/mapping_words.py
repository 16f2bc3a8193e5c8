"""What the parts of a reading are called: layouts, targets, formats, and how a text is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slmstudio.core.i18n import tr

TEXTS = ("text", "markdown", "pdf", "docx")
"""Formats without columns."""
CUT = ("text", "markdown", "docx")
"""Those whose rows may be cut in another way."""
NESTED = ("history", "tools", "choices", "ranked")
"""Targets that are lists, so that tables hardly have them."""
RARE = (*NESTED, "winner", "score_chosen", "score_rejected", "cell")
"""Targets for which no column is asked where the file has none."""
_PARTNERS = ({"instruction", "prompt"}, {"output", "completion", "chosen"})
"""Targets of different layouts that hold the same."""


def layouts() -> dict[str, str]:
    """The layouts that may be chosen, and what they are called."""
    return {"instruction": tr("Questions and answers"), "messages": tr("Conversations"),
            "preference": tr("Better and worse answers"), "labelled": tr("Answers marked good or bad"),
            "text": tr("Plain text")}


def targets() -> dict[str, str]:
    """What columns may hold, and what that is called."""
    return {"instruction": tr("Question"), "prompt": tr("Question"), "input": tr("Context for the question"),
            "output": tr("Answer"), "completion": tr("Answer"), "chosen": tr("Better answer"),
            "rejected": tr("Worse answer"), "label": tr("Good or bad"), "winner": tr("Which one is better"),
            "score_chosen": tr("Score of the first answer"), "score_rejected": tr("Score of the second answer"),
            "ranked": tr("Ranked answers"), "choices": tr("Choices"), "cell": tr("Question and answer in one cell"),
            "messages": tr("Conversation"), "system": tr("System message"), "history": tr("Earlier turns"),
            "tools": tr("Tools"), "text": tr("Text")}


def joinable(target: str) -> bool:
    """Whether the texts of several columns may be joined for it."""
    return target in ("instruction", "prompt", "input", "output", "completion", "chosen", "rejected", "system", "text")


def options() -> dict[str, tuple[str, str]]:
    """What may be said about a file beside its columns, as the fields of `ReadOptions`: its name, and what it does."""
    return {"sheet": (tr("Sheet or table"), tr("The sheet of the workbook, or the table of the database, to read.")),
            "rows": (tr("List"), tr("The list in the file whose entries are the rows.")),
            "files": (tr("Files"), tr("Which files of the folder or the archive are read.")),
            "header": (tr("Column names"), tr("The row of the table with the names of the columns.")),
            "text_by": (tr("How the text is split"), tr("How much of the text becomes one row.")),
            "user": (tr("Who asks"), tr("Whose messages are the questions.")),
            "assistant": (tr("Who answers"), tr("Whose messages are the answers, which the model learns.")),
            "join": (tr("Between joined texts"), tr("What stands between the texts of columns that are joined.")),
            "between": (tr("Where the answer begins"),
                        tr("What stands between a question and its answer in one cell.")),
            "unanswered": (tr("A last message without an answer"),
                           tr("What becomes of a conversation that ends with a question.")),
            "marks": (tr("Rows marked as bad"), tr("Whether rows that somebody marked as not good are learned, too."))}


def choices(option: str, known: Sequence[str]) -> dict[str, str]:
    """The values of such an option, and what they are called; "" leaves it to the program.

    Args:
        known: values that the file has, such as its sheets.
    """
    found = {} if option == "sheet" else {"": tr("Found by the program")}
    fixed = {"header": {"none": tr("No row"), "1": tr("Row 1"), "2": tr("Row 2"), "3": tr("Row 3"),
                        "1-2": tr("Rows 1 and 2 together"), "2-3": tr("Rows 2 and 3 together")},
             "join": {"": tr("An empty line"), "\n": tr("A new line"), " ": tr("A space"), ", ": tr("A comma"),
                      " – ": tr("A dash")},
             "between": {each: each for each in ("A:", "Answer:", "उत्तर:", "|")},
             "unanswered": {"": tr("Leave the row out"), "drop": tr("Leave the message out")},
             "marks": {"": tr("Leave them out"), "ignore": tr("Learn them, too")}}
    named = cuts() if option == "text_by" else {**found, **fixed.get(option, {})}
    return {**named, **{each: each for each in known if each not in named}}


def cuts() -> dict[str, str]:
    """How a text may be cut into rows, as `read_options.CUTS`."""
    return {"paragraph": tr("One row per paragraph"), "line": tr("One row per line"),
            "document": tr("The whole file as one row"), "length": tr("Rows of about 4,000 characters"),
            "question": tr("One row per question with its answer"), "dialogue": tr("One row per conversation")}


def format_name(name: str) -> str:
    """A format, as people call it."""
    return {"jsonl": "JSONL", "json": "JSON", "csv": "CSV", "tsv": "TSV", "xlsx": "Excel", "xlsb": "Excel",
            "xls": "Excel", "ods": "OpenDocument", "parquet": "Parquet", "arrow": "Arrow", "sqlite": "SQLite",
            "text": tr("Text"), "markdown": "Markdown", "pdf": "PDF", "docx": "Word",
            "folder": tr("Folder"), "zip": "ZIP"}.get(name, name)


def sheet_name(sheets: Sequence[str], format_: str) -> str:
    """The sheet or the table that is read; "" of a file without them."""
    if not sheets:
        return ""
    return tr("table “{name}”", name=sheets[0]) if format_ == "sqlite" else tr("sheet “{name}”", name=sheets[0])


def layout_of(mapping: Mapping[str, str]) -> str:
    """The layout whose targets these are."""
    return next((layout for layout, mark in (
        ("preference", "chosen"), ("preference", "ranked"), ("labelled", "label"), ("messages", "messages"),
        ("text", "text")) if mark in mapping), "instruction")


def partner(target: str, mapping: Mapping[str, str]) -> str:
    """The column that another layout's mapping has for what `target` holds; "" if it has none."""
    alike = next((group for group in _PARTNERS if target in group), {target})
    return next((column for other, column in mapping.items() if other in alike), "")


def listed(names: Sequence[str]) -> str:
    """Names as people list them: "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return tr("{some} and {last}", some=", ".join(names[:-1]), last=names[-1])
