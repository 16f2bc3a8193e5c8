"""What the page says, as its reader sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.report_checks import Page
from support.report_run import ReportRun, finished

from slmstudio.core.report.gather import gather
from slmstudio.core.report.page import render


@pytest.fixture
def page() -> Callable[[Path], Page]:
    """The report of a run folder."""
    return lambda folder: Page(render(gather(folder)))


@pytest.fixture
def run(tmp_path: Path) -> ReportRun:
    """A whole run with a GPU."""
    return finished(tmp_path)
