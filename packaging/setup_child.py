"""The setup as a child of its window: what it does arrives as events, and the window never waits for it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from setup_causes import AGAIN
from setup_language import tr, variables

AGAIN_HERE = tr("Then try again: it continues where it stopped.")
WEIGHTS = {"PyTorch": 8, "Libraries": 8, "llama.cpp": 6, "Python environment": 2}
"""How long the steps take, roughly, for the bar; any other counts as 1."""
KEPT_LINES = 200


def command(root: str) -> list[str]:
    """What starts the setup that tells its events, with a Python that has an output on Windows too."""
    python = Path(sys.executable)
    if python.name.lower() == "pythonw.exe":
        python = python.with_name("python.exe")
    return [str(python), "-u", os.path.join(root, "packaging", "bootstrap.py"), "setup", "--json"]


class Child:
    """A running setup.

    Args:
        command: the program and its arguments. It prints one JSON object a line; see bootstrap.py's `setup --json`.

    Raises:
        OSError: it can't be started.
    """

    def __init__(self, command: list[str]):
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        windows = sys.platform == "win32"
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE if windows else subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
            env={**os.environ, "PYTHONUTF8": "1", **variables()},
            creationflags=0x08000000 if windows else 0)  # CREATE_NO_WINDOW
        threading.Thread(target=self._read, name="set-up", daemon=True).start()

    def events(self) -> list[dict[str, Any]]:
        """What came since the last call. The last event of all is "ended", with its exit status."""
        found = []
        while not self._events.empty():
            found.append(self._events.get())
        return found

    def cancel(self) -> None:
        """Ask it to end. It keeps what is done, and ends what it started."""
        if self._process.poll() is not None:
            return
        if self._process.stdin is None:
            self._process.terminate()
            return
        try:
            self._process.stdin.write("cancel\n")
            self._process.stdin.close()
        except OSError:
            pass  # it has just ended

    def kill(self) -> None:
        """End it at once. The next setup repairs what that leaves half done."""
        self._process.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(_event(line.rstrip()))
        self._events.put({"event": "ended", "status": self._process.wait()})


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) and "event" in event else {"event": "said", "text": line}


@dataclass
class Step:
    """One step of the setup.

    Attributes:
        state: "waiting", "working", "done", "failed" or "stopped".
        note: what it is about to do, then what came of it.
        line: the last line of what is running.
        seconds: since it began.
    """

    title: str
    state: str = "waiting"
    note: str = ""
    line: str = ""
    seconds: float = 0.0
    there_already: bool = False


@dataclass
class Progress:
    """What is known of a setup.

    Attributes:
        state: "working", "finished", "failed" or "cancelled".
        text: why it failed; a sentence to wait by while nothing has begun.
        remarks: what the user should know at the end.
        log: where everything is written down.
    """

    steps: list[Step] = field(default_factory=list)
    state: str = "working"
    text: str = ""
    remarks: list[str] = field(default_factory=list)
    log: str = ""
    said: list[str] = field(default_factory=list)
    cancelling: bool = False

    def take(self, event: dict[str, Any]) -> None:
        """Take one event in. Kinds that aren't known are passed over."""
        handler = getattr(self, "_" + str(event["event"]), None)
        if handler is not None:
            handler(event)

    def working(self) -> Step | None:
        return next((step for step in self.steps if step.state == "working"), None)

    def share(self) -> float:
        """How much is done, from 0 to 1."""
        weights = {id(step): WEIGHTS.get(step.title, 1) for step in self.steps}
        done = sum(weights[id(step)] for step in self.steps if step.state == "done")
        return done / sum(weights.values()) if weights else 0.0

    def _plan(self, event: dict[str, Any]) -> None:
        self.steps = [Step(str(title)) for title in event["steps"]]
        self.log = str(event.get("log", ""))

    def _numbered(self, event: dict[str, Any]) -> Step:
        number = int(event["number"])
        while len(self.steps) < number:
            self.steps.append(Step(""))
        return self.steps[number - 1]

    def _step(self, event: dict[str, Any]) -> None:
        step = self._numbered(event)
        step.title, step.state, step.note = str(event.get("title") or step.title), "working", event.get("notice") or ""
        self.text = ""

    def _progress(self, event: dict[str, Any]) -> None:
        step = self._numbered(event)
        step.state, step.line, step.seconds = "working", str(event.get("text", "")), float(event.get("seconds", 0))

    def _done(self, event: dict[str, Any]) -> None:
        step = self._numbered(event)
        step.state, step.note, step.line = "done", event.get("remark") or "", ""
        step.seconds, step.there_already = float(event.get("seconds", 0)), bool(event.get("there_already"))

    def _failed(self, event: dict[str, Any]) -> None:
        self.log = str(event.get("log") or self.log)
        # The window has the log itself, and a button instead of a command.
        self._end("failed", str(event.get("text", "")).replace(AGAIN, AGAIN_HERE))

    def _finished(self, event: dict[str, Any]) -> None:
        self.state, self.text = "finished", ""
        self.remarks = [str(remark) for remark in event.get("remarks") or []]

    def _said(self, event: dict[str, Any]) -> None:
        """A line that is no event: a sentence before the first step, or an error of Python's."""
        self.said = [*self.said, event["text"]][-KEPT_LINES:]
        if self.working() is None and event["text"].strip():
            self.text = event["text"]

    def _ended(self, event: dict[str, Any]) -> None:
        if self.state != "working":
            return
        if self.cancelling or event["status"] == 130:
            self._end("cancelled", "")
            return
        last = next((line for line in reversed(self.said) if line.strip()), "")
        what = tr("Setup ended unexpectedly, with status {status}.", status=event["status"])
        again = tr("Try again: it continues where it stopped. The log has the details.")
        self._end("failed", f"{what} {last}\n{again}")

    def _end(self, state: str, text: str) -> None:
        self.state, self.text = state, text
        step = self.working()
        if step is not None:
            step.state = "failed" if state == "failed" else "stopped"
