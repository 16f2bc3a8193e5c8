"""Chooses the file that a row is added to."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog

from slmstudio.core import paths
from slmstudio.core.i18n import tr
from slmstudio.gui.common.widgets.fields import ComboBox
from slmstudio.gui.common.widgets.labels import plain_tip

_CHOOSE, _NEW = "choose", "new"
_SHOWN = 12


class RowTarget(ComboBox):
    """A list of dataset files: the one that was used last, those of the datasets folder, another, or a new one.

    Signals:
        chosen(Path): the user chose this file.

    Args:
        standard: the name of the file that is made where none was ever chosen.
    """

    chosen = Signal(object)

    def __init__(self, name: str, tooltip: str, standard: str):
        super().__init__()
        self.setAccessibleName(name)
        self.setToolTip(tooltip)
        self.setSizeAdjustPolicy(ComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(24)
        self._standard = standard
        self._current: Path | None = None
        self.activated.connect(self._activate)

    def path(self) -> Path:
        """The file that is chosen."""
        return self._current or paths.datasets_dir() / self._standard

    def offer(self, last: str, known: list[Path]) -> None:
        """Show what can be chosen.

        Args:
            last: the file that was used last, or "".
        """
        self._current = Path(last) if last else paths.datasets_dir() / self._standard
        others = [path for path in known if path != self._current][:_SHOWN]
        self.clear()
        for path in (self._current, *others):
            self.addItem(path.name if path.exists() else tr("{name} (new)", name=path.name), str(path))
            self.setItemData(self.count() - 1, plain_tip(str(path)), Qt.ItemDataRole.ToolTipRole)
        self.insertSeparator(self.count())
        self.addItem(tr("Choose a file…"), _CHOOSE)
        self.addItem(tr("New file…"), _NEW)
        self.setCurrentIndex(0)

    def set_path(self, path: Path) -> None:
        """Choose a file, and say so."""
        known = [Path(self.itemData(index)) for index in range(self.count())
                 if self.itemData(index) not in (None, _CHOOSE, _NEW)]
        self.offer(str(path), [each for each in known if each.exists()])
        self.chosen.emit(path)

    def _activate(self, index: int) -> None:
        data = self.itemData(index)
        if data in (_CHOOSE, _NEW):
            self.setCurrentIndex(self.findData(str(self._current)))
            self._ask(new=data == _NEW)
        else:
            self._current = Path(data)
            self.chosen.emit(self._current)

    def _ask(self, new: bool) -> None:
        title = tr("New dataset") if new else tr("Choose a dataset")
        dialog = QFileDialog(self, title, str(self.path().parent), tr("Datasets") + " (*.jsonl *.json *.ndjson)")
        dialog.setFileMode(QFileDialog.FileMode.AnyFile if new else QFileDialog.FileMode.ExistingFile)
        if new:
            dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
            dialog.setOption(QFileDialog.Option.DontConfirmOverwrite)  # rows are added to what is there
            dialog.setDefaultSuffix("jsonl")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(lambda name: self.set_path(Path(name)))
        dialog.open()


def known_files() -> list[Path]:
    """Datasets of the user's own folder, the one that was changed last first."""
    folder = paths.datasets_dir()
    found = [path for ending in ("jsonl", "json", "ndjson") for path in folder.glob(f"*.{ending}")
             if not path.name.startswith(".")] if folder.is_dir() else []
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)
