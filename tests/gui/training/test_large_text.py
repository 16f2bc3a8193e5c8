"""Large text and tall letters in the Training tab: nothing is cut."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QScrollArea, QWidget
from support.shown_texts import cut
from support.window import settle, show_widget

from slmstudio.core import i18n
from slmstudio.core.data import reader
from slmstudio.core.errors import UserError
from slmstudio.core.jobs.job import Outcome
from slmstudio.core.model import facts
from slmstudio.core.run.history import RunHistory
from slmstudio.gui.common import theme
from slmstudio.gui.training.run_feed import RunFeed
from slmstudio.gui.training.run_panel import RunPanel

PLAN = {"type": "plan", "time": 1.0, "total_steps": 40, "trainable_parameters": 4_884_480, "parameters": 139_399_488,
        "train_rows": 270}
ENDS = [Outcome("finished", result={"train_loss_first": 2.0, "train_loss_last": 1.5, "stopped_early": True}),
        Outcome("failed", UserError("Memory ran out on the GPU.", "The batch needs 13 GB; 11.2 GB are free.",
                                    "Lower the micro-batch size from 4 to 2.").to_dict(), "Traceback …")]


def history() -> RunHistory:
    made = RunHistory()
    for event in (PLAN, {"type": "step", "global_step": 20, "train_loss": 1.5}):
        made.add(event)
    return made


@pytest.mark.parametrize("outcome", ENDS, ids=[each.state for each in ENDS])
def test_how_a_run_ended_is_not_cut_where_text_is_large(qtbot, qapp, session, outcome):
    theme.apply(qapp, "light", 200)
    try:
        panel, area = RunPanel(), QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(panel)
        show_widget(qtbot, area, 700, 420)
        panel.begin("helpdesk", history())
        panel.end(outcome, history(), resumable=not outcome.was_successful())
        early = "Stopped early at step 20 of 40: eval loss no longer fell."
        assert (early in panel.end_row.note.text()) == outcome.was_successful()
        qtbot.waitUntil(lambda: panel.plots is not None and not any(cut(panel)))
    finally:
        theme.apply(qapp, "light", 100)


@pytest.mark.parametrize("language", ["en", "hi"])
def test_large_text_needs_no_scrolling_sideways(qtbot, qapp, session, tiny_model, rows_file, language, request):
    """A plan, a run whose times are long, and how it ended."""
    i18n.use(language)
    try:
        window = request.getfixturevalue("main_window")
        page = window.page("training")
        session.set_model(facts.read_model(tiny_model))
        session.set_dataset(reader.read_dataset(rows_file))
        window.go_to("training")
        theme.apply(qapp, "light", 150)
        widths = [page.minimumSizeHint().width()]
        qtbot.waitUntil(lambda: page.planning.config is not None and not page.planning.is_busy(), timeout=20_000)
        page._pages.show_plan(False)
        page.run.begin("helpdesk " * 9, history())
        qtbot.waitUntil(lambda: page.run.plots is not None)
        page.run.clock.setText("epoch 12.5 · 11 h 57 min elapsed · about 10 h 35 min of work left")
        settle()
        widths.append(page.minimumSizeHint().width())
        view = page.findChild(QWidget, "training_view")
        parts = page.run, page.watch, page.feed
        for shown in (2, 1, 0):
            view.set_current(shown)
            assert [each.isVisible() for each in parts] == [place == shown for place in range(3)]
        page.run.end(ENDS[0], history(), resumable=False)
        settle()
        widths.append(page.minimumSizeHint().width())
        assert max(widths) <= 1280 - 20, "beside a scroll bar"
        i18n.use("en")  # a font goes with the language
        theme.apply(qapp, "light", 100)
        settle()
        assert page.watch.isVisible() and page.run.isVisible() and not view.isVisible(), "side by side"
    finally:
        i18n.use("en")
        theme.apply(qapp, "light", 100)


def test_a_wrapped_line_of_tall_letters_is_not_left_out(qtbot, session):
    i18n.use("hi")
    try:
        feed = show_widget(qtbot, RunFeed(), 270, 260)
        feed.update_from(history())
    finally:
        i18n.use("en")
    place = feed.feed_view.visualRect(feed.feed.index(0))
    image = feed.feed_view.viewport().grab(place.adjusted(0, place.height() * 3 // 4, 0, 0)).toImage()
    ground = image.pixel(image.width() - 1, 0)
    assert place.height() > 30, "two lines"
    assert any(image.pixel(x, y) != ground for x in range(image.width()) for y in range(image.height()))
