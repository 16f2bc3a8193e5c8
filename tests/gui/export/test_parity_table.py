"""The small table of a proof below the exports of a run."""

from __future__ import annotations

from PySide6.QtCore import Qt

from slmstudio.gui.common.widgets.table_cells import CHIP, DETAIL
from slmstudio.gui.export.exports_table import ParityTable

CHECK, FOUND, RESULT = range(3)

CHECKS = [
    {"name": "tokens", "passed": True, "figure": "2,104 of 2,104", "limit": "all", "remedy": ""},
    {"name": "nmse", "passed": False, "figure": "3.2e-02", "limit": "under 0.0001",
     "remedy": "The logits differ: 3.2e-02, and right is under 0.0001. Export it again."},
    {"name": "top1", "passed": True, "figure": "96.8%", "limit": "shown only", "remedy": ""},
    {"name": "perplexity", "passed": None, "figure": "not measured", "limit": "", "remedy": ""},
    {"name": "of a newer version", "passed": True, "figure": "1", "limit": "1", "remedy": ""},
]


def cells(table: ParityTable) -> list[list[str]]:
    model = table.table.model()
    return [[model.index(row, column).data() for column in (CHECK, FOUND, RESULT)]
            for row in range(model.rowCount())]


def test_every_check_with_its_figure_and_result(qtbot) -> None:
    table = ParityTable()
    qtbot.addWidget(table)
    assert table.isHidden()
    table.show_parity({"passed": False, "checks": CHECKS})
    assert not table.isHidden()
    assert cells(table) == [
        ["Token ids equal", "2,104 of 2,104", "passed"],
        ["Error of the logits (NMSE)", "3.2e-02", "failed"],
        ["Same first choice (top-1)", "96.8%", "no limit"],
        ["Change of perplexity", "not measured", "not checked"],
        ["of a newer version", "1", "passed"]]
    model = table.table.model()
    assert [model.index(row, RESULT).data(CHIP) for row in range(5)] == ["ok", "bad", "plain", "plain", "ok"]
    assert [model.index(row, CHECK).data(DETAIL) for row in range(5)] == [
        "must be equal in all of them", "must be under 0.0001", "no limit: smaller files differ", None, "must be 1"]
    tips = [model.index(row, CHECK).data(Qt.ItemDataRole.ToolTipRole) for row in range(2)]
    assert "scripts" in tips[0] and CHECKS[1]["remedy"] in tips[1] and "0 means equal" in tips[1]
    for column, word in ((CHECK, "trained"), (RESULT, "No limit: a smaller file")):
        assert word in model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert model.index(1, CHECK).data(Qt.ItemDataRole.AccessibleTextRole) == "Error of the logits (NMSE): failed"
    assert table.remedy.text() == CHECKS[1]["remedy"] and not table.remedy.isHidden()


def test_a_file_of_an_older_version_has_no_table(qtbot) -> None:
    table = ParityTable()
    qtbot.addWidget(table)
    table.show_parity({"passed": True, "checks": CHECKS[:1]})
    assert table.remedy.isHidden()
    table.show_parity({"passed": True, "verdict": "Same tokens."})
    assert table.isHidden() and cells(table) == []
    table.show_parity({"checks": "damaged"})
    assert table.isHidden()
