"""The plots of a run, on a window that is shown."""

from __future__ import annotations

import pytest
from support.window import show_widget

from slmstudio.gui.common import theme
from slmstudio.gui.plots.run_plots import RunPlots


@pytest.fixture
def plots(qtbot, qapp):
    theme.apply(qapp, "light")
    widget = show_widget(qtbot, RunPlots(), 700, 600)
    qtbot.waitUntil(lambda: widget.is_drawn())
    return widget
