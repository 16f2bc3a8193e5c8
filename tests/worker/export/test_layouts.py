"""Layouts beside the usual families: vetted, trained, exported with its proof; and those that can't be, told before."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import more_layouts
from support.gguf_models import ROWS, context
from support.tiers import first_fast
from transformers import AutoConfig

from slmstudio.core.errors import UserError
from slmstudio.core.jobs import Outcome, write_outcome
from slmstudio.core.jobs.interactive import InteractiveWorker
from slmstudio.core.model.vetting.vet import read_vetted
from slmstudio.core.model.weights import read_header
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.export import export
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import methods, train

EXPORTED = ("phi", "gemma-3-vision", "qwen3.5", "exaone-4", "glm-4", "hunyuan", "phi-4-mini", "lfm2", "pythia",
            "ernie-4.5", "mixtral", "qwen3-moe", "granite-4-h", "falcon-h1")


def trained(layout: str, parent: Path, **settings: Any) -> tuple[Path, Path]:
    """A model folder, and the run that has learned from it for two steps."""
    base = more_layouts.build(layout, parent / layout)
    assert read_vetted(base).path == base
    rows = parent / "rows.jsonl"
    rows.write_text("".join(json.dumps({"instruction": question, "output": answer}, ensure_ascii=False) + "\n"
                            for question, answer in ROWS * 2), encoding="utf-8")
    values: dict[str, Any] = {
        "method": "lora", "max_steps": 2, "micro_batch_size": 2, "gradient_accumulation_steps": 1, "max_length": 128,
        "learning_rate": 1e-3, "eval_fraction": 0.2, "eval_steps": 2, "save_steps": 2, "sample_max_tokens": 4,
        "device": "cpu", "threads": 1, "packing": False}
    job = folder.create(RunConfig(name=layout, model=str(base), train_file=str(rows), **{**values, **settings}),
                        parent / "runs")
    result = train.run(JobContext(job.folder, job.request()))
    write_outcome(job.folder, Outcome("finished", result={key: value for key, value in result.items()
                                                          if key != "state"}))
    return base, job.folder


def answer(gguf: Path) -> dict[str, Any]:
    """The last message of a chat's worker about a question to that file."""
    worker = InteractiveWorker("chat")
    worker.start()
    try:
        messages = worker.receive()
        worker.send({"command": "load", "path": str(gguf), "context_length": 256})
        assert next(messages)["type"] == "loaded"
        worker.send({"command": "generate", "id": 1, "messages": [{"role": "user", "content": ROWS[1][0]}],
                     "temperature": 0, "max_tokens": 4})
        return next(message for message in messages if message["type"] != "token")
    finally:
        worker.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", first_fast(EXPORTED))
def test_a_layout_is_exported_with_its_proof(layout: str, tmp_path: Path) -> None:
    base, run = trained(layout, tmp_path)
    files = export.run(context(tmp_path / "job", run=str(run), types=["F16", "MERGED"]))["files"]
    proofs = [file["parity"] for file in files if file["parity"]]
    assert [(proof["passed"], proof["failures"]) for proof in proofs] == [(True, [])]
    assert [proof["nmse"] < 1e-4 for proof in proofs] == [True]  # the answers were compared, not the tokens alone
    merged = next(Path(file["path"]) for file in files if file["type"] == "MERGED")
    names = [set(read_header(each / "model.safetensors")) for each in (base, merged)]
    assert names[0] == names[1]


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", ["full", "qlora"])
def test_a_model_that_also_sees_is_exported_whatever_the_method(method: str, tmp_path: Path) -> None:
    _, run = trained("gemma-3-vision", tmp_path, method=method)
    types = ["Q8_0", "LORA"] if method == "qlora" else ["Q8_0"]
    files = export.run(context(tmp_path / "job", run=str(run), types=types))["files"]
    [proven] = [file for file in files if file["parity"]]
    assert proven["parity"]["failures"] == [] and answer(Path(proven["path"]))["type"] == "done"


def test_experts_get_no_adapter(tmp_path: Path) -> None:
    AutoConfig.for_model("mixtral").save_pretrained(tmp_path)
    config = RunConfig(name="x", model=str(tmp_path), train_file="x", method="lora")
    chosen = methods.lora_config(config).target_modules
    assert isinstance(chosen, str) and [bool(re.fullmatch(chosen, f"model.layers.0.{name}")) for name in (
        "self_attn.q_proj", "self_attn.o_proj", "self_attn.q_norm", "mlp.gate")] == [True, True, False, False]
    with pytest.raises(UserError) as caught:
        methods.lora_config(replace(config, target_modules=["q_proj", "w1"]))
    assert [problem.field for problem in caught.value.problems] == ["target_modules"]
    assert caught.value.problems[0].message.startswith("w1 belong")
