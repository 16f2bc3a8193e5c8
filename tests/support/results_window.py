"""Drives the Results tab as a person would."""

from __future__ import annotations

from typing import Any

from slmstudio.gui.results.tab import ResultsTab


def show(qtbot: Any, tab: ResultsTab, runs: int) -> None:
    """Show the tab, and wait until it has read so many runs."""
    tab.show()
    tab.refresh()
    qtbot.waitUntil(lambda: len(tab.table.runs.facts) == runs and not tab._loading.is_busy() and (
        tab.details._run is not None), timeout=60_000)
