"""Every figure of a run's files stands in its report."""

from __future__ import annotations

import json

from support.kept import keep
from support.report_checks import untold
from support.report_run import add_rows, finished, parity, scores

from slmstudio.core import files, jobs
from slmstudio.core.run.config import FIELDS, RunConfig, in_groups
from slmstudio.core.run.config_file import differences
from slmstudio.core.run.rows import run_rows


def test_every_value_of_run_json_outcome_json_and_the_events(run, page):
    assert untold(run.folder, page(run.folder).text) == []
    # The walk reaches all of them: one that is changed behind the page's back is missed.
    shown = page(run.folder).text
    for name, old, new in ((jobs.RUN, "4711", "4712"), (jobs.OUTCOME, "2.0912345", "2.0912346"),
                           (jobs.EVENTS, "3441.5", "3442.25")):
        path = run.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        assert len(untold(run.folder, shown)) == 1
        path.write_text(text)


def test_scores_parity_and_heat(run, page):
    run.export(parity=parity())
    run.evaluate(scores=scores())
    shown = page(run.folder).text
    for words in ("52.4 49.2 to 55.6", "21.3 18.1 to 24.5", "1.270 1.160 to 1.380", "+31.1 +27.9 to +34.2",
                  "chrF++ (the one to judge by)", "< 0.001", "88.5", "41.7",
                  "better (52.4 against 21.3 chrF++, p < 0.001)",
                  "The model was trained on 3 of these rows"):
        assert words in shown, words
    for words in ("3,874 of 3,874", "1.9e-02", "under 0.7", "12" * 32, "4,100 bytes", "not measured"):
        assert words in shown, words
    assert "70 °C 72 °C 74 °C 93 °C 5" in shown and "150 W 150 W 150 W 170 W" in shown
    assert "Intel Core i5-10400" in shown and "NVIDIA GeForce RTX 3060, 12 GB" in shown


def test_fields_that_are_switches_or_were_changed_or_are_of_another_version(tmp_path, page):
    run = finished(tmp_path, micro_batch_size=8, packing=True, use_dora=False)
    files.write_atomically(run.folder / "adjustments.json", json.dumps({"values": {"micro_batch_size": 4}}))
    files.write_atomically(run.folder / jobs.RUN, json.dumps({**run.record, "colour_of_the_run": "blue"}))
    text = page(run.folder).text
    for words in ("Packing packing yes", "DoRA use_dora no", "colour_of_the_run blue",
                  "micro_batch_size 8 → 4 (changed while it was running)"):
        assert words in text, words


def test_rows_that_were_left_out_are_named_with_their_line(run, page):
    run.tell("warning", code="rows_left_out", message="1 problems in rows.jsonl: those rows are left out.")
    path = add_rows(run, ['{"instruction": "a", "output": "b"}', '{"instruction": "no answer"}'])
    shown = page(run.folder).text
    assert "1 problems in rows.jsonl" in shown and "rows.jsonl 2 " in shown
    path.write_text('{"instruction": "other", "output": "rows"}\n')
    assert "These rows can't be listed here" in page(run.folder).text


def test_rows_that_are_kept_are_told_when_the_file_is_gone(tmp_path, page):
    run = finished(tmp_path, eval_file=None)
    run.tell("warning", code="rows_left_out", message="1 problems in rows.jsonl: those rows are left out.")
    path = add_rows(run, ['{"instruction": "a", "output": "b"}', '{"instruction": "no answer"}'])
    kept = keep(run.folder, RunConfig.from_dict(run.record))
    path.unlink()
    shown = page(run.folder).text
    assert "rows.jsonl 2 " in shown and kept.source.sha256 in shown
    (run.folder / run_rows.FOLDER / run_rows.MANIFEST).write_text("{}")
    shown = page(run.folder).text
    assert "keeps are damaged. manifest.json" in shown and "These rows can't be listed here" in shown


def test_every_field_of_a_run_has_a_name_and_a_place():
    fields = set(RunConfig.__dataclass_fields__) - {"reasons", "chosen"}
    placed = [name for names in in_groups().values() for name in names]
    assert fields == set(placed) and len(placed) == len(set(placed)) == len({about.label for about in FIELDS.values()})


def test_only_fields_that_differ_and_matter():
    first = {"name": "a", "threads": 2, "lora_rank": 16, "seed": 1, "train_file": "x"}
    second = {"name": "b", "threads": 8, "lora_rank": 4, "seed": 1, "train_file": "x", "new_field": True}
    assert differences([first, second, first]) == [("lora_rank", [16, 4, 16]), ("new_field", [None, True, None])]
    assert differences([first]) == []
