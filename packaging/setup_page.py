"""The widgets of the setup's window: the steps, the bar, the message, the log and the buttons."""

from __future__ import annotations

import os
import tkinter as tk
from collections.abc import Callable
from pathlib import Path
from tkinter import ttk
from typing import Any

import setup_marks
from setup_child import Progress, Step
from setup_language import tr
from setup_looks import Looks
from setup_texts import TEXTS

LOG_PIECE = 65_536  # bytes read at a time
NOTE_LETTERS, LINE_LETTERS, MESSAGE_LETTERS = 46, 84, 900
WIDTH = 620
Action = tuple[str, Callable[[], object]]
"""A button's text, and what it does."""


class Page:
    """Everything that is seen. It shows what it is told, and decides nothing.

    Args:
        amount: the sentence on how much is downloaded.
    """

    def __init__(self, root: tk.Tk, looks: Looks, amount: str):
        self.root, self.looks = root, looks
        self._rows: list[tuple[tk.Label, tk.Label, tk.Label]] = []
        self._turn = 0
        self._icons = _icons(root)
        self._marks = setup_marks.draw(root, looks.px(16), looks.colours)
        px, ground = looks.px, looks.colours["ground"]
        page = self._page = tk.Frame(root, background=ground, padx=px(20), pady=px(18))
        page.pack(fill="both", expand=True)
        self._make_head(amount)
        self._card = tk.Frame(page, background=looks.colours["card"], highlightthickness=1,
                              highlightbackground=looks.colours["line"], padx=px(14), pady=px(8))
        self._card.pack(fill="x", pady=(px(14), 0))
        self._card.columnconfigure(1, weight=1)
        self._trough = tk.Frame(page, background=looks.colours["line"], height=px(6), width=px(WIDTH))
        self._trough.pack(fill="x", pady=(px(14), px(6)))
        self._bar = tk.Frame(self._trough, background=looks.colours["accent"])
        self.line = self._label(page, "", "muted", small=True)
        self.message = self._label(page, "", wraplength=px(WIDTH - 28), padx=px(12), pady=px(9))
        self.log = LogBox(page, looks)
        self._foot = tk.Frame(page, background=ground)
        self._foot.pack(fill="x", side="bottom", pady=(px(14), 0))
        self.toggle, self.copy, self.main, self.second = (ttk.Button(self._foot, style=style) for style in (
            "TButton", "TButton", "Primary.TButton", "TButton"))
        for button in (self.toggle, self.copy):
            button.pack(side="left", padx=(0, px(8)))
        self.main.pack(side="right", padx=(px(8), 0))
        self.second.pack(side="right", padx=(px(8), 0))

    def show(self, progress: Progress, asking: bool) -> None:
        """Bring the steps, the bar and the message in step with what is known."""
        self._make_rows(len(progress.steps))
        for step, (mark, title, note) in zip(progress.steps, self._rows, strict=True):
            bold = step.state in ("working", "failed")
            _put(mark, image=self._marks[step.state][self._turn if step.state == "working" else 0])
            _put(title, text=tr(step.title), font=self.looks.strong if bold else self.looks.text,
                 foreground=self.looks.colours["faint" if step.state == "waiting" else "ink"])
            _put(note, text=_short(note_of(step), NOTE_LETTERS))
        self._bar.place(relheight=1, relwidth=1.0 if progress.state == "finished" else progress.share())
        _put(self.line, text=_short(_at_work(progress), LINE_LETTERS))
        if progress.state != "working":
            self.line.pack_forget()
        elif not self.line.winfo_manager():
            self.line.pack(anchor="w", after=self._trough)
        self._show_message(progress, asking)

    def show_buttons(self, main: Action | None, second: Action, enabled: bool = True) -> None:
        """Name the two buttons at the right; without a main action only the second is there."""
        if main is None:
            self.main.pack_forget()
        elif not self.main.winfo_manager():
            self.main.pack(side="right", padx=(self.looks.px(8), 0), before=self.second)
        for button, action in ((self.main, main), (self.second, second)):
            if action is not None:
                button.configure(text=action[0], command=action[1])
        self.second.state(["!disabled" if enabled else "disabled"])

    def turn(self, progress: Progress) -> None:
        """Turn the mark of the running step a little."""
        self._turn = (self._turn + 1) % setup_marks.TURNS
        for step, row in zip(progress.steps, self._rows, strict=False):
            if step.state == "working":
                row[0].configure(image=self._marks["working"][self._turn])

    def toggle_log(self) -> bool:
        """Show the log, or hide it. Returns whether it is shown now."""
        if self.log.frame.winfo_manager():
            self.log.frame.pack_forget()
            self.root.geometry("")
            return False
        self.log.frame.pack(fill="both", expand=True, pady=(self.looks.px(12), 0))
        return True

    def _make_head(self, amount: str) -> None:
        px, ground = self.looks.px, self.looks.colours["ground"]
        head = tk.Frame(self._page, background=ground)
        head.pack(fill="x")
        if self._icons:
            tk.Label(head, image=self._icons[self.looks.scale >= 1.5], background=ground).pack(
                side="left", anchor="n", padx=(0, px(14)))
        words = tk.Frame(head, background=ground)
        words.pack(side="left", fill="x", expand=True)
        title = self._label(words, TEXTS["title"])
        title.configure(font=self.looks.title)
        title.pack(anchor="w")
        for text in (TEXTS["intro"], amount):
            self._label(words, text, "muted", wraplength=px(WIDTH - 64)).pack(anchor="w", pady=(px(2), 0))

    def _make_rows(self, count: int) -> None:
        card, px = self.looks.colours["card"], self.looks.px
        for number in range(len(self._rows), count):
            row = (tk.Label(self._card, background=card), self._label(self._card, "", ground="card"),
                   self._label(self._card, "", "muted", "card", small=True))
            for column, label in enumerate(row):
                label.grid(row=number, column=column, sticky="e" if column == 2 else "w", pady=px(3),
                           padx=(0, px(10)) if column < 2 else 0)
            self._rows.append(row)
        for label in (label for row in self._rows[count:] for label in row):
            label.destroy()
        del self._rows[count:]

    def _show_message(self, progress: Progress, asking: bool) -> None:
        state, text = progress.state, progress.text
        if state == "finished":
            text = "\n".join([TEXTS["done"], *progress.remarks])
        elif state == "cancelled":
            text = TEXTS["cancelled"]
        elif state == "working":
            text = TEXTS["ask"] if asking else ""
        kind = {"failed": "bad", "finished": "ok"}.get(state, "warn")
        colours = self.looks.colours
        _put(self.message, text=_cut(text), background=colours[f"{kind}_ground"],
             foreground=colours["bad" if kind == "bad" else "ink"])
        if not text:
            self.message.pack_forget()
        elif not self.message.winfo_manager():
            self.message.pack(fill="x", pady=(self.looks.px(8), 0), before=self._foot)

    def _label(self, parent: tk.Misc, text: str, colour: str = "ink", ground: str = "ground", small: bool = False,
               **options: Any) -> tk.Label:
        colours = self.looks.colours
        return tk.Label(parent, text=text, background=colours[ground], foreground=colours[colour], justify="left",
                        anchor="w", font=self.looks.small if small else self.looks.text, **options)


