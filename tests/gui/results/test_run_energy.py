"""A finished run's energy, cost, CO2 and heat in the Results tab."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QLabel
from support.report_run import ReportRun, finished

from slmstudio.core.run import folder
from slmstudio.core.run.energy.tariff import tariff
from slmstudio.core.settings import Settings
from slmstudio.gui.results import columns, run_facts
from slmstudio.gui.results.run_details import RunOverview


@pytest.fixture
def overview(qtbot, qapp) -> RunOverview:
    made = RunOverview()
    qtbot.addWidget(made)
    return made


def lines(overview: RunOverview) -> list[str]:
    return [label.text() for label in overview.findChildren(QLabel) if not label.isHidden()]


def test_one_line_each(overview, tmp_path):
    overview.show_run(folder.summarise(finished(tmp_path).folder), tariff(Settings(), "IN"))
    shown = lines(overview)
    assert "0.254 Wh (0.167 Wh measured, the rest estimated)" in shown
    assert any(line.startswith("₹0.0018 at ₹7.12 per kWh (") for line in shown)
    assert any(line.startswith("0.185 g at 727 g per kWh (India's grid 2023-24") for line in shown)


def test_no_price_says_where_it_is_set_and_no_reading_says_nothing(overview, tmp_path):
    overview.show_run(folder.summarise(finished(tmp_path).folder), tariff(Settings(), ""))
    assert "not known: Settings has no electricity price" in lines(overview)
    bare = ReportRun(tmp_path / "bare")
    bare.start()
    bare.learn(1, 5)
    overview.show_run(folder.summarise(bare.folder), tariff(Settings(), "IN"))
    assert not [line for line in lines(overview) if "kWh" in line or " Wh" in line]


def test_the_table_of_runs_can_show_and_sort_it(qapp, tmp_path):
    value = run_facts.read_facts(finished(tmp_path).folder).values["joules"]
    assert value == pytest.approx(915.1, abs=0.5)
    assert (columns.title("joules"), columns.csv_title("joules"), columns.cell("joules", value)) == (
        "Energy", "Energy (J)", "0.254 Wh")
    assert "joules" in columns.known_columns([])


def test_what_the_guard_did_is_told_and_can_be_sorted_by(overview, qapp, tmp_path):
    run = ReportRun(tmp_path / "hot")
    run.start()
    run.learn(1, 5)
    run.tell("guard_rest", global_step=5, why="heat", message="Hot.")
    run.tell("guard_resume", global_step=5, why="heat", seconds=840.0, message="Cool.")
    run.tell("sensors", gpus=[{"temperature_c": 81}, {"temperature_c": 76}])
    summary = folder.summarise(run.folder)
    overview.show_run(summary, tariff(Settings(), "IN"))
    assert "Rested 14 min in 1 pause. Peak: 81 °C." in lines(overview)
    values = run_facts.read_facts(run.folder).values
    assert {key: columns.cell(key, values[key]) for key in ("rested", "peak_c")} == {
        "rested": "14 min", "peak_c": "81 °C"}
    assert {"rested", "peak_c"} <= set(columns.known_columns([]))
