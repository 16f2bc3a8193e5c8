"""What a file, an archive or a folder with rows holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from slmstudio.core.data.candidates import Candidate
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.record import Record
from slmstudio.core.errors import Problem


@dataclass
class Dataset:
    """What a file, a folder or an archive holds.

    Attributes:
        path: it.
        layout: "instruction", "messages", or "mixed" where it has rows of both; "preference", "labelled" or "text".
        encoding: of a text, as in `sources.encodings`; "" of other files.
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
    layout: str
    encoding: str
    records: list[Record] = field(repr=False)
    problems: list[Problem]
    sha256: str
    bytes: int
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
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem
