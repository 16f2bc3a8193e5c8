"""How models are held while they are evaluated: in 4 bits as they learned, or told that they do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from worker import gguf_models
from worker.test_evaluate import MOST, items, lines, same

from slmstudio.core.errors import UserError
from slmstudio.core.run.config import RunConfig
from slmstudio.worker import evaluate, evaluate_models, methods
from slmstudio.worker.evaluate_models import Models
from slmstudio.worker.evaluate_rows import prepare
from slmstudio.worker.evaluate_torch import TorchModel


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


def test_layers_with_a_bias_are_evaluated_in_4_bits(shared_dir, tmp_path):
    folder = next(path for path in gguf_models.families(shared_dir).iterdir() if "qwen2" in path.name)
    model = Models(gguf_models.context(tmp_path / "job", precision="bf16")).open(
        {"model": str(folder), "load_in_4bit": True})
    found = lines(model, [prepare(item, model, 3) for item in items(("Hello", "1947"))], 8)
    assert all(line["reference_nats"] and not line["skipped"] for line in found.values())


@pytest.mark.parametrize(("precision", "packed", "words"), [
    ("fp32", False, "Evaluate in bf16 or fp16 (--precision), which takes half of it"), ("bf16", False, "Close other"),
    ("bf16", True, "Close other")])
def test_a_model_that_does_not_fit_is_told_with_its_size(tiny_model, tmp_path, monkeypatch, precision, packed, words):
    def too_large(*given: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", too_large)
    monkeypatch.setattr(evaluate_models.AutoModelForCausalLM, "from_pretrained",
                        too_large if packed else evaluate_models.AutoModelForCausalLM.from_pretrained)
    models = Models(gguf_models.context(tmp_path / "job", precision=precision))
    with pytest.raises(UserError) as caught:
        models.open({"model": str(tiny_model), "load_in_4bit": packed})
    error = caught.value
    assert error.what == f"{tiny_model.name} does not fit into the GPU's memory."
    assert error.why.startswith("Its weights need about ") and error.why.endswith(" are free.")
    assert error.remedy.startswith(words)


def refusing(model: Path, folder: Path) -> Path:
    """A model whose template refuses system messages."""
    shutil.copytree(model, folder)
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + template,
        encoding="utf-8")
    return folder


def test_a_model_that_answers_no_row_is_told_and_not_scored(tiny_model, tmp_path, studio_home):
    refuses = refusing(tiny_model, tmp_path / "refuses")
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"question": f"Q{n}?", "answer": "A."}) + "\n" for n in range(3)))
    job = gguf_models.context(tmp_path / "job", kind="evaluate", test=str(rows), precision="fp32", max_new_tokens=4,
                              system="Be brief.", models=[{"name": "base", "model": str(refuses)},
                                                          {"name": "tuned", "model": str(tiny_model)}])
    for _ in range(2):  # given again, it has learned nothing new
        with pytest.raises(UserError) as caught:
            evaluate.run(job)
        assert caught.value.what == "base answered none of the 3 rows."
        assert "refuses system messages: System role not supported" in caught.value.why
        assert caught.value.remedy == "Leave the system prompt out, or choose another model."
    assert not (job.folder / "scores.json").exists() and not (job.folder / "answers-1.jsonl").exists()


def test_a_model_of_broken_numbers_is_told_as_that(tiny_model, tmp_path, studio_home):
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with torch.no_grad():
        network.model.norm.weight.fill_(float("nan"))
    broken = Path(shutil.copytree(tiny_model, tmp_path / "broken"))
    network.save_pretrained(broken)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "Q?", "answer": "A."}\n')
    job = gguf_models.context(tmp_path / "job", kind="evaluate", test=str(rows), precision="fp32", max_new_tokens=4,
                              models=[{"name": "broken", "model": str(broken)}])
    with pytest.raises(UserError) as caught:
        evaluate.run(job)
    assert "NaN" in caught.value.why and "another precision" in caught.value.remedy
