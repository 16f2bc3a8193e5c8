"""The general questions are asked of a run's base and tuned model with the rest, once."""

from __future__ import annotations

import json

import pytest
from support.evaluation_jobs import asked

from slmstudio.core.evaluation import general
from slmstudio.core.files import LineReader
from slmstudio.core.run import time_estimate
from slmstudio.worker.evaluation import evaluate

pytestmark = pytest.mark.timeout(300)


def test_base_and_tuned_are_asked_once_and_it_is_known_how_long_that_took(tiny_model, tmp_path, studio_home,
                                                                          monkeypatch):
    known = general.questions()
    monkeypatch.setattr(general, "questions", lambda: [*known[:3], *known[24:27]])
    job = asked(tmp_path / "job", tiny_model, tiny_model, tiny_model, answers=["One.", "Two."],
                names=["base", "tuned", "another"], general=True, batch_size=1, first=1)
    evaluate.run(job)
    found = json.loads((job.folder / "scores.json").read_text("utf-8"))
    assert [model["name"] for model in found["general"]["models"]] == ["base", "tuned"]
    assert found["general"]["models"][0]["questions"] == 6 and found["general"]["comparisons"][0]["same"]
    assert not (job.folder / general.answers_file(2)).exists()
    assert [each.units for each in time_estimate.load() if each.kind == time_estimate.GENERAL] == [1, 1]
    path = job.folder / general.answers_file(1)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    evaluate.run(job)  # as after a kill
    assert sorted(line["id"] for line in LineReader(path).read()) == [0, 1, 2, 24, 25, 26]
