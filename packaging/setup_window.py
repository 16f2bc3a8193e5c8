"""The small window in which SLM Studio sets itself up: what it does, how far it is, and what to do when it can't.

Tk alone, because nothing is installed yet. The work is done by a child process (setup_child.py), so closing or
cancelling is always possible, and the window only shows what the child tells (setup_page.py).
"""

from __future__ import annotations

import os
import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import ttk
from types import ModuleType

import setup_looks
from setup_child import Child, Progress, command
from setup_environment import CARD_ROOM, GB, ROOM
from setup_page import Page
from setup_texts import DOWNLOADS, TEXTS

POLL_MS, TURN_MS, LOG_MS, COPIED_MS = 60, 80, 500, 2000
CANCEL_PATIENCE_MS = 20_000
"""How long a cancelled setup may take to end before it is ended."""
LINGER_SECONDS = 5
"""Between the end of the setup and the start of the program: time to read the remarks."""
LOG_COPIED = 2_000_000  # bytes, from the end
CANCELLED, FAILED = 130, 2


def main(bootstrap: ModuleType, words: Sequence[str] = ()) -> int:
    """Show the setup until it is done, then become the program. Returns the exit status.

    Args:
        bootstrap: the module bootstrap.py.
        words: files to open in the program.

    Raises:
        tkinter.TclError: no window can be opened here.
    """
    setup_looks.sharpen()
    root = tk.Tk(className="slmstudio")
    window = SetupWindow(root, command(bootstrap.ROOT), amount(bootstrap), setup_looks.prefers_dark(),
                         LINGER_SECONDS)
    window.start()
    root.mainloop()
    return int(bootstrap.open_window(list(words))) if window.open_wanted else window.status


def amount(bootstrap: ModuleType) -> str:
    """How much will be downloaded, and how much room it needs, in a sentence."""
    card = bool(bootstrap.has_nvidia_driver())
    download, disk = DOWNLOADS[card], f"{sum((CARD_ROOM if card else ROOM).values()) / GB:.0f}"
    if os.environ.get("PIP_NO_INDEX") or bootstrap.installed().get("how") == "bundle":
        return TEXTS["amount_none"].format(disk=disk)
    return TEXTS["amount_card" if card else "amount"].format(download=download, disk=disk)


