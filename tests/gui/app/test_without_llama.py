"""The window without the chat engine: what is switched off says so, and nothing can be pressed in vain."""

from __future__ import annotations

import sys
from pathlib import Path

from PySide6.QtWidgets import QAbstractButton, QCheckBox, QLabel
from pytestqt.qtbot import QtBot
from support import no_llama
from support.window import show_widget

from slmstudio.core import llama, program
from slmstudio.core.export.types import OTHER_FORMATS, QUANT_TYPES
from slmstudio.core.model.facts import read_model
from slmstudio.gui.chat.tab import ChatTab
from slmstudio.gui.common.session import Session
from slmstudio.gui.export.panel import ExportChoice


def test_chat_explains_itself_until_the_engine_is_there(qtbot: QtBot, session: Session, no_engine: None, monkeypatch):
    tab = show_widget(qtbot, ChatTab(session), 1180, 560)
    shown = " ".join(label.text() for label in tab.findChildren(QLabel) if label.isVisible())
    assert "Chat is switched off" in shown and llama.trouble().what in shown and program.setup_command() in shown
    assert [button for button in tab.findChildren(QAbstractButton) if button.isVisible()] == []
    tab.open_models([Path("a.gguf")])
    tab.choose_files()
    assert tab.panes[0].lane.model == "" and tab.off.isVisible() and not tab.acceptDrops()

    monkeypatch.setattr(sys, "meta_path", [no_llama.Found, *sys.meta_path])
    tab.hide()
    tab.show()
    assert tab.middle.isVisible() and tab.saved.isVisible() and not tab.off.isVisible()


def test_a_run_is_talked_to_without_the_engine(qtbot: QtBot, session: Session, no_engine: None, chat_tab: ChatTab,
                                               make_run, tiny_model: Path):
    run = make_run("helpdesk")
    (run / "exports").mkdir()
    (run / "exports" / "helpdesk-Q8_0.gguf").write_bytes(b"GGUF")
    session.settings.chat_with = "gguf"
    chat_tab.hide()
    chat_tab.show()
    assert chat_tab.off.isVisible(), "no run has been found yet"
    qtbot.waitUntil(chat_tab.middle.isVisible)
    assert chat_tab.choices[0].models() == [run, tiny_model] and not chat_tab.off.isVisible()
    assert chat_tab.choices[0].findText("Open a GGUF file…") < 0
    session.open_run_chat(run)
    panes = chat_tab.lanes.panes
    qtbot.waitUntil(lambda: len(panes()) == 2 and all(pane.state == "ready" for pane in panes()))
    assert [pane.lane.model for pane in panes()] == [str(run), str(tiny_model)]
    session.open_chat([run / "exports" / "helpdesk-Q8_0.gguf"])
    assert chat_tab.banner.error.what == llama.trouble().what and len(panes()) == 2


def test_exports_for_other_programs_can_be_chosen_and_no_gguf(qtbot: QtBot, session: Session, no_engine: None,
                                                             tiny_model: Path):
    choice = ExportChoice()
    qtbot.addWidget(choice)
    choice.show()
    choice.show_facts(read_model(tiny_model), has_adapter=True)
    assert choice.names() == []
    for kind in QUANT_TYPES:
        assert not choice.findChild(QCheckBox, f"type_{kind.name}").isVisible()
    for other in OTHER_FORMATS:
        box = choice.findChild(QCheckBox, f"type_{other.name}")
        assert box.isVisible() and box.isEnabled()
    reason = choice.findChild(QLabel, "export_no_engine")
    assert reason.isVisible() and reason.text() == str(llama.trouble())
