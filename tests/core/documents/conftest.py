"""A small project of two documents whose questions are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slmstudio.core import files
from slmstudio.core.documents import passages, project
from slmstudio.core.documents.passages import Block
from slmstudio.core.documents.project import MADE, FileRead, Project, Settings

SECTIONS = ("Fees", "Leave", "Travel", "Pension", "Housing")


@pytest.fixture
def made(studio_home: Path, tmp_path: Path) -> Callable[..., Project]:
    """Makes a project; the question of each passage is about its number."""

    def make(**settings: Any) -> Project:
        new = project.create([tmp_path / "circulars"], Settings((), **settings))
        found = [passage for number, name in enumerate(("a.pdf", "b.pdf"), 1)
                 for passage in passages.cut(name, number, (
                     Block(f"The {name} rule on {each} says that officer {at} pays {at}00 rupees.", (each,), at + 1)
                     for at, each in enumerate(SECTIONS)), 300)]
        new.write_passages(found, [FileRead("a.pdf", "/in/a.pdf", 5), FileRead("b.pdf", "/in/b.pdf", 5, ("Blank.",))])
        for each in found:
            add_pairs(new, each.id, [pair(f"Who pays by rule {each.id}?"), pair("How much?", ("needs_passage",))])
        return project.open(new.folder)

    return make


def pair(question: str, doubts: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"kind": "fact", "language": "en", "question": question, "answer": "An officer.",
            "quotation": f"the words of {question}", "doubts": doubts}


def add_pairs(to: Project, passage: str, pairs: list[dict[str, Any]]) -> None:
    files.append_line(to.folder / MADE, {"passage": passage, "pairs": pairs})
