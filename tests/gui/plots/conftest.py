"""The plots of a run, on a window that is shown."""

from __future__ import annotations

import pytest

from slmstudio.gui.common import theme
from slmstudio.gui.plots.run_plots import RunPlots


@pytest.fixture
def plots(qtbot, qapp):
    theme.apply(qapp, "light")
    widget = RunPlots()
    qtbot.addWidget(widget)
    widget.resize(700, 600)
    with qtbot.waitExposed(widget):
        widget.show()
    qtbot.waitUntil(lambda: len(widget.small) == 9 and widget.is_drawn())
    return widget
