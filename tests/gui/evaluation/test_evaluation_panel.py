"""Starting an evaluation in the Results tab, and following it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QMessageBox, QPushButton, QScrollArea
from support import evaluated_runs
from support.window import press

from slmstudio.core import files, jobs, paths
from slmstudio.core.evaluation import benchmark_store
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.jobs.job import Job
from slmstudio.core.model.facts import read_model
from slmstudio.core.run import folder, measured, time_estimate
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.time_estimate import Timing
from slmstudio.gui.evaluation.choice import BENCHMARK, FILE
from slmstudio.gui.evaluation.jobs import read_evaluation
from slmstudio.gui.results.run_details import OVERVIEW, SCORES
from slmstudio.gui.results.tab import ResultsTab


@pytest.fixture
def run(studio_home, tiny_model, write_rows):
    """The folder of a run that learned 40 rows and held some out."""
    rows = [{"instruction": f"Where is form {number}?", "output": f"At window {number}."} for number in range(40)]
    job = folder.create(RunConfig(name="helpdesk", model=str(tiny_model), train_file=str(write_rows("t.jsonl", rows)),
                                  eval_fraction=0.2))
    (job.folder / "adapter").mkdir()
    (job.folder / "adapter" / "adapter_config.json").write_text("{}")
    jobs.write_outcome(job.folder, jobs.Outcome("finished"))
    return job.folder


@pytest.fixture
def tab(qtbot, session, run):
    made = ResultsTab(session)
    qtbot.addWidget(made)
    made.resize(1280, 640)
    made.show()
    qtbot.waitUntil(lambda: made.details.title.text() != " ")
    yield made
    thread = made.details.evaluation.running.followed.thread
    if thread is not None:
        thread.end_now()
        thread.wait()


@pytest.fixture
def panel(qtbot, tab):
    """The panel, open, with what can be evaluated."""
    press(qtbot, tab, "results_evaluate")
    found = tab.details.evaluation.panel
    qtbot.waitUntil(lambda: found.isVisible() and found.button.isEnabled())
    return found


def test_one_button_comes_next(qtbot, tab, panel):
    kinds = [each.property("kind") for each in (panel.button, tab.details.buttons.chat)]
    assert kinds == ["primary", "plain"]
    press(qtbot, tab, "evaluation_close")
    verdict = tab.details.evaluation.scores.verdict
    qtbot.waitUntil(lambda: bool(verdict.buttons))
    assert [each.property("kind") for each in (verdict.buttons[0], tab.details.buttons.chat)] == ["primary", "plain"]
    tab.details.tabs.set_current(OVERVIEW)
    assert tab.details.buttons.chat.property("kind") == "primary"


def made_job(run) -> Job:
    (made,) = [each for each in (run / "jobs").iterdir() if each.is_dir()]
    return Job(made)


def test_the_held_out_rows_are_proposed_and_followed(qtbot, tab, panel, run, play, session):
    assert panel.choice.names() == ["base", "tuned"] and "8" in panel.choice.limit_label.text()
    assert panel.estimate.text().startswith("16 answers: "), "the first one has a time too"
    play("start wait:cancel cancelled")
    press(qtbot, tab, "evaluation_start")
    running = tab.details.evaluation.running
    qtbot.waitUntil(lambda: running.is_running() and running.isVisible() and not panel.isVisible())
    request = made_job(run).request()
    assert request["kind"] == "evaluate" and [model["name"] for model in request["models"]] == ["base", "tuned"]
    assert "held-out" in request["test"] and request["train_split"]["eval_fraction"] == 0.2
    qtbot.waitUntil(lambda: running.followed.history.phase == "starting")
    press(qtbot, tab, "evaluation_cancel")
    qtbot.waitUntil(lambda: not running.is_running())
    assert session.job is None and not running.banner.isVisible()
    qtbot.waitUntil(lambda: tab.details.evaluation.scores.cut_off.isVisible())
    play("start wait:cancel cancelled")
    press(qtbot, tab, "evaluation_go_on")
    qtbot.waitUntil(running.is_running)
    assert made_job(run).folder == running.followed.job.folder, "it continues in the same folder"


def test_nothing_of_the_panel_is_cut_off(qtbot, tab, panel):
    """In the smallest window, with each source, and with a benchmark whose name is typed."""
    area = next(each for each in tab.details.findChildren(QScrollArea) if each.isAncestorOf(panel))
    panel.choice.judge.wanted.setChecked(True)
    panel.choice.more.setChecked(True)
    for source in (FILE, BENCHMARK):
        panel.choice.source.set_current(source)
        for place in range(panel.choice.benchmark.count() if source == BENCHMARK else 1):
            panel.choice.benchmark.setCurrentIndex(place)
            panel.choice.set_found("Some rows.")
            assert panel.minimumSizeHint().width() <= area.viewport().width()


def test_progress_time_left_pause_and_resume(qtbot, tab, panel, run, play):
    event = json.dumps({"type": "progress", "phase": "answering", "done": 30, "total": 80, "unit": "answers",
                        "seconds_left": 95.0}, separators=(",", ":"))
    paused, resumed = (f'event:{{"type":"{kind}"}}' for kind in ("paused", "resumed"))
    phase = '{"type":"phase","phase":"answering","detail":"tuned"}'
    play(f"start event:{phase} event:{event} wait:pause {paused} wait:resume {resumed} event:{event} wait:cancel "
         "cancelled")
    press(qtbot, tab, "evaluation_start")
    running = tab.details.evaluation.running
    qtbot.waitUntil(lambda: "about 2 min left" in running.strip.detail.text())
    assert "30 of 80" in running.strip.detail.text() and "tuned" in running.strip.label.text()
    for label in (running.strip.label, running.strip.detail):
        assert label.shown_text() == label.text(), "nothing is cut"
    press(qtbot, tab, "evaluation_pause")
    qtbot.waitUntil(lambda: running.pause.text() == "Resume" and running.pause.isEnabled())
    assert running.strip.label.text() == "Paused" and "left" not in running.strip.detail.text()
    press(qtbot, tab, "evaluation_pause")
    qtbot.waitUntil(lambda: running.pause.text() == "Pause" and "left" in running.strip.detail.text())


def test_the_scores_of_the_evaluation_that_has_ended_are_shown(qtbot, tab, run, play):
    evaluated_runs.write(run, "evaluate-1")
    tab.refresh()
    scores = tab.details.evaluation.scores
    qtbot.waitUntil(lambda: scores.current() is not None)
    job = evaluated_runs.write(run, "evaluate-2", finished=False)
    (job.folder / jobs.OUTCOME).unlink()
    play("start cancelled")
    scores.go_on.emit(read_evaluation(job.folder))
    qtbot.waitUntil(lambda: scores.current().folder == job.folder)


def test_a_failed_evaluation_says_why_where_it_failed(qtbot, tab, panel, play):
    play("start error")
    press(qtbot, tab, "evaluation_start")
    banner = tab.details.evaluation.running.banner
    qtbot.waitUntil(banner.isVisible)
    assert "Memory ran out" in banner.error.what


def test_one_at_work_is_followed_when_the_window_opens_again(qtbot, session, run, play):
    play("start wait:cancel cancelled")
    job = evaluated_runs.write(run, finished=False)
    (job.folder / jobs.OUTCOME).unlink()
    job.start()
    again = ResultsTab(session)
    qtbot.addWidget(again)
    again.show()
    running = again.details.evaluation.running
    qtbot.waitUntil(running.is_running)
    assert running.followed.job.folder == job.folder
    running.followed.thread.end_now()
    qtbot.waitUntil(lambda: not running.is_running())


def test_a_dropped_file_is_looked_into(qtbot, tab, panel, write_rows, drop):
    rows = [{"instruction": f"What is {n} + {n}?", "output": f"It is #### {2 * n}"} for n in range(3)] + ["{broken"]
    drop(panel.choice, [write_rows("sums.jsonl", rows)])
    assert panel.choice.source.current() == FILE
    qtbot.waitUntil(lambda: "1 row can't be used" in panel.choice.found.text())
    assert panel.choice.limit_label.text() == "of 3" and "3 rows can only show" in panel.warnings.text.text()
    assert "line 4" in panel.warnings.text.text(), "what is left out is named"
    assert panel.choice.apply(panel.offer.request)["test"].endswith("sums.jsonl")


def test_the_columns_of_a_file_that_does_not_tell_are_asked_for(qtbot, tab, panel, write_rows):
    rows = [{"c1": f"Which office in {place} gives out a certificate of birth?", "c2": place,
             "c3": f"The municipal office of {place} gives it out within seven days."}
            for place in ("Goa", "Pune", "Surat", "Delhi", "Mysuru", "Indore")]
    choice = panel.choice
    choice.set_path(write_rows("offices.jsonl", rows))
    qtbot.waitUntil(lambda: "instruction=c1,output=c3" in panel.warnings.text.text())
    assert choice.columns.isVisible()
    choice.columns.setText("instruction=c1,output=c3")
    choice.columns.editingFinished.emit()
    qtbot.waitUntil(lambda: "under Columns" not in panel.warnings.text.text())
    assert choice.apply(panel.offer.request)["test_columns"] == "instruction=c1,output=c3"


def test_a_file_that_is_no_test_set_is_refused_in_the_panel(qtbot, tab, panel, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    panel.choice.set_path(empty)
    qtbot.waitUntil(panel.banner.isVisible)
    assert not panel.button.isEnabled()


def test_rows_that_were_learned_are_told_before_the_start(qtbot, panel, run, write_rows):
    learned = Path(files.read_json(run / jobs.RUN)["train_file"]).read_text(encoding="utf-8").splitlines()
    panel.choice.set_path(write_rows("tests.jsonl", learned))
    qtbot.waitUntil(lambda: "was trained on" in panel.warnings.text.text() or (
        "training file itself" in panel.warnings.text.text()))
    assert panel.warnings.isVisible() and panel.button.isEnabled(), "the person decides"


def test_another_model_a_judge_and_a_system_prompt_go_into_the_request(qtbot, tab, panel, run, tiny_model, play):
    choice = panel.choice
    choice.models.picker.pick(tiny_model)
    qtbot.waitUntil(lambda: choice.names() == ["base", "tuned", tiny_model.name])
    choice.models.picker.pick(run)
    qtbot.waitUntil(lambda: len(choice.names()) == 4)
    choice.models.boxes["helpdesk"].setChecked(False)
    choice.judge.wanted.setChecked(True)
    assert not panel.button.isEnabled() and "Choose the judge" in panel.estimate.text()
    choice.judge.model.pick(tiny_model)
    choice.judge.rubric.setPlainText("Right, and in Hindi.")
    choice.more.setChecked(True)
    choice.fields.system.setText("Answer in Hindi.")
    choice.fields.seed.setValue(7)
    assert panel.button.isEnabled()
    play("start wait:cancel cancelled")
    press(qtbot, tab, "evaluation_start")
    qtbot.waitUntil(tab.details.evaluation.running.is_running)
    request = made_job(run).request()
    assert [model["name"] for model in request["models"]] == ["base", "tuned", tiny_model.name]
    assert request["judge"]["model"] == str(tiny_model) and request["judge"]["rubric"] == "Right, and in Hindi."
    assert (request["system"], request["seed"]) == ("Answer in Hindi.", 7)


def test_one_evaluation_at_a_time_and_the_panel_says_of_which(qtbot, tab, panel, run, play):
    other = evaluated_runs.ended_run("other", run)
    job = evaluated_runs.write(other, finished=False)
    play("start wait:cancel cancelled")
    tab.details.evaluation.running.follow("other", job, start_worker=True)
    tab.refresh()
    qtbot.waitUntil(lambda: not panel.button.isEnabled())
    assert not panel.button.isEnabled() and "An evaluation of other is running" in panel.estimate.text()
    tab.details.evaluation.running.cancel()
    qtbot.waitUntil(lambda: panel.button.isEnabled())


def test_rivals_are_asked_with_the_prompt_that_is_written_here(qtbot, tab, panel, run, play, unexplained):
    rivals = panel.choice.rivals
    assert not rivals.system.isVisible() and rivals.times["examples"].text() and not unexplained(rivals)
    for name in ("prompt", "examples", "tuned_retrieval"):
        press(qtbot, tab, f"rival_{name}")
    assert rivals.system.isVisible() and not rivals.prompt(), "this run has kept no rows from which to propose one"
    assert not panel.button.isEnabled() and "system prompt" in panel.estimate.text()
    rivals.system.setPlainText("Name the window.")
    assert panel.estimate.text().startswith("40 answers: ")
    press(qtbot, tab, "evaluate_tuned")
    assert not panel.button.isEnabled() and "Tuned" in panel.estimate.text()
    press(qtbot, tab, "evaluate_tuned")
    play("start wait:cancel cancelled")
    press(qtbot, tab, "evaluation_start")
    qtbot.waitUntil(tab.details.evaluation.running.is_running)
    models = {model["name"]: model for model in made_job(run).request()["models"]}
    assert list(models) == ["base", "tuned", "prompt", "examples", "tuned_retrieval"]
    assert models["examples"]["system"] == models["prompt"]["system"] == "Name the window."
    assert models["tuned_retrieval"]["adapter"] == models["tuned"]["adapter"]
    assert models["tuned_retrieval"]["context"]["kind"] == "retrieval"


def test_a_dropped_path_that_is_no_model_is_refused(qtbot, panel, tmp_path, drop):
    drop(panel.choice, [tmp_path])
    qtbot.waitUntil(panel.banner.isVisible)
    assert panel.choice.names() == ["base", "tuned"] and panel.button.isEnabled()


def test_a_benchmark_without_its_folder_cannot_start(qtbot, tab, panel, run, tmp_path):
    panel.choice.source.set_current(BENCHMARK)
    assert not panel.button.isEnabled()
    panel.choice.set_path(tmp_path)
    request = panel.choice.apply(panel.offer.request)
    assert request["benchmark"] == {"name": "mmlu", "data": str(tmp_path), "limit": 10, "shots": None}
    assert request["test"] is None and request["limit"] is None
    assert panel.button.isEnabled() and not panel.choice.judge.isVisible()
    panel.choice.shots.setValue(0)
    panel.choice.benchmark.setCurrentIndex(panel.choice.benchmark.count() - 1)
    assert not panel.button.isEnabled(), "another benchmark has another folder"
    panel.choice.task.setText("mmlu_anatomy")
    panel.choice.set_path(tmp_path)
    benchmark = panel.choice.apply(panel.offer.request)["benchmark"]
    assert (benchmark["name"], benchmark["shots"]) == ("mmlu_anatomy", 0)


def test_a_benchmark_is_downloaded_after_asking_and_used_from_then_on(qtbot, tab, panel, play, studio_home):
    panel.choice.source.set_current(BENCHMARK)
    qtbot.waitUntil(lambda: "isn't on this machine" in panel.choice.found.text())
    press(qtbot, tab, "evaluation_download")
    box = QApplication.activeModalWidget()
    assert "MMLU" in box.text() and all(word in box.informativeText() for word in ("network", "huggingface.co"))
    box.button(QMessageBox.StandardButton.Cancel).click()
    assert not panel.download.is_running() and not paths.evaluations_dir().exists()
    play("start wait:cancel cancelled")
    press(qtbot, tab, "evaluation_download")
    QApplication.activeModalWidget().findChild(QPushButton, "confirm_download").click()
    qtbot.waitUntil(panel.download.is_running)
    asked = Job(panel.download.followed.job.folder).request()
    assert (asked["kind"], asked["name"]) == ("fetch_benchmark", "mmlu") and panel.download.strip.isVisible()
    data = paths.benchmarks_dir() / benchmark_store.DATA / "cais--mmlu--anatomy"
    data.mkdir(parents=True)
    (data / "test.parquet").write_bytes(b"PAR1")
    benchmark_store.write_source(data, "cais/mmlu", "anatomy", "1a2b3c4d5e", {"test": 5})
    benchmark_store.write_record("mmlu", {"mmlu_anatomy": data.name})
    panel.download.cancel()
    qtbot.waitUntil(lambda: panel.button.isEnabled())
    assert "cais/mmlu (anatomy)" in panel.choice.name.text() and not panel.choice.download.isVisible()
    benchmark = panel.choice.apply(panel.offer.request)["benchmark"]
    assert (benchmark["name"], benchmark["data"]) == ("mmlu", None)


def test_without_held_out_rows_the_reason_is_said(qtbot, session, run):
    state = files.read_json(run / jobs.RUN)
    files.write_atomically(run / jobs.RUN, files.dump_pretty({**state, "train_file": "/gone/rows.jsonl", "hashes": {}}))
    again = ResultsTab(session)
    qtbot.addWidget(again)
    again.show()
    qtbot.waitUntil(lambda: again.details.title.text() != " ")
    press(qtbot, again, "results_evaluate")
    choice = again.details.evaluation.panel.choice
    qtbot.waitUntil(lambda: "rows.jsonl" in choice.found.text())
    assert choice.source.current() == FILE and not choice.source.button(0).isEnabled()


def test_the_time_is_estimated_from_earlier_evaluations_here(qtbot, tab, panel, run):
    machine = read_machine()
    facts = read_model(Job(run).request()["model"])
    time_estimate.record(Timing.now(time_estimate.ANSWERING, 1000, 5000.0, cost=facts.parameters,
                              machine=measured.device_key("cuda" if machine.gpus else "cpu", machine)))
    panel.show_run(run)
    qtbot.waitUntil(lambda: panel.estimate.text().startswith("16 answers: about "))
    assert "You can pause it" in panel.estimate.text()


def test_a_benchmarks_result_is_shown_by_subject(qtbot, tab, run):
    half = {"value": 50.0, "low": 40.0, "high": 60.0, "rows": 80}
    job = evaluated_runs.write(run, finished=False, benchmark={"name": "mmlu", "data": "d", "limit": None, "shots": 5},
                               test=None)
    files.write_atomically(job.folder / "scores.json", files.dump_pretty({
        "protocol": 1, "models": [], "comparisons": [], "benchmarks": [{
            "name": "mmlu", "data": "d", "models": [
                {"name": name, "accuracy": half, "by_subject": {"law": half, "physics": half}}
                for name in ("base", "tuned")],
            "comparisons": [{"of": "tuned", "with": "base", "difference": 0.0, "low": -1.1, "high": 1.1, "p": 1.0}],
            "sentence": "General knowledge kept: MMLU −0.7 ± 1.1."}]}))
    tab.refresh()
    scores = tab.details.evaluation.scores
    tab.details.tabs.set_current(SCORES)
    qtbot.waitUntil(lambda: scores.sentence.text().startswith("General knowledge kept"))
    scores.groups.set_current(1)
    assert [row[0].text for row in scores.table.figures.rows] == ["law", "physics"]
    assert tab.table.runs.facts[0].values["mmlu.tuned.accuracy"] == 50.0


def test_the_report_is_written_beside_held_out_rows(qtbot, tab, panel, run, monkeypatch):
    """What an evaluation leaves in the run's folder must not stop the report."""
    opened: list[str] = []
    monkeypatch.setattr("PySide6.QtGui.QDesktopServices.openUrl", lambda url: opened.append(url.toLocalFile()))
    assert any(path.name.startswith("held-out") for path in (run / "jobs").iterdir())
    tab.details.report.write()
    qtbot.waitUntil(lambda: bool(opened) or tab.banner.isVisible())
    assert opened == [str(run / "report.html")] and (run / "report.html").stat().st_size > 1000
