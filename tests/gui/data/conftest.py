"""The Data tab on the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.data_window import HINDI, ODD
from support.workbooks import write_xlsx

from slmstudio.gui.common.session import Session
from slmstudio.gui.data.tab import DataTab


@pytest.fixture
def new_tab(qtbot, session: Session) -> Callable[..., DataTab]:
    """`new_tab(session)`: a Data tab on the screen; each call stands for another start of the program."""

    def make(of: Session = session, height: int = 620) -> DataTab:
        shown = DataTab(of)
        of.page_wanted.connect(lambda page, method, arguments: getattr(shown, method)(*arguments)
                               if page == "data" and method else None)
        shown.resize(1256, height)
        qtbot.addWidget(shown)
        with qtbot.waitActive(shown):
            shown.show()
            shown.activateWindow()
        return shown

    return make


@pytest.fixture
def tab(new_tab) -> DataTab:
    return new_tab()


@pytest.fixture
def hindi(tmp_path: Path) -> Path:
    old = [("Who?", "She."), ("Where?", "Here.")]  # without names, so that the sheet before it is clearly meant
    return write_xlsx(tmp_path / "नागरिक.xlsx", {"प्रश्न-पत्र": HINDI, "पुराना": old})


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    file = tmp_path / "odd.csv"
    file.write_text(ODD, encoding="utf-8")
    return file
