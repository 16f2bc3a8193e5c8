"""The README's pictures, from a real run of a few rows of the sample: a first user's way through the five tabs.

    python tests/bench/readme_pictures.py OUT [--rows 60] [--set FIELD=VALUE]...

Needs the starter model below SLMSTUDIO_HOME, and a screen, or an X server without one (Xvfb).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication, QPlainTextEdit, QPushButton

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from slmstudio.core import i18n, paths
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.run.planning import plan_inputs
from slmstudio.core.settings import Settings
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import tasks, theme
from slmstudio.gui.common.session import Session

SIZE, PATIENCE = (1280, 720), 1800.0
QUESTION = "मतदाता सूची में नाम जोड़ने के लिए कौन सा फ़ॉर्म भरना है?"


class Visitor:
    """Uses the window as a person does, and takes pictures of it."""

    def __init__(self, window: MainWindow, out: Path):
        self._window, self._out = window, out

    def wait(self, condition: Callable[[], object]) -> None:
        until = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError
            self._pause(100)

    def click(self, name: str) -> None:
        """Press a button once it is there and can be pressed."""
        def usable() -> QPushButton | None:
            found = self._window.findChildren(QPushButton, name)
            return next((each for each in found if each.isVisible() and each.isEnabled()), None)

        self.wait(usable)
        button = usable()
        assert button is not None
        button.click()

    def picture(self, name: str) -> None:
        self._pause(1500)
        self._window.grab().save(str(self._out / f"{name}.png"))
        print(name, flush=True)

    def _pause(self, milliseconds: int) -> None:
        loop = QEventLoop()
        QTimer.singleShot(milliseconds, loop.quit)
        loop.exec()


def few_rows(folder: Path, number: int) -> Path:
    """A file with the rows of the sample that are learned fastest."""
    lines = paths.starter_train_file().read_text("utf-8").splitlines()
    file = folder / "ward_helpdesk.jsonl"
    file.write_text("\n".join(sorted(lines, key=len)[:number]) + "\n", "utf-8")
    return file


def visit(window: MainWindow, visitor: Visitor, file: Path, chosen: dict[str, str]) -> None:
    """From the data to the chat."""
    data, training, chat = (window.page(tab) for tab in ("data", "training", "chat"))
    read: list[bool] = []
    data.idle.connect(lambda: read.append(True))
    window.go_to("data")
    data.open_sample()
    visitor.wait(lambda: len(read) == 1)
    visitor.picture("data")
    data.open_files([file])
    visitor.wait(lambda: len(read) == 2)
    visitor.click("data_use")
    visitor.picture("model")
    visitor.click("model_use")
    visitor.wait(lambda: training.planning.config is not None)
    for name, value in chosen.items():
        training.planning.decide(name, value)
    visitor.wait(lambda: not training.planning.is_busy())
    visitor.click("start")
    visitor.wait(lambda: training.followed.history.step > 0.6 * training.followed.history.total_steps > 0)
    visitor.picture("training")
    visitor.wait(lambda: training.evaluation.evaluation is not None)  # it comes by itself
    window.go_to("results")
    verdict = window.page("results").details.evaluation.scores.verdict
    visitor.wait(lambda: verdict.headline.isVisible() and verdict.buttons)
    visitor.picture("results")
    window.go_to("training")
    visitor.click("chat")
    visitor.wait(lambda: chat.lanes.count == 2 and all(pane.state == "ready" for pane in chat.lanes.panes()))
    chat.findChild(QPlainTextEdit, "chat_input").setPlainText(QUESTION)
    visitor.click("chat_send")
    visitor.wait(lambda: all(len(pane.lane.turns) == 2 and "reason" in pane.lane.turns[1].figures
                             for pane in chat.lanes.panes()))
    visitor.picture("chat")
    chat.lanes.close_workers()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    app = QApplication(["slmstudio"])
    i18n.use("en")
    theme.apply(app, "light")
    session = Session(Settings(theme="light", welcomed=True))
    window = MainWindow(session)
    window.resize(*SIZE)
    window.show()
    session.set_machine(read_machine())
    with tempfile.TemporaryDirectory() as folder:
        visit(window, Visitor(window, options.out), few_rows(Path(folder), options.rows),
              plan_inputs.parse_settings(options.set))
    window.close()
    QTimer.singleShot(0, app.quit)
    app.exec()  # its end ends the threads
    tasks.shut_down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