class LogBox:
    """The setup's log, followed while it is written."""

    def __init__(self, parent: tk.Misc, looks: Looks):
        colours = looks.colours
        self.frame = tk.Frame(parent, background=colours["line"], padx=1, pady=1)
        self.text = tk.Text(self.frame, height=10, width=40, wrap="none", font=looks.mono, relief="flat",
                            background=colours["field"], foreground=colours["ink"], highlightthickness=0,
                            state="disabled", padx=looks.px(8), pady=looks.px(6))
        scroll = ttk.Scrollbar(self.frame, command=self.text.yview)
        self.text.configure(yscrollcommand=scroll.set)
        scroll.pack(side="right", fill="y")
        self.text.pack(side="left", fill="both", expand=True)
        self._read = 0

    def clear(self) -> None:
        """The log starts over."""
        self._read = 0
        self._write("", fresh=True)

    def follow(self, progress: Progress) -> None:
        """Read what was added; without a log, show what was printed."""
        piece, end = read_piece(progress.log, self._read)
        if piece:
            self._write(piece, fresh=self._read == 0)
            self._read = end
        elif not self._read:
            self._write("\n".join(progress.said) or TEXTS["no_log"], fresh=True)

    def _write(self, text: str, fresh: bool) -> None:
        at_end = self.text.yview()[1] > 0.99 or not self.text.winfo_ismapped()
        self.text.configure(state="normal")
        if fresh:
            self.text.delete("1.0", "end")
        self.text.insert("end", text)
        self.text.configure(state="disabled")
        if at_end:
            self.text.see("end")


def read_piece(path: str, start: int) -> tuple[str, int]:
    """A piece of a file from a byte on, and where it ends; empty when there's no file."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(LOG_PIECE).decode("utf-8", "replace"), file.tell()
    except OSError:
        return "", 0


def note_of(step: Step) -> str:
    """What is shown at the right of a step: its result, and how long it took or has been running."""
    if step.there_already:
        return step.note or TEXTS["there_already"]
    minutes, seconds = divmod(round(step.seconds), 60)
    took = TEXTS["minutes" if minutes else "seconds"].format(minutes=minutes, seconds=seconds)
    if step.state == "working":
        return " · ".join(filter(None, [step.note, took if step.seconds >= 1 else ""]))
    return " · ".join(filter(None, [step.note, took])) if step.state == "done" else ""


def _at_work(progress: Progress) -> str:
    if progress.state != "working":
        return ""
    if progress.cancelling:
        return TEXTS["cancelling_text"]
    step = progress.working()
    return step.line if step is not None else progress.text or TEXTS["starting"]


def _icons(root: tk.Tk) -> list[tk.PhotoImage]:
    """The program's icon in two sizes; none when the files are missing, which is no reason to stop."""
    folder = Path(__file__).resolve().parent.parent / "resources" / "icons"
    try:
        icons = [tk.PhotoImage(master=root, file=os.fspath(folder / f"slmstudio-{size}.png")) for size in (48, 96)]
    except tk.TclError:
        return []
    root.iconphoto(True, icons[1], icons[0])
    return icons


def _short(text: str, letters: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= letters else text[:letters - 1] + "…"


def _cut(text: str) -> str:
    """The beginning of a long message; the log has all of it."""
    return text if len(text) <= MESSAGE_LETTERS else text[:MESSAGE_LETTERS].rpartition(" ")[0] + " …"


def _put(label: tk.Label, **options: Any) -> None:
    """Change a label only where it differs: a change redraws it."""
    changed = {name: value for name, value in options.items() if str(label.cget(name)) != str(value)}
    if changed:
        label.configure(changed)
