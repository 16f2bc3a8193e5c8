"""The documents that the next question is about: a line each, with the size and whether it fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core.chat import conversation
from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import open_path
from slmstudio.gui.common.tasks import Task, run_task
from slmstudio.gui.common.widgets.areas import NoteBar, ScrolledIfNeeded
from slmstudio.gui.common.widgets.banner import report_error
from slmstudio.gui.common.widgets.buttons import IconButton
from slmstudio.gui.common.widgets.labels import show_text, text_label
from slmstudio.gui.common.widgets.layouts import clear, column_in, column_of, column_widget

LEAST_HEIGHT = 60
"""Pixels of the lines before they scroll where there is little room."""
QUOTED = 40
"""Characters that tell where a document is cut."""


class ChatDocuments(QWidget):
    """Above the editor while there are documents: `attached` has name and text of those that were read."""

    changed = Signal()
    """There are others now, one has been read, or their sizes are known."""

    def __init__(self) -> None:
        super().__init__()
        self.attached: list[dict[str, Any]] = []
        self._reading: dict[Path, Task] = {}
        self._sizes: list[dict[str, Any]] = []
        tip = tr("Add a document to the question: text, Markdown, PDF, Word or HTML. Files can be dropped here, too.")
        self.choose = IconButton("file", tip, name="add_document", clicked=self._choose)
        self._lines = column_of(spacing=theme.SPACE_XS)
        self.note = text_label("", "small", wrap=True, tone="warn", name="documents_note")
        page = column_widget(self._lines, self.note, spacing=theme.SPACE_XS)
        column_in(self, ScrolledIfNeeded(page, LEAST_HEIGHT))
        self.show_documents([])

    def _choose(self) -> None:
        kinds = tr("Documents (*.txt *.md *.pdf *.docx *.html *.htm);;All files (*)")
        open_path(self.choose, tr("Add a document"), lambda path: self.add([path]), kinds)

    def add(self, files: list[Path]) -> None:
        """Read these off the UI thread."""
        for path in [each for each in files if each not in self._reading]:
            self._reading[path] = run_task(self, lambda task, path=path: conversation.read_document(path),
                                           partial(self._read, path), partial(self._leave_out, path))
        self._change(self.attached)

    def _read(self, path: Path, found: tuple[dict[str, Any], str]) -> None:
        del self._reading[path]
        self._change([*self.attached, found[0]], found[1])

    def _leave_out(self, path: Path, error: Exception | None = None) -> None:
        """One that is being read, or can't be."""
        self._reading.pop(path).cancel()
        if error is not None:
            report_error(self, error)
        self._change(self.attached)

    def show_documents(self, attached: list[dict[str, Any]]) -> None:
        """Show those of a question that is asked in another way, or none."""
        while self._reading:
            self._reading.popitem()[1].cancel()
        self._change(attached)

    def set_sizes(self, sizes: list[dict[str, Any]]) -> None:
        """What the worker says of them, see "count" there; it may be about those that were here before."""
        of = [each["of"] for each in sizes]
        if sizes != self._sizes and of in ([], [len(each["text"]) for each in self.attached]):
            self._change(self.attached, self.note.text() if not self._sizes else "", sizes)

    def are_measured(self) -> bool:
        """Whether a question can be sent: all are read, and it is known what of them fits."""
        return not self._reading and len(self._sizes) == len(self.attached)

    def as_sent(self) -> list[dict[str, Any]]:
        """They, with as much of their text as fits, as `conversation.KEY` has them."""
        return [{"name": each["name"], "text": each["text"][:size["read"]], "tokens": size["tokens"],
                 "left_out": size["left_out"]} for each, size in zip(self.attached, self._sizes, strict=False)]

    def _change(self, attached: list[dict[str, Any]], note: str = "", sizes: Sequence[dict[str, Any]] = ()) -> None:
        self.attached, self._sizes = list(attached), list(sizes)
        clear(self._lines)
        texts = [conversation.size_text(each) for each in self.as_sent()] or [
            tr("{name} · {count:,} characters", name=each["name"], count=len(each["text"])) for each in attached]
        for place, (each, text) in enumerate(zip(self.attached, texts, strict=True)):
            self._add_line(text, each["name"], partial(self._change, self.attached[:place] + self.attached[place + 1:]))
        for path in self._reading:
            self._add_line(tr("Reading {name} …", name=path.name), path.name, partial(self._leave_out, path))
        cut = [_left_out_text(*each) for each in zip(self.attached, self._sizes, strict=False) if each[1]["left_out"]]
        show_text(self.note, "\n".join(filter(None, (*cut, note))))
        self.setVisible(bool(self.attached or self._reading))
        self.changed.emit()

    def _add_line(self, text: str, name: str, leave_out: Callable[[], None]) -> None:
        line = NoteBar("document", "plain", [IconButton("close", tr("Leave out {name}", name=name), name="leave_out",
                                                        clicked=lambda: leave_out())])
        line.say(text)
        self._lines.addWidget(line)


def _left_out_text(document: dict[str, Any], size: dict[str, Any]) -> str:
    """What of a document the model won't read, and what to do."""
    begin = " ".join(document["text"][size["read"]:size["read"] + 2 * QUOTED].split())[:QUOTED]
    return tr("{name} is {count:,} tokens too long for the context. The model won't see what comes from “{words}…” on. "
              "Choose a longer context to include it.", name=document["name"], count=size["left_out"], words=begin)