class SetupWindow:
    """The window of one setup.

    Args:
        command: starts the setup; it tells its events as bootstrap.py's `setup --json` does.
        amount: the sentence on how much is downloaded.
        linger: seconds that the finished setup is shown before the program opens.

    Attributes:
        status: the exit status: 0 when the setup finished.
        open_wanted: whether to open the program now that the window is gone.
    """

    def __init__(self, root: tk.Tk, command: list[str], amount: str, dark: bool = False,
                 linger: int = LINGER_SECONDS):
        self.root, self._command, self._linger = root, command, linger
        looks = setup_looks.Looks(root, dark)
        self.page = Page(root, looks, amount)
        self.progress = Progress()
        self.status, self.open_wanted = CANCELLED, False
        self._child: Child | None = None
        self._asking = self._leaving = False
        self._seconds_left = 0
        self._timers: dict[str, str] = {}
        root.title(TEXTS["title"])
        root.minsize(looks.px(600), looks.px(440))
        root.protocol("WM_DELETE_WINDOW", self.close)
        root.bind("<Escape>", lambda event: self.close())
        root.bind("<Return>", lambda event: self._press())
        self.page.toggle.configure(text=TEXTS["show"], command=self.toggle_log)
        self.page.copy.configure(text=TEXTS["copy"], command=self.copy_log)
        self._show()

    # -- what can be done ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the setup, or continue one that stopped."""
        self.progress = Progress()
        self._asking = False
        self.page.log.clear()
        try:
            self._child = Child(self._command)
        except OSError as error:
            self.progress.state = "failed"
            self.progress.text = TEXTS["not_started"].format(error=error.strerror or error)
        else:
            self._every("poll", POLL_MS, self._poll)
            self._every("turn", TURN_MS, lambda: self.page.turn(self.progress))
        self._show()

    def cancel(self) -> None:
        """Ask the setup to end; it is ended when it doesn't."""
        if self._child is None or self.progress.cancelling:
            return
        self.progress.cancelling, self._asking = True, False
        self._child.cancel()
        self._after("kill", CANCEL_PATIENCE_MS, self._child.kill)
        self._show()

    def close(self) -> None:
        """Close the window; while the setup works, ask first."""
        if self._child is None:
            self._leave()
        elif self.progress.cancelling:
            self._leaving = True
        else:
            self._asking = not self._asking
            self._show()

    def open_program(self) -> None:
        self.open_wanted = True
        self._leave()

    def copy_log(self) -> None:
        """Put the log, or what is known without one, on the clipboard."""
        text = "\n".join([self.progress.text, *self.progress.said]).strip()
        if os.path.isfile(self.progress.log):
            with open(self.progress.log, "rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_COPIED))
                text = log.read().decode("utf-8", "replace")
        self.root.clipboard_clear()
        self.root.clipboard_append(text)
        self.page.copy.configure(text=TEXTS["copied"])
        self._after("copied", COPIED_MS, lambda: self.page.copy.configure(text=TEXTS["copy"]))

    def toggle_log(self) -> None:
        """Show the log below the steps, or hide it."""
        shown = self.page.toggle_log()
        self.page.toggle.configure(text=TEXTS["hide" if shown else "show"])
        if shown:
            self.page.log.follow(self.progress)
            self._every("log", LOG_MS, lambda: self.page.log.follow(self.progress))
        else:
            self._stop_timer("log")

    def _stop(self) -> None:
        self._leaving = True
        self.cancel()

    def _leave(self) -> None:
        for name in list(self._timers):
            self._stop_timer(name)
        self.root.destroy()

    def _press(self) -> None:
        """Return presses the button that has the keyboard, else the main one."""
        focused = self.root.focus_get()
        if isinstance(focused, ttk.Button):
            focused.invoke()
        elif self.page.main.winfo_manager():
            self.page.main.invoke()

    # -- what happens by itself ------------------------------------------------------------------------------

    def _show(self) -> None:
        self.page.show(self.progress, self._asking)
        state, close = self.progress.state, (TEXTS["close"], self.close)
        if state == "finished":
            text = TEXTS["open_in"].format(seconds=self._seconds_left) if self._seconds_left else TEXTS["open"]
            self.page.show_buttons((text, self.open_program), close)
        elif state == "failed":
            self.page.show_buttons((TEXTS["again"], self.start), close)
        elif state == "cancelled":
            self.page.show_buttons((TEXTS["go_on"], self.start), close)
        elif self.progress.cancelling:
            self.page.show_buttons(None, (TEXTS["cancelling"], self.cancel), enabled=False)
        elif self._asking:
            self.page.show_buttons((TEXTS["keep_on"], self.close), (TEXTS["stop"], self._stop))
        else:
            self.page.show_buttons(None, (TEXTS["cancel"], self.cancel))

    def _poll(self) -> None:
        events = self._child.events() if self._child is not None else []
        for event in events:
            self.progress.take(event)
        if events and events[-1]["event"] == "ended":
            self._ended()
        elif events:
            self._show()

    def _ended(self) -> None:
        """The child is gone."""
        self._child = None
        by_itself = not self.progress.cancelling
        for name in ("poll", "turn", "kill"):
            self._stop_timer(name)
        self.progress.cancelling = self._asking = False
        self.status = {"finished": 0, "failed": FAILED}.get(self.progress.state, CANCELLED)
        if self._leaving:
            self._leave()
        elif self.progress.state == "finished" and by_itself:
            self._count_down(self._linger)
        else:
            self._show()

    def _count_down(self, seconds: int) -> None:
        if seconds <= 0:
            self.open_program()
            return
        self._seconds_left = seconds
        self._after("open", 1000, lambda: self._count_down(seconds - 1))
        self._show()

    def _every(self, name: str, milliseconds: int, work: Callable[[], None]) -> None:
        def again() -> None:
            self._after(name, milliseconds, again)
            work()

        self._after(name, milliseconds, again)

    def _after(self, name: str, milliseconds: int, work: Callable[[], object]) -> None:
        self._stop_timer(name)
        self._timers[name] = self.root.after(milliseconds, work)

    def _stop_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            self.root.after_cancel(timer)
