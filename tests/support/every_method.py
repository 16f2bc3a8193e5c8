"""Planning and training in the terminal as a person does who chooses only the method."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from support import small_runs

from slmstudio.cli import commands
from slmstudio.core import paths
from slmstudio.core.data import reader
from slmstudio.core.run.run_fields import PREFERENCES

ROWS = 8


def rows_of(objective: str) -> list[dict]:
    """The shortest questions of the starter data; the worse answer is that of another question."""
    records = sorted(reader.read_dataset(paths.starter_train_file()).records, key=lambda r: sum(map(len, r.contents)))
    asked = {record.messages[-1]["content"]: record.messages[-2]["content"] for record in records}
    pairs = [(question, answer) for answer, question in asked.items()][:ROWS]
    return small_runs.rows_of(objective, [(q, a, pairs[i - 3][1]) for i, (q, a) in enumerate(pairs)])


def trained(tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str | Path, method: str,
            *settings: str) -> dict:
    """Plan and train as a person does who chooses only the method; the plan."""
    file, known, run_json = (tmp_path / name for name in ("rows.jsonl", "known.jsonl", "run.json"))
    objective = dict(setting.split("=") for setting in settings).get("objective", method)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(objective)]
    file.write_text("".join(lines), "utf-8")
    # Rows that are learned are evaluated: a few steps can show that it learns, not that it generalises.
    known.write_text("".join(lines[:4]), "utf-8")
    chosen = [word for each in ([] if method == "text" else [f"method={method}"], settings) for setting in each
              for word in ("--set", setting)]
    planned = told(capsys, "plan", "--model", model, "--data", file, "--test", known, "--out", run_json,
                   *chosen)["config"]
    result = told(capsys, "train", run_json)
    assert result["outcome"] == "finished" and result["steps"] == result["total_steps"] > 1
    adapter = planned["method"] in ("lora", "qlora")
    left = load_file(Path(result["adapter" if adapter else "model"]) / f"{'adapter_' * adapter}model.safetensors")
    if adapter:  # what begins with zeros has moved, be it by less than a loss in bf16 can tell
        assert all(weights.any() for name, weights in left.items() if ".lora_B." in name)
        # Preferences compare two sums of logarithms, whose roundings in bf16 are a few percent of so small a loss.
        rounding = 1.05 if planned["objective"] in PREFERENCES else 1.0001
        most = result["eval_loss_before"] * (rounding if planned["precision"] == "bf16" else 1)
        assert result["eval_loss_after"] <= most
    else:
        assert result["eval_loss_after"] < result["eval_loss_before"]
    return planned


def told(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    """What a command of the terminal answers; the worker it starts is a process of its own."""
    assert commands.main([*map(str, words), "--json"]) == 0, capsys.readouterr().err[-3000:]
    return json.loads(capsys.readouterr().out.splitlines()[-1])
