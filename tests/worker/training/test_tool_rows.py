"""Rows with tools: a small Qwen2 learns its calls and answers alone, and is shown, asked and scored with the tools."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import family_models, once, tool_rows
from support.tool_rows import ONE, RECORDS, TOOLS

from slmstudio.core import jobs, paths
from slmstudio.core.data.record import Record
from slmstudio.core.data.versions import store
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.testset.item import TestItem
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.run_script import _answers, _Encoding
from slmstudio.worker.answering import model_loader
from slmstudio.worker.answering.rows import line_of, prepare, run_rows
from slmstudio.worker.answering.torch_model import TorchModel
from slmstudio.worker.evaluation.evaluate import _as_written
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import loading, methods, train
from slmstudio.worker.training.batches import IGNORED

PUNE = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "पुणे", "days": 1}}\n</tool_call>'
GOA = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Goa", "days": 2}}\n</tool_call>'
END = "<|im_end|>"
LEARNED = [[PUNE + END, "31 °C." + END], [PUNE + END, GOA + END, "Pune." + END], [PUNE + END], [PUNE + END, GOA + END]]
"""Of each of `RECORDS`."""


@pytest.fixture(scope="session")
def qwen() -> Path:
    return once.made_once("qwen2-alone", lambda made: family_models.build("qwen2", made / "qwen2")) / "qwen2"


@pytest.fixture
def make_job(tmp_path: Path, qwen: Path):
    def make(**changes: Any) -> JobContext:
        file = tmp_path / "rows.jsonl"
        file.write_text("")
        config = RunConfig(**{"name": "trial", "model": str(qwen), "train_file": str(file), "max_steps": 3,
                              "micro_batch_size": 2, "gradient_accumulation_steps": 1, "max_length": 1024,
                              "learning_rate": 1e-2, "eval_steps": 3, "device": "cpu", "threads": 1,
                              "sample_max_tokens": 4, "precision": "fp32", **changes})
        job = folder.create(config, tmp_path / "runs")
        return JobContext(job.folder, job.request())

    return make


def encoded(job: JobContext, records: list[Record]) -> tuple[Any, Any]:
    config = RunConfig.from_dict(job.request)
    tokenizer, template = methods.load_tokenizer(Path(config.model)), ChatTemplate.from_folder(config.model)
    return loading.encode(records, None, tokenizer, template, config, job, "tokenizing"), tokenizer


def runs_of(labels: list[int]) -> list[list[int]]:
    """The stretches of learned tokens."""
    runs: list[list[int]] = [[]]
    for label in labels:
        if label != IGNORED:
            runs[-1].append(label)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def test_the_loss_is_on_calls_and_answers_alone(make_job):
    data, tokenizer = encoded(make_job(), RECORDS)
    assert [[tokenizer.decode(run) for run in runs_of(labels)] for labels in data["labels"]] == LEARNED
    assert all("book_ticket" in tokenizer.decode(ids) for ids in data["input_ids"])
    theirs = tokenizer.apply_chat_template(ONE, tools=list(TOOLS), return_dict=True)["input_ids"]
    assert data["input_ids"][0] == theirs


def test_a_run_learns_them(make_job, qwen, tmp_path):
    files = [tmp_path / "learned.jsonl", tmp_path / "evaluated.jsonl"]
    for file, rows in zip(files, (RECORDS * 2, RECORDS[2:]), strict=True):
        store.write_rows(file, rows)
    job = make_job(train_file=str(files[0]), eval_file=str(files[1]))
    result = train.run(job)
    assert result["state"] == "finished" and result["eval_loss_after"] < result["eval_loss_before"]
    adapter = load_file(Path(result["adapter"]) / "adapter_model.safetensors")
    assert any("lora_B" in name and weight.abs().sum() > 0 for name, weight in adapter.items())
    events = list(jobs.Job(job.folder).events())
    [first, *_] = [event for event in events if event["type"] == "sample"]
    assert [(each["prompt"], each["reference"]) for each in first["samples"]] == [
        ("Weather in Pune?", PUNE), ("Warmer one?", GOA)]
    # The loss before the first step is the mean over the learned tokens of the evaluation rows, and of no others.
    data, _ = encoded(job, RECORDS[2:])
    model = methods.load_base(RunConfig.from_dict(job.request), "sdpa").eval()
    total, count = 0.0, 0
    for ids, labels in zip(data["input_ids"], data["labels"], strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
        wanted = torch.tensor(labels[1:])
        total += float(torch.nn.functional.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum"))
        count += int((wanted != IGNORED).sum())
    assert result["eval_loss_before"] == pytest.approx(total / count, rel=1e-3)


def test_a_template_without_tools_ends_the_run_with_a_sentence(make_job, tiny_model):
    with pytest.raises(UserError, match="chat template doesn't support tools"):
        encoded(make_job(model=str(tiny_model)), RECORDS)


def test_a_call_is_compared_with_another_answer(make_job):
    row = dataclasses.replace(RECORDS[2], rejected="It is hot.")
    data, tokenizer = encoded(make_job(objective="dpo"), [row])
    found = {name: tokenizer.decode(data[0][name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids")}
    assert found["prompt_ids"].endswith("Weather in Pune?<|im_end|>\n<|im_start|>assistant\n")
    assert "book_ticket" in found["prompt_ids"]
    assert (found["chosen_ids"], found["rejected_ids"]) == (PUNE + END, "It is hot." + END)


def test_a_script_reads_tools_and_learns_the_same_tokens(make_job, qwen, tmp_path):
    config = RunConfig.from_dict(make_job().request)
    encoding = _Encoding(config)
    chosen = encoding.choose(RECORDS, [])
    assert chosen.layout == "messages" and chosen.train[0] == {"messages": ONE, "tools": list(TOOLS)}
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in chosen.train), encoding="utf-8")
    names: dict[str, Any] = {"AFTER_ANSWER": chosen.after_answer, "OBJECTIVE": "sft", "COMPLETION_ONLY_LOSS": True,
                             "MAX_LENGTH": 1024}
    exec((paths.resources() / "script" / "rows_messages.py").read_text(encoding="utf-8"), names)
    rows = names["load_rows"](file, methods.load_tokenizer(qwen))
    assert [(row["input_ids"], row["labels"]) for row in rows] == [
        (ids, labels) for ids, labels in map(encoding.by_run, RECORDS)]


def test_a_script_has_token_ids_where_a_template_writes_calls_in_two_ways(make_job, tmp_path, qwen):
    copied = shutil.copytree(qwen, tmp_path / "qwen3")
    (copied / "chat_template.jinja").write_text(tool_rows.template("qwen3"), encoding="utf-8")
    encoding = _Encoding(RunConfig.from_dict(make_job(model=str(copied)).request))
    chosen = encoding.choose(RECORDS, [])
    assert chosen.layout == "ids"
    assert [len(runs_of(row["labels"])) for row in chosen.train] == [2, 3, 1, 2]


def test_held_out_rows_are_asked_with_their_tools(qwen):
    model = TorchModel(model_loader.load(qwen, torch.float32), qwen, 2**28)
    whole = [TestItem(0, 1, "free", tuple(ONE[:1]), ("get_weather(…)",), tools=TOOLS, reply=ONE[1]),
             TestItem(1, 2, "free", tuple(ONE[:3]), ("31 °C.",), tools=TOOLS)]
    assert [TestItem.from_dict(item.to_dict()) for item in whole] == whole
    written = _as_written(whole, [{"name": "base", "model": str(qwen)}])
    assert [item.references for item in written] == [(PUNE,), ("31 °C.",)]
    rows = [prepare(item.to_dict(), model, 4) for item in written]
    for row, wanted in zip(rows, (PUNE, "31 °C."), strict=True):
        assert not row.skipped
        [continuation] = row.asks[0].continuations
        assert "book_ticket" in model.decode(row.asks[0].prompt) and model.decode(continuation) == wanted
        assert model.is_end(continuation[-1])
    for row, replies in zip(rows, run_rows(rows, model, lambda share: None), strict=True):
        line = line_of(row, replies, model)
        assert line["reference_nats"][0] > 0 and line["reference_tokens"] == [len(row.asks[0].continuations[0])]
    model.template = ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert "doesn't support tools" in prepare(written[0].to_dict(), model, 4).skipped


def test_compared_answers_with_tools_have_no_script():
    with pytest.raises(UserError, match="Line 1 contains tools"):
        _answers(dataclasses.replace(RECORDS[0], rejected="No."), "dpo")
