"""Chat with a finished run: at once beside its base, or by a GGUF file that is made first."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import evaluated_runs

from slmstudio.core.chat import partners
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import rivals
from slmstudio.core.jobs.job import Job
from slmstudio.gui.chat.tab import ChatTab


def opened(qtbot, tab: ChatTab, count: int) -> list[str]:
    """The models that were opened, once all of them are ready."""
    qtbot.waitUntil(lambda: tab.lanes.count == count and all(pane.state == "ready" for pane in tab.lanes.panes()))
    return [pane.lane.model for pane in tab.lanes.panes()]


def test_a_run_is_opened_beside_its_base(qtbot, chat_tab, session, make_run, tiny_model):
    run = make_run("helpdesk")
    session.open_run_chat(run)
    assert opened(qtbot, chat_tab, 2) == [str(run), str(tiny_model)]
    chat_tab.hide()
    chat_tab.show()  # what there is to choose is read again
    qtbot.waitUntil(lambda: chat_tab.choices[0].currentText() == "helpdesk")


def test_chat_says_that_a_run_answers_as_it_was_kept_after_an_evaluation(qtbot, chat_tab, session, make_run):
    run = make_run("helpdesk")
    evaluated_runs.write(run, models=("base", "tuned", "prompt"))
    rivals.keep(run, run / "jobs" / "evaluate-1", "prompt")
    session.open_chat([run])
    opened(qtbot, chat_tab, 1)
    chip = chat_tab.panes[0].kept
    qtbot.waitUntil(chip.isVisible)
    assert chip.text() == "Prompt" and chip.toolTip()
    chat_tab.panes[0].set_masked(True)
    assert not chip.isVisible(), "it would tell which model this is"
    rivals.keep(run, None, "tuned")
    chat_tab.panes[0].set_masked(False)
    chat_tab.panes[0].reload()
    qtbot.waitUntil(lambda: chat_tab.panes[0].state == "ready")
    assert not chip.isVisible()


def test_a_run_that_has_just_ended_is_opened_with_the_tab(qtbot, chat_tab, session, make_run):
    older, run = make_run("older"), make_run("helpdesk")
    session.open_run_chat(older)
    opened(qtbot, chat_tab, 2)
    session.run = Job(run)
    chat_tab.hide()
    chat_tab.show()
    qtbot.waitUntil(lambda: chat_tab.panes[0].lane.model == str(run))


def test_beside_a_run_or_its_newest_export_stands_the_base_where_memory_allows(make_run, tiny_model, monkeypatch):
    run = make_run("helpdesk")
    (run / "exports").mkdir()
    (run / "exports" / "helpdesk-Q8_0.gguf").write_bytes(b"GGUF")
    assert partners.of_run(run) == [run / "exports" / "helpdesk-Q8_0.gguf", tiny_model]
    assert partners.without_export() == []
    (run / "exports" / "helpdesk-Q8_0.gguf").unlink()
    monkeypatch.setattr(partners, "free_bytes", lambda: 1000)
    assert partners.of_run(run) == [run]


def test_a_file_is_made_first_where_the_person_wants_one(qtbot, chat_tab, session, make_run, play):
    run = make_run("helpdesk")
    session.settings.chat_with = "gguf"
    play("start export")
    session.open_run_chat(run)
    first = Path(opened(qtbot, chat_tab, 2)[0])
    assert first.parent == run / "exports" and first.name.endswith("Q8_0.gguf")
    assert chat_tab.opening.isHidden()


def test_of_two_runs_the_last_that_was_asked_for_is_opened(qtbot, chat_tab, session, make_run, play):
    first, second = make_run("first"), make_run("second")
    session.settings.chat_with = "gguf"
    play("start export")
    session.open_run_chat(first)
    session.open_run_chat(second)
    assert Path(opened(qtbot, chat_tab, 2)[0]).parent == second / "exports"
    assert not (first / "exports").exists()


def test_the_file_that_is_made_is_seen_in_the_status_bar_and_another_run_waits(qtbot, chat_tab, session, make_run,
                                                                               play):
    run, other = make_run("helpdesk"), make_run("other")
    session.settings.chat_with = "gguf"
    play("start wait:cancel cancelled")
    session.open_run_chat(run)
    qtbot.waitUntil(lambda: session.job is not None)
    assert session.job.name == "Exporting helpdesk" and chat_tab.opening.isVisible()
    session.open_run_chat(other)
    assert "helpdesk" in chat_tab.banner.error.what, "one after the other"
    chat_tab.opening.cancel.click()
    qtbot.waitUntil(chat_tab.opening.isHidden)
    assert session.job is None and not chat_tab.opening.followed.is_running()
    play("start export")
    session.open_run_chat(other)
    assert Path(opened(qtbot, chat_tab, 2)[0]).parent == other / "exports"


def test_a_run_without_a_result_is_refused(qtbot, chat_tab, session, make_run):
    run = make_run("helpdesk")
    (run / "adapter").rmdir()
    session.open_run_chat(run)
    qtbot.waitUntil(lambda: chat_tab.banner.error is not None)
    with pytest.raises(UserError):
        partners.of_run(run)
