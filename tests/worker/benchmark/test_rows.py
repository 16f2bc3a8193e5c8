"""What each model chose at each question of a benchmark agrees with its scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import gguf_models, mmlu_folder
from support.evaluation_jobs import ran

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import benchmark_store


@pytest.fixture(scope="module")
def tuned(tiny_model, tmp_path_factory) -> Path:
    return gguf_models.adapter_on(tiny_model, tmp_path_factory.mktemp("adapters") / "tuned", lora_alpha=64)


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
    result, _ = ran(tmp_path / "job", "mmlu", data, tiny_model, tuned, shots=2, limit=6)
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
def test_rows_of_arc_hellaswag_and_gsm8k_agree_with_their_scores(tiny_model, tuned, tmp_path):
    def written(name: str, splits: tuple[str, ...], rows: list[dict[str, Any]]) -> Path:
        place = tmp_path / name
        place.mkdir(parents=True)
        for split in splits:
            (place / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        return place

    arc = [{"id": str(n), "question": f"What is {n} + {n}?", "answerKey": "ABC"[n % 3],
            "choices": {"text": [str(n), str(2 * n + 100), "none of these, which is long"], "label": ["A", "B", "C"]}}
           for n in range(9)]
    place = written("arc/ARC-Challenge", ("train", "validation", "test"), arc).parent
    result, kept = ran(tmp_path / "job", "arc_challenge", place, tiny_model, tuned)
    assert result["title"] == "ARC Challenge" and set(kept["right"]) == {"arc_challenge"}
    for line in agrees(tmp_path / "job", result):  # by acc_norm, the likelihood by length
        for name in ("base", "tuned"):
            assert line["scores"][name] == float([line["answers"][name]] == line["right"])

    swag = [{"ind": n, "activity_label": "Cooking", "ctx_a": "A man [title] cuts.", "ctx_b": "he", "label": str(n % 4),
             "endings": ["eats.", "sleeps [x] now.", "runs away quickly.", "sings."]} for n in range(4)]
    import pandas

    (tmp_path / "swag").mkdir()
    for split in ("train", "validation"):
        pandas.DataFrame(swag).to_parquet(tmp_path / "swag" / f"{split}-00000-of-00001.parquet")
    result, _ = ran(tmp_path / "job-swag", "hellaswag", tmp_path / "swag", tiny_model)
    assert result["title"] == "HellaSwag" and result["models"][0]["accuracy"]["rows"] == 4

    gsm = [{"question": f"Ravi has {n} and {n}?", "answer": f"{n}+{n}={2 * n}\n#### {2 * n}"} for n in range(6)]
    place = written("gsm", ("gsm8k_train", "gsm8k_test"), gsm)
    result, kept = ran(tmp_path / "job-gsm", "gsm8k", place, tiny_model, tuned, limit=2, shots=1)
    assert result["models"][0]["accuracy"] == {"value": 0.0, "low": 0.0, "rows": 2,
                                               "high": pytest.approx(65.76, abs=0.01)}
    assert all(len(row["answers"]) >= 1 for row in kept["samples"]["gsm8k"])
    lines = agrees(tmp_path / "job-gsm", result)
    assert len(lines) == 2 and all(line["choices"] == [] for line in lines)
    assert lines[0]["right"][0].endswith(f"#### {lines[0]['right'][0].split()[-1]}")
    assert {text for line in lines for text in line["answers"].values()} == {"[invalid]"}, "as the harness reads it"
    assert {row.kind for row in benchmark_store.read_rows(tmp_path / "job-gsm")} == {"free"}


def test_a_task_whose_questions_cannot_be_read_apart_keeps_its_scores(tiny_model, tmp_path, monkeypatch):
    def stumble(*_: Any) -> None:
        raise KeyError("question")

    monkeypatch.setattr("slmstudio.worker.benchmark.lm_eval_run._rows", stumble)
    result, _ = ran(tmp_path / "job", "mmlu", mmlu_folder.write(tmp_path / "mmlu", 2), tiny_model)
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
