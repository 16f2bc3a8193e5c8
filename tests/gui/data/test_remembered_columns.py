"""What was said of the columns of a file holds when it is opened again, and for others like it."""

from __future__ import annotations

from support.data_window import HEAD, HINDI, ODD, SWAPPED, choose_evaluation, first, open_files, press, swap
from support.window import text
from support.workbooks import write_xlsx

from slmstudio.core import settings
from slmstudio.core.data.mapping import shapes
from slmstudio.gui.common.session import Session


def test_a_choice_is_remembered_for_the_file_and_for_others_with_its_columns(qtbot, new_tab, session, hindi, tmp_path):
    tab = new_tab()
    open_files(qtbot, tab, hindi)
    swap(qtbot, tab)
    tab.workspace().remove_current()
    open_files(qtbot, tab, hindi)
    assert first(tab)[0] == "तहसील में, काउंटर 1।", "opened again, it is read as before"

    session.settings.save()
    later = Session(settings.load()[0])
    tab = new_tab(later)
    with qtbot.waitSignal(tab.idle):
        tab.restore()
    assert first(tab)[0] == "तहसील में, काउंटर 1।" and shapes.said_of(later.settings.mappings, HEAD) == SWAPPED
    alike = write_xlsx(tmp_path / "b.xlsx", {"s": [(b, c, a) for a, b, c in HINDI]})
    open_files(qtbot, tab, alike)
    assert first(tab)[0] == "तहसील में, काउंटर 1।"
    assert text(tab, "reading_summary").startswith("Read as you chose for files with these columns.")
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab, "reading_reset")
    assert first(tab)[0] == "राशन कार्ड 1?" and later.settings.mappings == {}
    assert "chose" not in text(tab, "reading_summary")


def test_what_does_not_fit_a_changed_file_any_more_is_said(qtbot, new_tab, session, odd):
    tab = new_tab()
    open_files(qtbot, tab, odd)
    qtbot.waitUntil(tab.pages.asking.use.isEnabled)
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab.pages.asking, "question_use")
    odd.write_text("question,answer\nWho?,She.\n", encoding="utf-8")
    session.settings.save()
    tab = new_tab(Session(settings.load()[0]))
    with qtbot.waitSignal(tab.idle):
        tab.restore()
    assert first(tab) == ["Who?", "She."] and "no longer fit the file" in str(tab.banner.error)


def test_what_was_said_of_evaluation_rows_holds_in_the_next_sitting(qtbot, new_tab, session, odd):
    """Their columns tell nothing, and have other names than those that are learned."""
    test, rows = odd.with_name("test.csv"), odd.with_name("rows.csv")
    test.write_text(ODD, encoding="utf-8")
    rows.write_text("question,answer\n" + "Who?,She.\n" * 4, encoding="utf-8")
    tab = new_tab()
    open_files(qtbot, tab, rows)
    choose_evaluation(qtbot, tab, test)
    qtbot.waitUntil(tab.pages.asking.use.isEnabled)
    with qtbot.waitSignal(tab.idle):
        press(qtbot, tab.pages.asking, "question_use")
    assert tab.workspace().entry.eval_dataset.path == test
    session.settings.mappings = {}  # another file with these columns said otherwise since
    session.settings.save()
    tab = new_tab(Session(settings.load()[0]))
    with qtbot.waitSignal(tab.idle):
        tab.restore()
    entry = tab.workspace().entry
    assert entry.eval_dataset.given == {"instruction": "Fld 1", "output": "Fld-2"}
    assert tab.banner.error is None
