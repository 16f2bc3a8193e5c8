"""An adapter that PEFT made by itself becomes a run: asked, continued, exported and proven like one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import gguf_models as models
from support import tiny_model as tiny

from slmstudio.core import i18n, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import request
from slmstudio.core.i18n.catalogue import OPEN
from slmstudio.core.model.peft_adapter import read_adapter
from slmstudio.core.report.page import write_report
from slmstudio.core.run import adapter_import, folder
from slmstudio.core.run.config_file import IMPORTED
from slmstudio.core.run.planning.follow_up import follow_up
from slmstudio.worker.answering import model_loader
from slmstudio.worker.answering.rows import prepare, run_rows
from slmstudio.worker.export import export
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import train

pytestmark = pytest.mark.timeout(300)
ASKED = [{"role": "user", "content": "Where do I report a broken street light?"}]
MOST = 16


def imported(base: Path, parent: Path, **settings: Any) -> tuple[Path, Path]:
    """PEFT's own folder, and the run that was made of it."""
    made = models.adapter_on(base, parent / "elsewhere", **settings)
    return made, adapter_import.import_adapter(read_adapter(made), base, parent=parent / "runs")


def greedy(base: Path, adapter: Path) -> list[int]:
    """What PEFT's model answers, by transformers alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    text = tokenizer.apply_chat_template(ASKED, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter)
    output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=MOST, do_sample=False)
    return output[0, ids.shape[1]:].tolist()


def assert_answers_as_peft(asked: dict[str, Any], base: Path, adapter: Path, job: Path) -> None:
    """What evaluation, and with a GGUF chat and server too, answer with."""
    model = model_loader.Models(models.context(job)).open(asked)
    item = {"id": 0, "line": 1, "kind": "free", "messages": ASKED, "references": ["x"], "choices": None}
    [replies] = run_rows([prepare(item, model, MOST)], model, lambda share: None)
    found, expected = list(replies[0].ids), greedy(base, adapter)
    assert found and found == expected[:len(found)]


def test_it_is_a_run_that_answers_as_pefts_model_and_goes_on(tiny_model: Path, rows_file: Path, tmp_path: Path,
                                                             studio_home: Path) -> None:
    settings = {"use_rslora": True, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}}
    made, run = imported(tiny_model, tmp_path, **settings)
    summary = folder.summarise(run)
    assert (summary.state, summary.config.name, summary.config.lora_rank) == ("finished", "elsewhere", 4)
    assert jobs.Job(run).request()[IMPORTED] == {"adapter": str(made), "base": str(tiny_model)}
    folder.need_own_result(run / folder.ADAPTER)
    assert str(made) in write_report(run).read_text("utf-8")
    asked = {"model": str(tiny_model), "adapter": str(run / folder.ADAPTER)}
    assert_answers_as_peft(asked, tiny_model, made, tmp_path / "asked")

    with pytest.raises(UserError) as caught:
        follow_up(run)
    assert [problem.field for problem in caught.value.problems] == ["train_file"]
    config = follow_up(run, train_file=rows_file, overrides={"max_steps": 3, "device": "cpu", "sample_max_tokens": 0,
                                                             "learning_rate": 0.01, "warmup_fraction": 0})
    job = folder.create(config, tmp_path / "runs")
    result = train.run(JobContext(job.folder, job.request()))
    assert result["state"] == "finished" and result["train_loss_last"] < result["train_loss_first"]
    after = json.loads((job.folder / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert after["use_rslora"] and after["rank_pattern"] == {"q_proj": 2} and after["alpha_pattern"] == {"v_proj": 3}


def test_its_evaluation_looks_for_no_rows_that_nobody_has(tiny_model: Path, tmp_path: Path, studio_home: Path) -> None:
    run = imported(tiny_model, tmp_path)[1]
    proposed = request.propose(run)
    assert (proposed["train_run"], proposed["train_file"], proposed["test"]) == (str(run), None, None)
    assert "elsewhere" in proposed["no_test"] and adapter_import.NO_ROWS not in proposed["no_test"]


def test_another_base_is_refused_and_no_run_is_left(tiny_model: Path, tmp_path: Path) -> None:
    other = tiny.build(tmp_path / "wide", hidden=96)
    made = models.adapter_on(tiny_model, tmp_path / "elsewhere")
    with pytest.raises(UserError, match="doesn't belong to wide"):
        adapter_import.import_adapter(read_adapter(made), other, parent=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_its_reasons_are_in_the_language_of_who_imports(tiny_model: Path, tmp_path: Path) -> None:
    i18n.use(i18n.PSEUDO)
    config = folder.summarise(imported(tiny_model, tmp_path)[1]).config
    assert {name: reason for name, reason in config.reasons.items() if not reason.startswith(OPEN)} == {}


@pytest.mark.full
@pytest.mark.parametrize(("family", "settings"), [
    ("llama3", {}), ("qwen3", {"use_dora": True}), ("gemma3", {"use_rslora": True}),
    ("smollm3", {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}})])
def test_its_export_is_proven_and_answers_as_pefts_model(families, tmp_path, family, settings) -> None:
    made, run = imported(families / family, tmp_path, **settings)
    [file] = export.run(models.context(tmp_path / "job", run=str(run), types=["F32"]))["files"]
    assert file["parity"]["passed"], file["parity"]["failures"]
    assert_answers_as_peft({"gguf": file["path"]}, families / family, made, tmp_path / "asked")
