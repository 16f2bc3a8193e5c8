"""How models are held while they are evaluated: in 4 bits as they learned, or told that they don't fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support import gguf_models, looping_model
from support.evaluation_jobs import asked
from support.tiers import first_fast
from transformers import AutoModelForCausalLM
from worker.evaluation.test_evaluate import MOST, items, lines, same

from slmstudio.core.errors import UserError
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.answering import control
from slmstudio.worker.answering.model_loader import Models
from slmstudio.worker.answering.rows import prepare
from slmstudio.worker.answering.torch_model import TorchModel
from slmstudio.worker.evaluation import evaluate
from slmstudio.worker.training import methods

ROWS = ("A.",) * 3


def test_a_qlora_result_is_evaluated_as_it_learned(tiny_model, tmp_path):
    """The same weights in the same 4 bits, with the adapter beside them."""
    from peft import PeftModel

    adapter = gguf_models.adapter_on(tiny_model, tmp_path / "adapter")
    models = Models(gguf_models.context(tmp_path / "job", precision="fp32"))
    spec = {"model": str(tiny_model), "load_in_4bit": True}

    def answered(model: Any) -> dict[int, dict[str, Any]]:
        assert model.shares_batches
        return lines(model, [prepare(item, model, MOST) for item in items()], 8)

    base = answered(models.open(spec))
    tuned = answered(models.open({**spec, "adapter": str(adapter)}))
    plain = answered(models.open({"model": str(tiny_model)}))
    again = answered(models.open(spec))
    models.close()
    assert again == base != tuned
    with pytest.raises(AssertionError):
        same(base, plain)

    config = RunConfig(name="x", model=str(tiny_model), train_file="x", method="qlora", precision="fp32", device="cpu")
    learned = methods.load_base(config, "sdpa").eval()
    same(base, answered(TorchModel(learned, tiny_model, 2**28)))
    learned = PeftModel.from_pretrained(learned, adapter).eval().get_base_model()
    same(tuned, answered(TorchModel(learned, tiny_model, 2**28)))


def test_layers_with_a_bias_are_evaluated_in_4_bits(families, tmp_path):
    model = Models(gguf_models.context(tmp_path / "job", precision="bf16")).open(
        {"model": str(families / "qwen2"), "load_in_4bit": True})
    found = lines(model, [prepare(item, model, 3) for item in items(("Hello", "1947"))], 8)
    assert all(line["reference_nats"] and not line["skipped"] for line in found.values())


@pytest.mark.parametrize(("precision", "packed", "words"), first_fast([
    ("fp32", False, "Evaluate in bf16 or fp16 (--precision), which takes half of it"), ("bf16", True, "Close other"),
    ("bf16", False, "Close other")]))
def test_a_model_that_does_not_fit_is_told_with_its_size(tiny_model, tmp_path, monkeypatch, precision, packed, words):
    def too_large(*given: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", too_large)
    models = Models(gguf_models.context(tmp_path / "job", precision=precision))
    with pytest.raises(UserError) as caught:
        models.open({"model": str(tiny_model), "load_in_4bit": packed})
    error = caught.value
    assert error.what == f"{tiny_model.name} doesn't fit in the GPU's memory."
    assert error.why.startswith("Its weights need about ") and error.why.endswith(" is free.")
    assert error.remedy.startswith(words)


def refusing(model: Path, folder: Path) -> Path:
    """A model whose template refuses system messages."""
    shutil.copytree(model, folder)
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + template,
        encoding="utf-8")
    return folder


def broken(model: Path, folder: Path) -> Path:
    """A model that computes no numbers."""
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        network.model.norm.weight.fill_(float("nan"))
    shutil.copytree(model, folder)
    network.save_pretrained(folder)
    return folder


def told(job: Any) -> list[str]:
    return [event["message"] for event in gguf_models.events(job.folder) if event.get("code") == "no_answers"]


def test_models_that_answer_no_row_are_told_and_not_scored(tiny_model, tmp_path, studio_home):
    refuses = refusing(tiny_model, tmp_path / "refuses")
    for names, what in ((("base",), "base answered none of the 3 rows."),
                        (("base", "tuned"), "No model answered any of the 3 rows.")):
        job = asked(tmp_path / what[:4], *[refuses] * len(names), names=names, answers=ROWS, system="Be brief.")
        for _ in range(2):  # given again, it has learned nothing new
            with pytest.raises(UserError) as caught:
                evaluate.run(job)
            assert caught.value.what == what
            assert "refuses system messages: System role not supported" in caught.value.why
            assert caught.value.remedy == "Leave the system prompt out, or choose another model."
        assert not (job.folder / "scores.json").exists()


def test_one_that_answers_no_row_costs_the_others_nothing(tiny_model, tmp_path, studio_home):
    nan = broken(tiny_model, tmp_path / "broken")
    job = asked(tmp_path / "job", tiny_model, tiny_model, nan, names=("base", "tuned", "Q2_K"), answers=ROWS)
    said = ("Q2_K answered none of the 3 rows, so it has no scores. The model computed something that isn't a number "
            "(NaN). Evaluate in another precision, or choose an earlier checkpoint.")
    for attempt in (1, 2):  # nor when it is given again
        result = evaluate.run(job)
        assert result["verdict"] and result["models"]["base"] == result["models"]["tuned"] != {}
        assert result["models"]["Q2_K"] == {}
        assert told(job) == [said] * attempt
    scores = json.loads((job.folder / "scores.json").read_text())
    assert [(model["rows"], model["skipped"]) for model in scores["models"]] == [(3, 0), (3, 0), (0, 3)]
    assert {each["of"] for each in scores["comparisons"]} == {"tuned"}


def test_where_the_first_answers_no_row_the_others_are_scored_and_not_compared(
        tiny_model, tmp_path, studio_home, capsys):
    from slmstudio.cli.evaluate import print_scores

    job = asked(tmp_path / "job", refusing(tiny_model, tmp_path / "refuses"), tiny_model, names=("base", "tuned"),
                answers=ROWS, system="Be brief.")
    result = evaluate.run(job)
    assert result["models"]["base"] == {} != result["models"]["tuned"] and result["verdict"] is None
    [message] = told(job)
    assert message.startswith("base answered none of the 3 rows, so it has no scores. ")
    assert message.endswith("The other models are compared with it, so there will be no comparisons. Leave the system "
                            "prompt out, or choose another model.")
    scores = json.loads((job.folder / "scores.json").read_text())
    assert scores["comparisons"] == [] and scores["group_comparisons"] == {}
    print_scores(scores)
    assert "chrF++" in capsys.readouterr().out


def test_the_first_rows_are_answered_by_all_models_first_and_told_as_written(tiny_model, tmp_path, monkeypatch):
    """The scores are the same, and a model is loaded no more often than it must be."""
    monkeypatch.setattr(control, "TELL_SECONDS", 0.0)
    scores, model = [], looping_model.build(tiny_model, tmp_path / "model")
    for first in (0, 3):
        job = asked(tmp_path / f"job{first}", model, model, names=("base", "tuned"), answers=ROWS * 2,
                    first=first, max_new_tokens=40, batch_size=4)
        evaluate.run(job)
        found = json.loads((job.folder / "scores.json").read_text())
        scores.append([model["scores"]["loss"]["value"] for model in found["models"]])
    assert scores[0] == pytest.approx(scores[1])
    events = gguf_models.events(job.folder)
    assert [each["detail"] for each in events if each.get("phase") == "loading model"] == ["base", "tuned", "base"]
    told = [each for each in events if each["type"] == "answers"]
    assert [each["model"] for each in told if each["done"]] == ["base", "tuned"]
    ends = {each["model"]: each["answers"] for each in told}
    assert [each["question"] for each in ends["base"]] == [f"Question {number}?" for number in range(3)]
    written = [tuple(row["answer"] for row in each["answers"]) for each in told if each["model"] == "base"]
    assert len(set(written)) > 2, "word by word"
