"""The Data tab as a person uses it: files are opened, buttons pressed, columns chosen."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QComboBox, QFileDialog, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from slmstudio.gui.data.tab import DataTab

LEFT = Qt.MouseButton.LeftButton
HEAD = ("प्रश्न", "उत्तर", "श्रेणी")
HINDI = [HEAD, *((f"राशन कार्ड {n}?", f"तहसील में, काउंटर {n}।", f"वर्ग {n % 3}") for n in range(1, 31))]
ODD = "Fld 1,Fld-2,xx\n" + "".join(f"why {n},because {n},as {n}\n" for n in range(1, 9))
SWAPPED = "instruction=उत्तर,output=प्रश्न"
"""What `swap` says of the columns of `HINDI`."""


def open_files(qtbot: QtBot, tab: DataTab, *files: Path) -> None:
    with qtbot.waitSignal(tab.idle):
        tab.open_files(list(files))


def choose_evaluation(qtbot: QtBot, tab: DataTab, file: Path) -> None:
    """Choose a file with evaluation rows, and wait until it is read."""
    tab.workspace().split.own.setChecked(True)
    dialog = tab.findChild(QFileDialog)
    with qtbot.waitSignal(tab.idle):
        dialog.fileSelected.emit(str(file))
        dialog.accept()


def press(qtbot: QtBot, place: QWidget, name: str, kind: type[QAbstractButton] = QPushButton) -> None:
    button = place.findChild(kind, name)
    assert button.isVisible() and button.isEnabled(), name
    qtbot.mouseClick(button, LEFT)


def pick(place: QWidget, field: str, value: str) -> None:
    """Choose something of a field, as a person would."""
    box = place.findChild(QComboBox, f"mapping_{field}")
    assert box.findData(value) >= 0, (field, value)
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())


def pick_and_read(qtbot: QtBot, tab: DataTab, field: str, value: str) -> None:
    with qtbot.waitSignal(tab.idle):
        pick(tab.workspace().reading.panel, field, value)


def swap(qtbot: QtBot, tab: DataTab) -> None:
    """What the program takes for questions are answers, and the other way round."""
    panel = tab.workspace().reading.panel
    with qtbot.waitSignal(tab.idle):
        pick(panel, "instruction", "उत्तर")
        pick(panel, "output", "प्रश्न")


def first(tab: DataTab) -> list[str]:
    return [message["content"] for message in tab.workspace().entry.dataset.records[0].messages]


def names(tab: DataTab) -> list[str]:
    return [entry.dataset.name for entry in tab.workspace().entries]
