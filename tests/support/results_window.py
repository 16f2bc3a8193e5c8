"""Drives the Results tab as a person would."""

from __future__ import annotations

from typing import Any

from slmstudio.gui.common.tasks import is_busy
from slmstudio.gui.results.tab import ResultsTab


def show(qtbot: Any, tab: ResultsTab, runs: int) -> None:
    """Show the tab, and wait until it has read so many runs."""
    tab.show()
    tab.refresh()
    qtbot.waitUntil(lambda: len(tab.table.runs.facts) == runs and not is_busy(tab) and (
        tab.details.title.text() != " "), timeout=60_000)


def compared(tab: ResultsTab) -> list[str]:
    """Names of the runs that are compared."""
    return tab.curves.compare.settings.figures.headers[1:]
