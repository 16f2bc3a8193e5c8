"""The first start: what was found, where things are kept, how to begin; and a place that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QFileDialog, QPushButton
from pytestqt.qtbot import QtBot
from support.window import press, settle, text, texts

from slmstudio.core import disk_space, home_folder, paths, settings
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.settings import Settings
from slmstudio.gui.app import application as program
from slmstudio.gui.app import welcome
from slmstudio.gui.app.help import HelpDialog
from slmstudio.gui.app.home_folder import PlaceMissing
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.settings import SettingsDialog
from slmstudio.gui.app.welcome import Found
from slmstudio.gui.common import tasks, theme
from slmstudio.gui.common.session import TABS, JobStatus, Session

GIB = 1024**3
CPU = Machine("Linux", "Some CPU", 4, 8, 16 * GIB, 9 * GIB, (), False, False, "No NVIDIA driver was found.")
CARD = Gpu(0, "NVIDIA GeForce RTX 3060", 12 * GIB, int(11.2 * GIB), (8, 6))
GPU = Machine("Linux", "Some CPU", 4, 8, 16 * GIB, 9 * GIB, (CARD,), False, False)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qapp) -> Iterator[Session]:
    """A session of somebody who has chosen no place yet, on a disk with room."""
    monkeypatch.delenv("SLMSTUDIO_HOME", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(disk_space, "free", lambda path: 50 * GIB)
    theme.apply(qapp, "light")
    yield Session(Settings())
    assert tasks.shut_down(60_000), "a task did not end"


@pytest.fixture
def window(qtbot: QtBot, fresh: Session) -> MainWindow:
    """The window at its first start, after the machine was read."""
    made = MainWindow(fresh)
    qtbot.addWidget(made)
    made.resize(1280, 720)
    made.open_welcome()
    with qtbot.waitSignal(made.painted):
        made.show()
    look(qtbot, made)
    return made


def test_the_page_keeps_its_place_while_the_starter_is_prepared(window: MainWindow):
    strip, places = window.welcome.starter, set()
    for change in (strip.hide, strip.show, strip.end):
        change()
        settle()
        places.add(window.welcome.sample.mapTo(window, QPoint()).toTuple())
    assert len(places) == 1


def look(qtbot: QtBot, window: MainWindow) -> None:
    with qtbot.waitSignal(window.welcome.found):
        window.welcome.look()


def take(qtbot: QtBot, window: MainWindow, folder: Path) -> None:
    """Choose a folder as the file dialog would tell it, and wait until it was looked at."""
    changer = window.welcome.place.changer
    press(qtbot, window, "place_change")
    dialog = next(dialog for dialog in window.findChildren(QFileDialog) if dialog.isVisible())
    dialog.fileSelected.emit(str(folder))
    dialog.reject()
    qtbot.waitUntil(lambda: changer.strip.isHidden())


def test_it_lies_over_the_data_tab_and_tells_of_the_machine(window: MainWindow, unexplained):
    assert window.welcome_is_open() and unexplained(window.welcome) == []
    assert all(words in texts(window.welcome) for words in ("GPU", "Memory", "50 GB free", "Fonts"))
    assert text(window, "place_path") == str(paths.usual_home())
    assert not window.welcome.area.verticalScrollBar().isVisible(), "all of it at 1280x720"


@pytest.mark.parametrize("how", ["sample", "dropped"])
def test_the_sample_or_a_dropped_file_opens_in_the_data_tab(qtbot: QtBot, window: MainWindow, rows_file, drop, how):
    data = window.page("data")
    with qtbot.waitSignal(data.idle):
        press(qtbot, window, "welcome_sample") if how == "sample" else drop(window.welcome, [rows_file])
    assert not window.welcome_is_open() and data.workspace().list.count() == 1
    assert settings.load()[0].welcomed


def test_own_data_a_tab_and_f1(qtbot: QtBot, window: MainWindow):
    press(qtbot, window, "welcome_own")
    assert window.findChild(QPushButton, "data_choose").isVisible()
    window.go_to("model")
    window.activateWindow()
    qtbot.keyClick(window, Qt.Key.Key_F1)
    press(qtbot, window.findChild(HelpDialog), "help_welcome")
    assert window.welcome_is_open()
    tabs = window.header.tabs
    qtbot.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(1).center())
    assert not window.welcome_is_open() and window.page("model").isVisible()
    window.open_settings()
    press(qtbot, window.findChild(SettingsDialog), "settings_welcome")
    assert window.welcome_is_open()
    qtbot.waitUntil(window.welcome.sample.hasFocus)
    qtbot.keyClick(window.welcome.sample, Qt.Key.Key_Escape)
    assert not window.welcome_is_open() and TABS[tabs.currentIndex()] == "model"


def test_a_machine_that_cannot_be_read_is_looked_at_again(qtbot: QtBot, window: MainWindow, monkeypatch):
    def fails() -> Found:
        raise UserError("The machine could not be read.", "A reason.", "A remedy.")

    with monkeypatch.context() as broken:
        broken.setattr(welcome, "read", fails)
        window.welcome.look()
        qtbot.waitUntil(window.welcome.banner.isVisible)
    assert window.welcome.banner.isVisible() and "GPU" not in texts(window.welcome)
    with qtbot.waitSignal(window.welcome.found):
        press(qtbot, window, "welcome_again")
    assert not window.welcome.banner.isVisible() and "GPU" in texts(window.welcome)


def test_the_facts_in_words():
    def lines(found: Found) -> dict[str, tuple[str, str]]:
        return {fact.name: (fact.kind, f"{fact.text} {fact.note}") for fact in welcome.facts(found)}

    good = lines(Found(GPU, 412 * GIB, ()))
    assert {kind for kind, _ in good.values()} == {"ok"}
    assert "RTX 3060 · 12 GB · 11.2 GB of 12 free" in good["GPU"][1]
    assert "9 GB of 16 free" in good["Memory"][1] and "412 GB" in good["Disk"][1]
    poor = lines(Found(CPU, 6 * GIB, ("Tamil",), (UserError("A note.", "Why.", "Do this."),)))
    assert [poor[name][0] for name in ("GPU", "Disk", "Fonts", "WSL")] == ["plain", "warn", "warn", "warn"]
    assert "No NVIDIA GPU. Small models can train on the processor, but slowly." in poor["GPU"][1]
    assert "Only 6 GB" in poor["Disk"][1] and "Tamil" in poor["Fonts"][1] and "Do this." in poor["WSL"][1]


def test_another_place_is_in_force_at_once(qtbot: QtBot, window: MainWindow, fresh: Session, tmp_path: Path):
    (paths.home() / "chats").mkdir(parents=True)
    (paths.home() / "chats" / "a.json").write_text("{}")
    take(qtbot, window, tmp_path / "new")
    assert paths.runs_dir() == tmp_path / "new" / "runs"
    assert text(window, "place_path") == str(tmp_path / "new")
    assert "chats" in text(window, "place_note")
    assert paths.settings_file().is_file()
    Settings(theme="dark", welcomed=True).save()
    take(qtbot, window, paths.usual_home())
    take(qtbot, window, tmp_path / "new")
    assert (fresh.settings.theme, theme.THEME.dark) == ("dark", True), "a place brings its own settings"


def test_a_place_that_cannot_be_used_is_refused_in_words(qtbot: QtBot, window: MainWindow, fresh: Session, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("x")
    banner = window.welcome.place.changer.banner
    take(qtbot, window, tmp_path / "photos")
    assert "other files" in banner.error.what and banner.isVisible()
    fresh.set_job(JobStatus("Training pune-helpdesk"))
    take(qtbot, window, tmp_path / "new")
    assert "pune-helpdesk" in banner.error.why
    assert paths.home() == paths.usual_home()


def test_a_doubtful_place_is_asked_about(qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(disk_space, "free", lambda path: 5 * GIB)
    changer = window.welcome.place.changer
    for answer, expected in (("place_keep", paths.usual_home()), ("place_anyway", tmp_path / "new")):
        take(qtbot, window, tmp_path / "new")
        assert changer.question.isVisible() and "5 GB" in changer.doubts.text()
        press(qtbot, window, answer)
        qtbot.waitUntil(lambda: changer.strip.isHidden())
        assert paths.home() == expected and not changer.question.isVisible()


def test_a_place_that_the_environment_names_is_not_changed_here(qtbot: QtBot, session: Session):
    dialog = SettingsDialog(session)
    qtbot.addWidget(dialog)
    assert not dialog.findChild(QPushButton, "place_change").isEnabled()
    assert "SLMSTUDIO_HOME" in text(dialog, "place_note")


def test_a_missing_place_is_asked_about_before_anything_is_made(qtbot: QtBot, fresh: Session, tmp_path, unexplained):
    disk = tmp_path / "disk"
    home_folder.change(disk)
    disk.rename(tmp_path / "unplugged")

    def ask() -> PlaceMissing:
        dialog = PlaceMissing(home_folder.missing())
        qtbot.addWidget(dialog)
        dialog.open()
        return dialog

    dialog = ask()
    assert str(disk) in dialog.what.text() and unexplained(dialog) == []
    press(qtbot, dialog, "missing_again")
    assert dialog.isVisible()
    (tmp_path / "unplugged").rename(disk)
    press(qtbot, dialog, "missing_again")
    assert dialog.result() == PlaceMissing.DialogCode.Accepted and home_folder.missing() is None
    disk.rename(tmp_path / "unplugged")
    dialog = ask()
    with qtbot.waitSignal(dialog.accepted):
        dialog.changer.take(tmp_path / "other")
    assert paths.home() == tmp_path / "other"
    (tmp_path / "other").rename(tmp_path / "gone")
    press(qtbot, ask(), "missing_usual")
    assert paths.home() == paths.usual_home() and not disk.exists()


def wsl_machine(root: Path) -> Path:
    for name, content in {"proc/sys/kernel/osrelease": "5.15-microsoft-standard-WSL2", "proc/mounts": "",
                          "proc/meminfo": "MemTotal: 4194304 kB\n"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_what_differs_in_wsl_is_told_once(qtbot: QtBot, window: MainWindow, fresh: Session, tmp_path: Path):
    press(qtbot, window, "welcome_own")
    program.report_of_wsl(fresh, window, wsl_machine(tmp_path / "root"))
    qtbot.waitUntil(lambda: window.banner.isVisible())
    assert len(window.banner.error.problems) == 2 and ".wslconfig" in str(window.banner.error)
    window.banner.clear()
    assert settings.load()[0].told == ["wsl_no_driver", "wsl_little_memory"]
    program.report_of_wsl(fresh, window, wsl_machine(tmp_path / "root"))
    assert tasks.shut_down(60_000)
    assert not window.banner.isVisible()
