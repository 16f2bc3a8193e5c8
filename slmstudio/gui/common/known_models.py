"""The models that Chat and evaluations offer, and the box to choose one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import Signal

from slmstudio.core import jobs, llama, paths
from slmstudio.core.i18n import tr
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run.named import model_title
from slmstudio.gui.common.dialogs import open_path
from slmstudio.gui.common.widgets.fields import ComboBox
from slmstudio.gui.common.widgets.labels import plain_tip

_FILE, _FOLDER = "file", "folder"


def known_models() -> list[tuple[str, Path]]:
    """Names and GGUF files: exports of all runs, newest first, then the starter model as it was before training."""
    from slmstudio.core.model import library

    parent = paths.runs_dir()
    runs = [each for each in parent.iterdir() if (each / jobs.RUN).is_file()] if parent.is_dir() else []
    files = [path for run in runs for path in run_folder.exported(run)]
    newest = sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)
    found = [(model_title(path), path) for path in newest]
    starter = library.starter_gguf()
    return [*found, (tr("{model} (base)", model=library.STARTER_NAME), starter)] if starter is not None else found


def chat_models() -> list[tuple[str, Path]]:
    """What can be talked to: finished runs that have no GGUF file yet, then `known_models`; without the chat engine
    runs and their bases alone."""
    from slmstudio.core.chat import partners

    if llama.trouble() is not None:
        return partners.without_engine()
    return [*partners.without_export(), *known_models()]


class ModelPicker(ComboBox):
    """A list of models with a way to open any other: a GGUF file, a model's folder or a run's.

    Signals:
        chosen(Path): the user chose it.

    Args:
        keeps: whether the choice stays shown; else the box is ready for the next one.
    """

    chosen = Signal(object)

    def __init__(self, name: str, placeholder: str, what: str, *, keeps: bool = True):
        super().__init__()
        self._what, self._keeps = what, keeps
        self._current: Path | None = None
        self.setAccessibleName(name)
        self.setPlaceholderText(placeholder)
        self.keep_narrow(22)
        self.activated.connect(self._activate)
        self.currentTextChanged.connect(self._show_name)
        self.set_models([])
        self._show_name("")

    def _show_name(self, name: str) -> None:
        """The whole name is in the tooltip: beside other models there is room for its beginning only."""
        self.setToolTip(plain_tip("\n".join(filter(None, (name, self._what)))))

    def set_models(self, models: Iterable[tuple[str, Path]]) -> None:
        """Offer these; one that is chosen already stays chosen."""
        self.clear()
        for name, path in models:
            self.add_path(name, path)
        if self.count():
            self.insertSeparator(self.count())
        if llama.trouble() is None:
            self.addItem(tr("Open a GGUF file…"), _FILE)
        self.addItem(tr("Open a model or run folder…"), _FOLDER)
        self.set_current(self._current)

    def models(self) -> list[Path]:
        data = (self.itemData(index) for index in range(self.count()))
        return [Path(each) for each in data if each not in (None, _FILE, _FOLDER)]

    def path(self) -> Path | None:
        """What is chosen."""
        return self._current

    def set_current(self, path: Path | None) -> None:
        """Mark a model as chosen, without saying so."""
        self._current = path
        if path is not None and self.findData(str(path)) < 0:
            self.add_path(model_title(path), path, 0)
        self.setCurrentIndex(self.findData(str(path)) if path is not None else -1)

    def _activate(self, index: int) -> None:
        data = self.itemData(index)
        self.set_current(self._current)
        if data in (_FILE, _FOLDER):
            self.ask(folder=data == _FOLDER)
        elif data:
            self.pick(Path(data))

    def pick(self, path: Path) -> None:
        """Choose it, and say so."""
        self.set_current(path if self._keeps else None)
        self.chosen.emit(path)

    def ask(self, folder: bool = False) -> None:
        """Let the user choose a GGUF file, or a folder."""
        title = tr("Choose the folder of a model or a run") if folder else tr("Open a GGUF file")
        open_path(self, title, self.pick, "" if folder else tr("GGUF models (*.gguf)"), folder=folder)
