"""The general questions are asked of a run's base and tuned model with the rest, once, and each choice is scored as an
answer; an adapter beside a quantised base answers as the two merged do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support import gguf_models
from support.evaluation_jobs import asked
from worker.evaluation.test_evaluate import items, lines, opened

from slmstudio.core.chat.placement import Wish
from slmstudio.core.evaluation import general
from slmstudio.core.files import LineReader
from slmstudio.core.run import time_estimate
from slmstudio.worker.answering.llama_model import load_gguf
from slmstudio.worker.answering.rows import prepare
from slmstudio.worker.evaluation import evaluate

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def few(monkeypatch):
    """Only the first questions of each language."""
    known = general.questions()
    monkeypatch.setattr(general, "questions", lambda: [*known[:3], *known[24:27]])


def test_each_choice_is_scored_as_an_answer(tiny_model):
    model, item = opened(tiny_model), general.questions()[0]
    line = lines(model, [prepare(item, model, 24)], 8)[0]
    text = model.template.render(item["messages"], add_generation_prompt=True)
    wanted = []
    for choice in item["choices"]:
        before, whole = model.encode(text.rstrip()), model.encode(text + choice)
        with torch.no_grad():
            table = model.model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
        wanted.append(sum(float(table[at - 1, whole[at]]) for at in range(len(before), len(whole))))
    assert line["choice_logprobs"] == pytest.approx(wanted, abs=1e-3) and line["choices_by"] == "text"
    assert line["answer"] == item["choices"][wanted.index(max(wanted))] and line["tokens"] == 0


def test_base_and_tuned_are_asked_once_and_it_is_known_how_long_that_took(tiny_model, tmp_path, studio_home, few):
    job = asked(tmp_path / "job", tiny_model, tiny_model, tiny_model, answers=["One.", "Two."],
                names=["base", "tuned", "another"], general=True, batch_size=1, first=1)
    evaluate.run(job)
    found = json.loads((job.folder / "scores.json").read_text("utf-8"))
    assert [model["name"] for model in found["general"]["models"]] == ["base", "tuned"]
    assert found["general"]["models"][0]["questions"] == 6 and found["general"]["comparisons"][0]["same"]
    assert not (job.folder / general.answers_file(2)).exists()
    assert [each.units for each in time_estimate.load() if each.kind == time_estimate.GENERAL] == [1, 1]
    before = (job.folder / general.answers_file(1)).read_bytes()
    (job.folder / general.answers_file(1)).write_bytes(b"".join(before.splitlines(keepends=True)[:2]))
    evaluate.run(job)  # as after a kill
    again = list(LineReader(job.folder / general.answers_file(1)).read())
    assert sorted(line["id"] for line in again) == [0, 1, 2, 24, 25, 26]


def test_nobody_is_asked_where_it_is_switched_off(tiny_model, tmp_path, studio_home):
    job = asked(tmp_path / "job", tiny_model, answers=["One."], names=["base"], general=True)
    evaluate.run(job)
    assert "general" not in json.loads((job.folder / "scores.json").read_text("utf-8"))


def test_an_adapter_beside_a_gguf_base_answers_as_the_two_merged(tmp_path):
    from slmstudio.worker.export import export

    run = gguf_models.run_folder(gguf_models.tiny(), tmp_path / "runs")
    for place, types in ((run, ["F32", "LORA"]), (gguf_models.tiny(), ["F32"])):
        job = gguf_models.context(tmp_path / f"job-{place.name}", kind="export", run=str(place), types=types,
                                  out=str(tmp_path / place.name))
        export.run(job)
    merged, lora, base = (next(Path(tmp_path / place).glob(name)) for place, name in (
        (run.name, "*F32.gguf"), (run.name, "*-lora.gguf"), (gguf_models.tiny().name, "*F32.gguf")))
    found = []
    for gguf, adapter in ((merged, None), (base, str(lora)), (base, None)):
        model = load_gguf(gguf, 2**28, Wish(), adapter)
        found.append(lines(model, [prepare(item, model, 12) for item in items()], 8))
        model.close()
    for number, line in found[0].items():
        assert found[1][number]["reference_nats"] == pytest.approx(line["reference_nats"], rel=2e-3)
    assert found[2][0]["reference_nats"] != pytest.approx(found[0][0]["reference_nats"], rel=2e-3)
