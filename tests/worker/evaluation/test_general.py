"""The general questions are asked of a run's base and tuned model with the rest, once; an adapter beside a GGUF base
answers as the two merged do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import gguf_models
from support.evaluation_jobs import asked
from worker.evaluation.test_evaluate import items, lines

from slmstudio.core.chat.placement import Wish
from slmstudio.core.evaluation import general
from slmstudio.core.files import LineReader
from slmstudio.core.run import time_estimate
from slmstudio.worker.answering.llama_model import load_gguf
from slmstudio.worker.answering.rows import prepare
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


def test_an_adapter_beside_a_gguf_base_answers_as_the_two_merged(tmp_path):
    from slmstudio.worker.export import export

    run, found = gguf_models.run_folder(gguf_models.tiny(), tmp_path / "runs"), []
    for source, kind in ((run, "F32"), (run, "LORA"), (gguf_models.tiny(), "F32")):
        [made] = export.run(gguf_models.context(tmp_path / f"job-{len(found)}", kind="export", run=str(source),
                                                types=[kind], out=str(tmp_path / str(len(found)))))["files"]
        found.append(Path(made["path"]))
    answers = []
    for gguf, adapter in ((found[0], None), (found[2], str(found[1])), (found[2], None)):
        model = load_gguf(gguf, 2**28, Wish(), adapter)
        answers.append(lines(model, [prepare(item, model, 12) for item in items()[:2]], 8)[0]["reference_nats"])
        model.close()
    assert answers[1] == pytest.approx(answers[0], rel=2e-3) != pytest.approx(answers[2], rel=2e-3)
