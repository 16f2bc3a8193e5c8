"""What Qt itself writes, in its buttons, its dialogs and the menus of its fields; and Qt's numbers and direction.

Qt has translations for some languages, but not for those of India. So the words that people meet here are messages of
the program, in its catalogues like all others.
"""

from __future__ import annotations

from PySide6.QtCore import QLibraryInfo, QLocale, QObject, Qt, QTranslator
from PySide6.QtWidgets import QApplication

from slmstudio.core import i18n
from slmstudio.core.i18n import noop, tr

_ANYWHERE = {
    "OK": noop("OK"), "Cancel": noop("Cancel"), "Close": noop("Close"), "Open": noop("Open"), "Save": noop("Save"),
    "Save All": noop("Save all"), "Yes": noop("Yes"), "Yes to All": noop("Yes to all"), "No": noop("No"),
    "No to All": noop("No to all"), "Discard": noop("Discard"), "Don't Save": noop("Don't save"),
    "Help": noop("Help"), "Apply": noop("Apply"), "Reset": noop("Reset"), "Abort": noop("Abort"),
    "Retry": noop("Retry"), "Ignore": noop("Ignore"), "Restore Defaults": noop("Restore defaults"),
    "Show Details...": noop("Show details…"), "Hide Details...": noop("Hide details…"),
    "Undo": noop("Undo"), "Redo": noop("Redo"), "Cut": noop("Cut"), "Copy": noop("Copy"), "Paste": noop("Paste"),
    "Delete": noop("Delete"), "Select All": noop("Select all"), "Copy Link Location": noop("Copy link address"),
    "Step up": noop("Step up"), "Step down": noop("Step down"),
    "Look in:": noop("Look in:"), "Directory:": noop("Folder:"), "File name:": noop("File name:"),
    "File Name:": noop("File name:"), "Files of type:": noop("Type of files:"), "Choose": noop("Choose"),
    "Save As": noop("Save as"), "Save in:": noop("Save in:"), "Find Directory": noop("Find a folder"),
    "Directories": noop("Folders"), "All Files (*)": noop("All files (*)"), "All files (*)": noop("All files (*)"),
    "New Folder": noop("New folder"), "Create New Folder": noop("Make a new folder"), "Rename": noop("Rename"),
    "Show hidden files": noop("Show hidden files"), "Back": noop("Back"), "Forward": noop("Forward"),
    "Parent Directory": noop("Folder above"), "List View": noop("List"), "Detail View": noop("Details"),
    "Sidebar": noop("Places"), "Computer": noop("Computer"), "My Computer": noop("Computer"), "Name": noop("Name"),
    "Size": noop("Size"), "Type": noop("Type"), "Kind": noop("Type"), "Date Modified": noop("Date changed"),
    "Folder": noop("Folder"), "File Folder": noop("Folder"), "Drive": noop("Drive"), "Files": noop("Files"),
    "Recent Places": noop("Recent places"), "Remove": noop("Remove"), "Open the folder": noop("Open the folder"),
    "%1 already exists.\nDo you want to replace it?": noop("%1 already exists.\nDo you want to replace it?"),
    "%1\nFile not found.\nPlease verify the correct file name was given.":
        noop("%1\nThere is no such file. Check its name."),
    "%1\nDirectory not found.\nPlease verify the correct directory name was given.":
        noop("%1\nThere is no such folder. Check its name."),
    "Scroll up": noop("Scroll up"), "Scroll down": noop("Scroll down"), "Left": noop("Left"), "Right": noop("Right"),
    "Clear": noop("Clear"), "Collapse": noop("Collapse"), "Expand": noop("Expand"), "Press": noop("Press"),
    "Toggle": noop("Toggle"), "Check": noop("Tick"), "Uncheck": noop("Remove the tick"),
}
"""Qt's English, without the marks of its keys, and ours."""


class _OurWords(QTranslator):
    """Asked by Qt for each of its texts, on any thread."""

    def isEmpty(self) -> bool:
        return False

    def translate(self, context: str, sourceText: str, disambiguation: str | None = None, n: int = -1) -> str:
        message = _ANYWHERE.get(sourceText.replace("&", ""))
        # An empty answer lets Qt look further, and in the end write its own English.
        return tr(message) if message is not None else ""


def speak(app: QApplication) -> None:
    """Let Qt write as the program does: its words, its numbers, and from the side where reading begins."""
    for before in app.findChildren(QTranslator):
        app.removeTranslator(before)
        before.setParent(None)
    code = i18n.language()
    if code != i18n.messages.SOURCE:
        _install(app, _qts_own(app, code))
        _install(app, _OurWords(app))  # asked first
    QLocale.setDefault(QLocale("en_GB" if i18n.messages.is_english() else code))
    app.setLayoutDirection(Qt.LayoutDirection.RightToLeft if i18n.is_right_to_left() else
                           Qt.LayoutDirection.LeftToRight)


def _qts_own(parent: QObject, code: str) -> QTranslator | None:
    """The translation that comes with Qt, where there is one."""
    found = QTranslator(parent)
    folder = QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)
    return found if found.load(f"qtbase_{code}", folder) else None


def _install(app: QApplication, translator: QTranslator | None) -> None:
    if translator is not None:
        app.installTranslator(translator)
