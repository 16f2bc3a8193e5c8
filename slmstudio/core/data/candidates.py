"""The ways in which a file may be read, each with how sure it is and why, and what that is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, NamedTuple

from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions, written
from slmstudio.core.i18n import noop, tr

SURE = 0.75
"""Certainty from which a file is read without a question. Below it, the user is asked, with the best candidate filled
in."""
MOST = 6
"""Candidates that are offered."""


class Evidence(NamedTuple):
    """Why a file may be read in a way: a code and its figures, of which `sentence` makes the sentence.

    Attributes:
        code: one of `SENTENCES`.
        values: what the sentence names: columns, counts, shares.
    """

    code: str
    values: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Candidate:
    """One way to read a file.

    Attributes:
        name: what it is read as: "question_answer", "conversation", "preference", "labelled", "classes", "choices",
            "text", or the id of a published layout in resources/importing ("chatgpt").
        columns: the column, or the joined columns, of each target, as `read_options.parse` gives them.
        options: sheet, header, list, cut, speakers.
        certainty: 0 to 1.
        evidence: for and against it.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)
    options: ReadOptions = NO_OPTIONS
    certainty: float = 1.0
    evidence: tuple[Evidence, ...] = ()

    @property
    def line(self) -> str:
        """What chooses it by hand, as `--map` takes it; "" if there is nothing to say."""
        return written(self.columns, self.options) or ""

    @property
    def is_sure(self) -> bool:
        return self.certainty >= SURE


@dataclass
class Part:
    """One file with rows, and how they are read. What reads it fills it in; it may learn more while rows are read.

    Attributes:
        name: of the file within a folder or an archive; "" of a file that is opened alone.
        options: what a user has chosen, and then what was chosen for them, where others may be meant.
        named: columns that a user has named.
        format: "jsonl", "csv", "xlsx", "parquet", "text", "docx" …
        rows: them, once, each a `sources.row.Raw`; of JSONL, `blocks` of its lines instead, as of `quick_rows.blocks`.
        encoding, assumed: of a text, as of `Encoding`.
        columns: names of a table's columns, in its order.
        text_by: how a text was cut; otherwise "".
        sheets: of a workbook, the sheet that is read and then the others.
        notes: sentences on how the file was understood.
        certainty: how sure it is that these are the rows, 0 to 1.
        evidence: for and against that, of a file that isn't a table, or has several of them.
        others: other ways to read them.
    """

    name: str = ""
    options: ReadOptions = NO_OPTIONS
    named: tuple[str, ...] = ()
    format: str = ""
    rows: Iterator[Any] = field(default_factory=lambda: iter(()))
    blocks: Iterator[Any] | None = None
    encoding: str = ""
    assumed: bool = False
    columns: tuple[str, ...] = ()
    text_by: str = ""
    sheets: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    certainty: float = 1.0
    evidence: tuple[Evidence, ...] = ()
    others: list[Candidate] = field(default_factory=list)

    def choose(self, certainty: float, evidence: Iterable[Evidence] = (), others: Iterable[Candidate] = (),
               **options: str | None) -> None:
        """Some options were chosen for the user, and others may be meant."""
        self.certainty = min(self.certainty, certainty)
        self.evidence = (*self.evidence, *evidence)
        self.others += others
        self.options = replace(self.options, **options)


