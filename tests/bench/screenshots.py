"""Pictures of the window in its states, to be looked at before anybody says that it is done.

    python tests/bench/screenshots.py OUT [--sizes 1280x720,1920x1080] [--schemes light,dark]
                                      [--languages en,hi] [--data FILE]...

Draws the real window with the starter data, a file with problems, and the models that are on this machine
(SLMSTUDIO_HOME). Needs a screen, or an X server without one (Xvfb).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from PySide6.QtCore import QEventLoop, QTimer, SignalInstance
from PySide6.QtWidgets import QApplication, QWidget

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from slmstudio.core import i18n
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.model import library
from slmstudio.core.model.facts import read_model
from slmstudio.core.settings import Settings
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.settings import SettingsDialog
from slmstudio.gui.common import tasks, theme
from slmstudio.gui.common.session import TABS, JobStatus, Session


def pause(milliseconds: int = 400) -> None:
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def wait_for(signal: SignalInstance, begin: Callable[[], object], milliseconds: int = 60_000) -> None:
    """Begin something and let the window work until the signal comes."""
    loop = QEventLoop()
    signal.connect(loop.quit)
    QTimer.singleShot(milliseconds, loop.quit)
    begin()
    loop.exec()
    signal.disconnect(loop.quit)


def file_with_problems(folder: Path) -> Path:
    file = folder / "ward_office_export_2026-11-24_final.jsonl"
    rows = [json.dumps({"instruction": f"Which form does case {n} need?", "output": f"Form {n % 7 + 1}."}) if n % 6
            else '{"instruction": "Which form?", "anwser": "Form 2"}' if n % 4 else "{broken" for n in range(1, 301)]
    file.write_text("\n".join(rows), encoding="utf-8")
    return file


def states(window: MainWindow, session: Session, folder: Path, files: list[Path]) -> Iterator[tuple[str, QWidget]]:
    """Brings the window from one state to the next, and names each."""
    window.open_welcome()
    wait_for(window.welcome.found, window.welcome.look)
    yield "welcome", window
    window.go_to("")
    yield "data-empty", window
    data = window.page("data")
    wait_for(data.idle, data.open_sample)
    workspace = data.workspace()
    yield "data-table", window
    workspace.rows.go(9)
    for mode, name in ((1, "data-conversation"), (2, "data-tokens")):
        workspace.rows.mode.set_current(mode)
        yield name, window
    workspace.rows.search.setText("आधार")
    yield "data-search", window
    wait_for(data.idle, lambda: data.open_files([file_with_problems(folder)]))
    workspace.rows.mode.set_current(0)
    yield "data-findings", window
    data.open_files([folder / "moved away.jsonl"])
    yield "data-error", window
    data.banner.clear()
    for file in files:
        wait_for(data.idle, lambda file=file: data.open_files([file]))
        workspace.rows.mode.set_current(1)
        yield f"data-{file.stem}", window
    workspace.list.setCurrentRow(0)
    workspace.use.click()
    models = window.page("model")
    pause()
    yield "model", window
    models.banner.show_error(UserError(
        "Phi-3-mini can't be used as a base model.", "Its weights are pickle files, which can run programs.",
        "Download the version with safetensors files."))
    yield "model-error", window
    models.banner.clear()
    if library.starter_ready():
        session.set_model(read_model(library.starter_folder()))
        window.go_to("training")
        planning = window.page("training").planning
        yield "training-planning", window
        if planning.is_busy():
            wait_for(planning.planned, lambda: None)
        yield "training-before", window
    session.set_job(JobStatus("Training helpdesk_train", 484, 1053, 3480, right="8.2 of 12 GB · 168 W"))
    for tab in TABS[2:]:
        window.go_to(tab)
        yield tab, window
    window.show_error(KeyError("a defect"))
    yield "defect", window
    window.banner.clear()
    window.open_settings()
    dialog = window.findChild(SettingsDialog)
    yield "settings", dialog
    dialog.accept()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sizes", default="1280x720,1920x1080")
    parser.add_argument("--schemes", default="light,dark")
    parser.add_argument("--languages", default="en")
    parser.add_argument("--data", type=Path, action="append", default=[])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    app = QApplication(["slmstudio"])
    for language, scheme, size in itertools.product(*(
            words.split(",") for words in (options.languages, options.schemes, options.sizes))):
        i18n.use(language)
        theme.apply(app, scheme)
        session = Session(Settings(theme=scheme))
        window = MainWindow(session)
        window.resize(*map(int, size.split("x")))
        window.show()
        session.set_machine(read_machine())
        with tempfile.TemporaryDirectory() as folder:
            for name, widget in states(window, session, Path(folder), options.data):
                pause()
                widget.grab().save(str(options.out / f"{language}-{scheme}-{size}-{name}.png"))
        window.close()
        window.deleteLater()
        tasks.shut_down()
    return 0


if __name__ == "__main__":
    sys.exit(main())
