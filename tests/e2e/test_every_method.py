"""By every method and for every objective a model learns, just as the plan proposes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmstudio.cli import commands
from slmstudio.core import paths
from slmstudio.core.data import reader

ROWS = 8
METHODS = ("lora", "qlora", "dora", "rslora", "full", "scratch", "text", "pretrain", "dpo", "orpo", "kto")
OF_THE_STARTER = ("lora", "qlora", "full", "scratch", "dpo")
ROWS_OF = {"text": "text", "pretrain": "text", "dpo": "pairs", "orpo": "pairs", "kto": "labelled"}
"""Kind of rows, where they are not questions with answers."""


def rows_of(kind: str) -> list[dict]:
    """The shortest questions of the starter data; the worse answer is that of another question."""
    records = sorted(reader.read_dataset(paths.starter_train_file()).records, key=lambda r: sum(map(len, r.contents)))
    asked = {record.messages[-1]["content"]: record.messages[-2]["content"] for record in records}
    pairs = [(question, answer) for answer, question in asked.items()][:ROWS]
    if kind == "pairs":
        return [{"prompt": q, "chosen": a, "rejected": pairs[i - 3][1]} for i, (q, a) in enumerate(pairs)]
    if kind == "labelled":
        return [{"prompt": q, "completion": a if i % 2 else pairs[i - 3][1], "label": bool(i % 2)}
                for i, (q, a) in enumerate(pairs)]
    if kind == "text":
        return [{"text": f"{q} {a}"} for q, a in pairs]
    return [{"instruction": q, "output": a} for q, a in pairs]


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", OF_THE_STARTER)
def test_the_starter_model_learns_as_planned(starter_home, tmp_path, capsys, method):
    """Real weights, on the processor that is here. Nothing is set but the method."""
    trained(tmp_path, capsys, "starter", method)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bf16", [True, False], ids=["bf16", "no-bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_a_model_learns_as_planned_on_any_processor(studio_home, tiny_model, tmp_path, capsys, processor, monkeypatch,
                                                    method, bf16):
    """On a processor with bf16 arithmetic and on one without, whichever is here: what a processor lacks is computed the
    slow way, so the model is tiny. For plain text by LoRA not even the method is set: the rows say it."""
    processor(bf16)
    if not bf16:  # for PyTorch and oneDNN in the worker, which ask the processor itself
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    planned = trained(tmp_path, capsys, tiny_model, method)
    assert (planned["device"], planned["precision"]) == ("auto", "bf16" if bf16 else "fp32")


def trained(tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str | Path, method: str) -> dict:
    """Plan and train as a person does who chooses only the method; the plan."""
    file, known, run_json = (tmp_path / name for name in ("rows.jsonl", "known.jsonl", "run.json"))
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(ROWS_OF.get(method, "questions"))]
    file.write_text("".join(lines), "utf-8")
    # Rows that are learned are evaluated: a few steps can show that it learns, not that it generalises.
    known.write_text("".join(lines[:4]), "utf-8")
    chosen = () if method == "text" else ("--set", f"method={method}")
    planned = told(capsys, "plan", "--model", model, "--data", file, "--test", known, "--out", run_json,
                   *chosen)["config"]
    result = told(capsys, "train", run_json)
    assert result["outcome"] == "finished" and result["steps"] == result["total_steps"] > 1
    assert result["eval_loss_after"] < result["eval_loss_before"]
    assert Path(result["adapter" if planned["method"] in ("lora", "qlora") else "model"]).is_dir()
    return planned


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    """What a command of the terminal answers; the worker it starts is a process of its own."""
    assert commands.main([*map(str, words), "--json"]) == 0, capsys.readouterr().err[-3000:]
    return json.loads(capsys.readouterr().out.splitlines()[-1])
