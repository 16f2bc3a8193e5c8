"""The models that Chat offers, and the box to choose one."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal

from slmstudio.core import jobs, llama, paths
from slmstudio.core.i18n import tr
from slmstudio.core.run import folder as run_folder
from slmstudio.gui.common.dialogs import open_path
from slmstudio.gui.common.widgets.fields import ComboBox
from slmstudio.gui.common.widgets.labels import plain_tip

_OPEN = "open"


def known_models() -> list[tuple[str, Path]]:
    """Names and GGUF files: exports of all runs, newest first, then the starter model as it was before training."""
    from slmstudio.core.model import library

    parent = paths.runs_dir()
    runs = [each for each in parent.iterdir() if (each / jobs.RUN).is_file()] if parent.is_dir() else []
    files = [path for run in runs for path in run_folder.exported(run)]
    newest = sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)
    found = [(path.stem, path) for path in newest]
    starter = library.starter_gguf()
    return [*found, (tr("{model} (base)", model=library.STARTER_NAME), starter)] if starter is not None else found


def chat_models() -> list[tuple[str, Path]]:
    """What can be talked to: finished runs that have no GGUF file yet, then `known_models`; without the chat engine
    runs and their bases alone."""
    from slmstudio.core.chat import partners

    if llama.trouble() is not None:
        return partners.without_engine()
    return [*partners.without_export(), *known_models()]


class ModelChoice(ComboBox):
    """A list of GGUF files, with a way to open another.

    Signals:
        chosen(Path): the user chose this file.
    """

    chosen = Signal(object)

    def __init__(self, name: str):
        super().__init__()
        self.setAccessibleName(name)
        self._what = tr("The model to talk to: a finished run, an export, or any GGUF file. Files can be dropped here.")
        self.setPlaceholderText(tr("Choose a model…"))
        self.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(22)
        self._current: Path | None = None
        self.activated.connect(self._choose)
        self.currentTextChanged.connect(self._show_name)
        self.set_models([])
        self._show_name("")

    def _show_name(self, name: str) -> None:
        """The whole name is in the tooltip: beside other models there is room for its beginning only."""
        self.setToolTip(plain_tip("\n".join(filter(None, (name, self._what)))))

    def set_models(self, models: list[tuple[str, Path]]) -> None:
        """Offer these; one that is chosen already stays chosen."""
        self.clear()
        for name, path in models:
            self._add(name, path)
        if llama.trouble() is None:
            self.addItem(tr("Open a GGUF file…"), _OPEN)
        self.set_current(self._current)

    def _add(self, name: str, path: Path, at: int | None = None) -> None:
        index = self.count() if at is None else at
        self.insertItem(index, name, str(path))
        self.setItemData(index, plain_tip(str(path)), Qt.ItemDataRole.ToolTipRole)

    def models(self) -> list[Path]:
        return [Path(self.itemData(index)) for index in range(self.count()) if self.itemData(index) != _OPEN]

    def set_current(self, path: Path | None) -> None:
        """Mark a file as chosen, without saying so."""
        self._current = path
        if path is None:
            self.setCurrentIndex(-1)
            return
        if self.findData(str(path)) < 0:
            self._add(path.stem if path.suffix.lower() == ".gguf" else path.name, path, 0)
        self.setCurrentIndex(self.findData(str(path)))

    def _choose(self, index: int) -> None:
        if self.itemData(index) == _OPEN:
            self.set_current(self._current)
            self.choose_file()
            return
        self._current = Path(self.itemData(index))
        self.chosen.emit(self._current)

    def choose_file(self) -> None:
        """Let the user choose a GGUF file."""
        open_path(self, tr("Open a GGUF file"), self._opened, tr("GGUF models (*.gguf)"))

    def _opened(self, path: Path) -> None:
        self.set_current(path)
        self.chosen.emit(path)
