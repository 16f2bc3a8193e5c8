"""The questions of a benchmark row by row: what did it forget?"""

from __future__ import annotations

from pathlib import Path

from support import evaluated_runs
from support.results_window import show
from support.window import press

from slmstudio.core import files, jobs
from slmstudio.core.evaluation import benchmark_store, scoring
from slmstudio.core.jobs.job import Job
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.gui.evaluation.jobs import read_evaluation
from slmstudio.gui.results.run_details import SCORES

RIGHT = {"base": lambda n: n % 2 == 0, "tuned": lambda n: n % 4 == 0 or n == 7}
QUESTIONS = 20


def write(run: Path) -> Job:
    """A benchmark as the worker leaves it: of 20 questions the base has 10 right, the tuned 6, one of them new."""
    job = Job.create(run / "jobs" / "evaluate-mmlu", "evaluate", test=None, limit=None, seed=0, precision="fp32",
                     max_new_tokens=64, system=None, train_file=None, batch_size=None, judge=None,
                     benchmark={"name": "mmlu", "data": "/data/mmlu", "limit": None, "shots": None},
                     models=[{"name": name, "model": "m", "adapter": None, "gguf": None} for name in RIGHT])
    choices = ["A. Mumbai", "B. Patna", "C. Dispur", "D. Bhopal"]
    lines = [{"id": n, "subject": "anatomy" if n % 2 else "virology", "question": f"Question {n}?", "choices": choices,
              "right": [choices[n % 4]],
              "answers": {name: choices[(n + (not right(n))) % 4] for name, right in RIGHT.items()},
              "scores": {name: float(right(n)) for name, right in RIGHT.items()}} for n in range(QUESTIONS)]
    files.write_atomically(job.folder / benchmark_store.ROWS_FILE, b"".join(map(files.dump_line, lines)))
    models = [{"name": name, "accuracy": {"value": 5.0 * sum(map(right, range(QUESTIONS))), "low": 10.0, "high": 80.0,
                                          "rows": QUESTIONS}, "by_subject": {}} for name, right in RIGHT.items()]
    files.write_atomically(job.folder / scoring.SCORES, files.dump_pretty({
        "protocol": scoring.PROTOCOL, "created": 1.0, "test": None, "models": [], "comparisons": [], "judge": None,
        "benchmarks": [{"name": "mmlu", "title": "MMLU", "data": "/data/mmlu", "models": models, "comparisons": [
            {"of": "tuned", "with": "base", "difference": -20.0, "low": -40.0, "high": -1.0, "p": 0.04,
             "rows": QUESTIONS}], "sentence": "General knowledge lost: MMLU −20.0 ± 19.5."}]}))
    jobs.write_outcome(job.folder, Outcome("finished"))
    return job


def test_losses_of_a_benchmark_show_what_the_base_knew(qtbot, tab, tiny_model):
    write(evaluated_runs.ended_run("helpdesk", tiny_model))
    show(qtbot, tab, 1)
    tab.details.tabs.set_current(SCORES)
    press(qtbot, tab, "rows_all")
    rows = tab.rows
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == QUESTIONS and rows.current() is not None)
    row = rows.current()
    assert row.scores == {"base": {"accuracy": 100.0}, "tuned": {"accuracy": 0.0}}
    assert row.answers["base"] == row.references[0] != row.answers["tuned"]
    gains = [rows.table.rows.row_at(place).gain("tuned", "base") for place in range(QUESTIONS)]
    assert gains == [-100.0] * 5 + [0.0] * 14 + [100.0]
    qtbot.waitUntil(lambda: rows.detail.first.text.toPlainText() == row.answers["base"])
    assert rows.detail.reference.text.toPlainText() == row.references[0]
    rows.filters.category.setCurrentIndex(rows.filters.category.findText("anatomy"))
    rows.apply()
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == QUESTIONS // 2)


def test_a_benchmark_s_rows_stay_as_they_are(qtbot, tab, tiny_model):
    run = evaluated_runs.ended_run("helpdesk", tiny_model)
    write(run)
    show(qtbot, tab, 1)
    tab.details.tabs.set_current(SCORES)
    press(qtbot, tab, "rows_all")
    rows = tab.rows
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == QUESTIONS and rows.current() is not None)
    assert rows.current() is not None
    for widget in (rows.detail.category, rows.detail.language, rows.detail.remove, rows.detail.correct,
                   rows.detail.reference.edit):
        assert not widget.isEnabled() and "can't be changed" in widget.toolTip(), widget.objectName()
    assert not rows.vote.isEnabled() and "nothing to vote on" in rows.vote.toolTip()
    assert rows.detail.test.isEnabled()
    rows.close_page()
    job = evaluated_runs.write(run)
    other = read_evaluation(job.folder)
    assert other is not None
    rows.open(other)
    qtbot.waitUntil(lambda: len(rows.table.rows.shown) == 24 and rows.vote.isEnabled())
    assert rows.detail.category.isEnabled() and "can't be changed" not in rows.detail.category.toolTip()
