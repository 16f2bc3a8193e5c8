"""What each model chose at each question of a benchmark agrees with its scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import gguf_models, mmlu_folder

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import benchmark_store
from slmstudio.worker.answering.model_loader import Models
from slmstudio.worker.benchmark import lm_eval_run


@pytest.fixture(scope="module")
def tuned(tiny_model, tmp_path_factory) -> Path:
    return gguf_models.adapter_on(tiny_model, tmp_path_factory.mktemp("adapters") / "tuned", lora_alpha=64)


def ran(folder: Path, model: Path, adapter: Path | None, name: str, data: Path, **more: Any) -> dict[str, Any]:
    """scores.json's benchmark, for the model and the model with the adapter."""
    job = gguf_models.context(
        folder, kind="evaluate", test=None, precision="fp32",
        benchmark={"name": name, "data": str(data), "limit": None, "shots": None, **more},
        models=[{"name": name, "model": str(model), "adapter": each, "gguf": None}
                for name, each in (("base", None), ("tuned", str(adapter) if adapter else None))])
    models = Models(job)
    lm_eval_run.run(job, models)
    models.close()
    scores = files.read_json(folder / "scores.json")
    assert scores is not None
    return scores["benchmarks"][0]


def agrees(folder: Path, result: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of the file, whose scores are those of scores.json, model by model and subject by subject."""
    lines = [json.loads(line) for line in (folder / benchmark_store.ROWS_FILE).read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == list(range(len(lines)))
    for model in result["models"]:
        assert model["accuracy"]["rows"] == len(lines)
        for subject, score in model["by_subject"].items():
            values = [line["scores"][model["name"]] for line in lines if line["subject"] == subject]
            assert len(values) == score["rows"] and 100 * sum(values) / len(values) == pytest.approx(score["value"])
    return lines


def test_rows_of_mmlu_agree_with_its_scores(tiny_model, tuned, tmp_path):
    data = mmlu_folder.write(tmp_path / "mmlu", 8)
    result = ran(tmp_path / "job", tiny_model, tuned, "mmlu", data, shots=2, limit=6)
    lines = agrees(tmp_path / "job", result)
    assert len(lines) == 24
    for line in lines:
        [right] = line["right"]
        assert right in line["choices"] and right[0] in "ABCD" and right[1:3] == ". "
        assert "Answer:" in line["question"] and line["question"].count("Answer:") == 1, "without the examples"
        for name in ("base", "tuned"):
            assert line["answers"][name] in line["choices"]
            assert line["scores"][name] == float(line["answers"][name] == right)
    assert any(line["answers"]["base"] != line["answers"]["tuned"] for line in lines)

    rows = benchmark_store.read_rows(tmp_path / "job")
    assert [row.category for row in rows] == [line["subject"] for line in lines]
    assert benchmark_store.shows_rows(tmp_path / "job") and {row.kind for row in rows} == {"choice"}
    difference = sum(row.gain("tuned", "base") or 0.0 for row in rows) / len(rows)
    assert difference == pytest.approx(result["comparisons"][0]["difference"])


@pytest.mark.full
def test_rows_of_arc_and_gsm8k_agree_with_their_scores(tiny_model, tuned, tmp_path):
    arc = tmp_path / "arc" / "ARC-Challenge"
    arc.mkdir(parents=True)
    rows = [{"id": str(n), "question": f"What is {n} + {n}?", "answerKey": "ABC"[n % 3],
             "choices": {"text": [str(n), str(2 * n + 100), "none of these, which is long"], "label": ["A", "B", "C"]}}
            for n in range(9)]
    for split in ("train", "validation", "test"):
        (arc / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = agrees(tmp_path / "job", ran(tmp_path / "job", tiny_model, tuned, "arc_challenge", tmp_path / "arc"))
    for line in lines:  # by acc_norm, the likelihood by length
        for name in ("base", "tuned"):
            assert line["scores"][name] == float([line["answers"][name]] == line["right"])

    gsm = tmp_path / "gsm"
    gsm.mkdir()
    for split in ("train", "test"):
        (gsm / f"{split}.jsonl").write_text("\n".join(json.dumps(
            {"question": f"Ravi has {n} and {n}?", "answer": f"{n}+{n}={2 * n}\n#### {2 * n}"}) for n in range(3)))
    result = ran(tmp_path / "job-gsm", tiny_model, tuned, "gsm8k", gsm, limit=2, shots=1)
    lines = agrees(tmp_path / "job-gsm", result)
    assert len(lines) == 2 and all(line["choices"] == [] for line in lines)
    assert lines[0]["right"][0].endswith(f"#### {lines[0]['right'][0].split()[-1]}")
    assert {text for line in lines for text in line["answers"].values()} == {"[invalid]"}, "as the harness reads it"
    assert {row.kind for row in benchmark_store.read_rows(tmp_path / "job-gsm")} == {"free"}


def test_a_task_whose_questions_cannot_be_read_apart_keeps_its_scores(tiny_model, tmp_path, monkeypatch):
    def stumble(*_: Any) -> None:
        raise KeyError("question")

    monkeypatch.setattr("slmstudio.worker.benchmark.lm_eval_run._rows", stumble)
    result = ran(tmp_path / "job", tiny_model, None, "mmlu", mmlu_folder.write(tmp_path / "mmlu", 2))
    assert result["models"][0]["accuracy"]["rows"] == 8 and not benchmark_store.shows_rows(tmp_path / "job")
    [told] = [event for event in gguf_models.events(tmp_path / "job") if event.get("code") == "benchmark_rows"]
    assert "can't be shown one by one: KeyError" in told["message"]


def test_a_folder_without_rows_and_damaged_lines(tmp_path):
    assert not benchmark_store.shows_rows(tmp_path)
    with pytest.raises(UserError, match="has no answers to a benchmark"):
        benchmark_store.read_rows(tmp_path)
    good = {"id": 0, "subject": "anatomy", "question": "Q?", "choices": ["a", "b"], "right": ["b"],
            "answers": {"base": "b", "tuned": "a"}, "scores": {"base": 1.0, "tuned": 0.0}}
    (tmp_path / benchmark_store.ROWS_FILE).write_bytes(
        b"half\n" + files.dump_line(good) + files.dump_line({**good, "id": 1, "scores": None}))
    [row] = benchmark_store.read_rows(tmp_path)
    assert row.gain("tuned", "base") == -100.0 and row.references == ["b"] and row.answers["tuned"] == "a"
