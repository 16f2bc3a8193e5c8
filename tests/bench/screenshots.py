"""Pictures of every tab in its states, and what is wrong with them, before anybody says that it is done.

    python tests/bench/screenshots.py OUT [--tabs data,chat] [--sizes 1280x720,1920x1080] [--texts 100,150]
                                      [--schemes light,dark] [--languages en,hi] [--ratio 2] [--no-pictures]

Draws the real window with small models, rows and runs of its own, whose workers play. What is cut, scrolled twice,
overlaps or lies outside is printed; the exit status is 1 then. Works offscreen too.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from PySide6.QtCore import QPoint
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QApplication, QWidget
from support import tiny_model
from support.layout_faults import faults
from support.tab_states import STATES, Stage, states

from slmstudio.core import i18n, paths
from slmstudio.core.settings import Settings
from slmstudio.gui.app import qt_texts
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.common import tasks, theme
from slmstudio.gui.common.session import Session


def save(widget: QWidget, file: Path, ratio: float) -> None:
    """A picture with `ratio` pixels a point, as a sharp screen shows it."""
    picture = QPixmap(widget.size() * ratio)
    picture.setDevicePixelRatio(ratio)
    widget.render(picture, QPoint())
    picture.save(str(file))


def visit(app: QApplication, model: Path, tab: str, language: str, options: argparse.Namespace,
          found: dict[str, list[str]]) -> None:
    """One tab in one language, in all its states and looks."""
    i18n.use(language)
    qt_texts.speak(app)
    app.setFont(theme.base_font())
    window = MainWindow(Session(Settings(welcomed=True)))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SLMSTUDIO_HOME"] = f"{folder}/home"
        stage = Stage(window, model, Path(folder), paths.starter_train_file())
        window.show()
        stage.settle()  # a window fits itself into its screen when it is painted first
        try:
            for name in states(stage, tab):
                for scheme, text, size in itertools.product(options.schemes, options.texts, options.sizes):
                    theme.apply(app, scheme, int(text))
                    window.resize(*map(int, size.split("x")))
                    stage.settle()
                    shown = app.activeModalWidget() or window
                    for fault in faults(shown):
                        found[f"{tab} {name}: {fault}"].append(f"{language} {text}% {size}")
                    if not options.no_pictures:
                        save(shown, options.out / f"{tab}-{name}-{language}-{scheme}-{text}-{size}.png", options.ratio)
                if shown is not window:
                    shown.close()
        finally:
            stage.end()
            window.leave()
            window.deleteLater()
            tasks.shut_down()
            theme.apply(app, "light", 100)


def words(text: str) -> list[str]:
    return text.split(",")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for name, usual in (("tabs", ",".join(STATES)), ("sizes", "1280x720,1920x1080"), ("texts", "100,150"),
                        ("schemes", "light,dark"), ("languages", "en,hi")):
        parser.add_argument(f"--{name}", type=words, default=words(usual))
    parser.add_argument("--ratio", type=float, default=1)
    parser.add_argument("--no-pictures", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if not os.environ.get("DISPLAY"):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QApplication(["slmstudio"])
    theme.apply(app, "light")
    found: dict[str, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model.build(Path(folder) / "tiny")
        for tab, language in itertools.product(options.tabs, options.languages):
            visit(app, model, tab, language, options, found)
            print(tab, language, flush=True)
    for fault, looks in found.items():
        print(f"{fault}  [{'; '.join(dict.fromkeys(looks))}]")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