def ranked(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The surest first, none of them twice, at most `MOST`; of equally sure ones, the order stays."""
    best: dict[tuple[str, str], Candidate] = {}
    for each in candidates:
        known = best.get((each.name, each.line))
        if known is None or known.certainty < each.certainty:
            best[each.name, each.line] = each
    return tuple(sorted(best.values(), key=lambda each: -each.certainty)[:MOST])


SENTENCES = {
    "by_name": noop("“{column}” has a name that says what it contains."),
    "similar_name": noop("“{column}” has a name that resembles one that says what it contains."),
    "by_sentences": noop("“{column}” is one of the two columns with sentences."),
    "by_look": noop("“{column}” is one of the two columns with words."),
    "names_unclear": noop("The names of the columns don't say which has the questions and which the answers."),
    "only_words": noop("“{column}” is the only column with words that may be learned."),
    "speakers": noop("Questions come from “{user}”, answers from “{assistant}”."),
    "questions": noop("Questions with answers recur in the text."),
    "recurring": noop("Lines begin with {labels}, over and over."),
    "headings": noop("The text has {n:,} headings."),
    "not_prose": noop("Most of its lines aren't sentences."),
    "header_rows": noop("Row {row:,} looks like column names, too."),
    "words_only": noop("The first row has single words, as the others have."),
    "sheet_rows": noop("The sheet “{sheet}” has {n:,} rows."),
    "table_rows": noop("The table “{table}” has {n:,} rows."),
    "held_out": noop("{files} is held out for the evaluation."),
    "words_dropped": noop("“{column}” has words, too, and isn't used."),
    "mark_decides": noop("“{column}” decides which rows are learned, or which answers count as good ones."),
    "published": noop("Its layout is known: {layout}."),
    "answers": noop("“{person}” answers {messages:,} messages."),
    "misfits": noop("{n:,} of the first {rows:,} rows don't have as many cells as the table has columns, so cells of "
                    "other rows may be in the wrong columns."),
    "list_of_rows": noop("“{path}” is a list of {rows:,} rows."),
}
_OF_TWO = {
    "by_name": noop("“{first}” and “{second}” have names that say what they contain."),
    "similar_name": noop("“{first}” and “{second}” have names that resemble ones that say what they contain."),
    "by_sentences": noop("“{first}” and “{second}” are the two columns with sentences."),
    "by_look": noop("“{first}” and “{second}” are the two columns with words."),
}
"""What is said once of two columns."""
_CUTS = {
    "paragraph": noop("Paragraphs of text"), "line": noop("Lines of text"),
    "document": noop("The whole file as one text"),
    "length": noop("Text in pieces of about 4,000 characters"), "question": noop("Questions with their answers"),
    "dialogue": noop("Conversations"),
}
_CHOSEN = (("sheet", noop("Sheet “{sheet}”")), ("rows", noop("List “{rows}”")), ("files", noop("Files “{files}”")),
           ("header", noop("Column names in row {header}")))
"""Options that make a way of their own."""
_TABLE = noop("Table “{sheet}”")
"""What a sheet is called in a database."""
_PARTS = ("", "table", "list")
"""What a candidate is that says which rows are meant, and nothing of their columns."""
_NAMES = {
    "question_answer": (noop("Questions with their answers"),
                        noop("Question in “{instruction}”, answer in “{output}”")),
    "classes": (noop("Texts with their classes"), noop("Text in “{instruction}”, its class in “{output}”")),
    "choices": (noop("Questions with choices"),
                noop("Question in “{instruction}” with choices, answer in “{output}”")),
    "preference": (noop("Better and worse answers"), noop("Better answer in “{chosen}”, worse answer in “{rejected}”")),
    "labelled": (noop("Answers marked good or bad"), noop("Answer in “{completion}”, marked good or bad in “{label}”")),
    "conversation": (noop("Conversations"), noop("Conversations in “{messages}”")),
    "text": (noop("Plain text"), noop("Plain text in “{text}”")),
}
"""What each kind of candidate is called, without its columns and with them."""


def _listed(value: Any) -> Any:
    """Joined names as people list them: those of "Asha + Ravi" in “Asha”, “Ravi”."""
    return value.replace(" + ", "”, “") if isinstance(value, str) else value


def title(candidate: Candidate) -> str:
    """What a way to read a file is called: "Question in “प्रश्न”, answer in “उत्तर”", "Sheet “2024”"."""
    is_table = any(each.code == "table_rows" for each in candidate.evidence)
    chosen = [_chosen(option, _TABLE if is_table and option == "sheet" else called, value) for option, called in _CHOSEN
              if (value := getattr(candidate.options, option))]
    return " · ".join(filter(None, ("" if chosen and candidate.name in _PARTS else _reading(candidate), *chosen)))


def _chosen(option: str, called: str, value: str) -> str:
    if option == "header" and value == "none":
        return tr("No column names")
    first, _, last = value.partition("-")
    if option == "header" and last:
        return tr("Column names in rows {first} to {last}", first=first, last=last)
    return tr(called, **{option: value.removeprefix("[").removesuffix("][]")})  # of "[one, two][]", the names


def _reading(candidate: Candidate) -> str:
    """What its rows are read as."""
    options, columns = candidate.options, candidate.columns
    if options.user and options.assistant:
        return tr("Conversation between “{user}” and “{assistant}”", user=_listed(options.user),
                  assistant=_listed(options.assistant))
    if options.text_by and not columns:
        return tr(_CUTS[options.text_by])
    if candidate.name not in _NAMES:
        return tr("The layout “{name}”", name=candidate.name)
    plain, of_columns = _NAMES[candidate.name]
    has_all = columns.keys() >= set(re.findall(r"\{(\w+)\}", of_columns))
    return tr(of_columns, **columns) if has_all else tr(plain)


def why(candidate: Candidate) -> str:
    """The evidence for and against it, in sentences; "" without any."""
    found = []
    for code, several in groupby(candidate.evidence, key=lambda each: each.code):
        values = [{name: _listed(value) for name, value in each.values.items()} for each in several]
        if code in _OF_TWO and len(values) == 2:
            found.append(tr(_OF_TWO[code], first=values[0]["column"], second=values[1]["column"]))
        else:
            found += [tr(SENTENCES[code], **each) for each in values]
    return " ".join(found)
