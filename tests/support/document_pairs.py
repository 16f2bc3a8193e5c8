"""A project of questions and answers from documents, as its worker leaves it on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.documents import passages, project
from slmstudio.core.documents.passages import Block
from slmstudio.core.documents.project import MADE, FileRead, Project, Settings

ASKED = (
    ("आवेदन तहसील कार्यालय में अथवा पोर्टल पर किया जाएगा।", "fact", "आय प्रमाण पत्र के लिए आवेदन कहाँ करें?",
     "तहसील कार्यालय में या पोर्टल पर।"),
    ("आवेदन के साथ आधार कार्ड, वेतन पर्ची अथवा स्व-घोषणा (प्रपत्र 7), तथा विगत वर्ष का राशन कार्ड संलग्न करें।", "how_to",
     "आय प्रमाण पत्र के लिए कौन से दस्तावेज़ चाहिए?", "आधार कार्ड, वेतन पर्ची या स्व-घोषणा (प्रपत्र 7), और राशन कार्ड।"),
    ("प्रमाण पत्र 7 कार्य दिवसों में जारी किया जाएगा।", "condition", "प्रमाण पत्र कितने दिन में मिलता है?", "15 दिन में।"),
)
"""Of each section: a sentence, and the kind, the question and the answer that are made of it. The last is wrong."""
DOUBTS: tuple[tuple[str, ...], ...] = ((), (), ("number_missing",))


def make(documents: int = 2, sections: int = 3, finished: int | None = None, held_out: float = 0.0,
         teacher: Path | None = None) -> Project:
    """A project in whose documents each section is a passage with three pairs, the third of which is left out.

    Args:
        finished: passages whose pairs are made; None for all.
        teacher: a GGUF file.
    """
    made = project.create([Path("/circulars-2024")], Settings((), {
        "name": "Qwen2.5 7B Q4_K_M", "kind": "gguf", "place": str(teacher or "")}, held_out=held_out))
    names = [f"Circular {number}-2024.pdf" for number in range(1, documents + 1)]
    found = [passage for number, name in enumerate(names, 1) for passage in passages.cut(name, number, (
        Block(f"{section}.{at} {text}", (name.removesuffix(".pdf"), f"{section}. आय प्रमाण पत्र"), section)
        for section in range(1, sections + 1) for at, (text, *_) in enumerate(ASKED, 1)), 350)]
    made.write_passages(found, [FileRead(name, f"/circulars-2024/{name}", sections) for name in names])
    add(made, [each.id for each in found[:finished]])
    return project.open(made.folder)


def add(to: Project, keys: Sequence[str], doubts: Sequence[str] = ()) -> None:
    """The worker has finished these passages.

    Args:
        doubts: about every pair; by default each has its own.
    """
    for key in keys:
        pairs: list[dict[str, Any]] = [
            {"kind": kind, "language": "hi", "question": question, "answer": answer, "quotation": text,
             "doubts": doubts or own} for (text, kind, question, answer), own in zip(ASKED, DOUBTS, strict=True)]
        files.append_line(to.folder / MADE, {"passage": key, "pairs": pairs})
