"""Benchmarks give lm_eval's own numbers on data that lie on this machine, and rows that agree with them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import gguf_models, mmlu_folder, starter
from support.evaluation_jobs import ran

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import benchmark_store
from slmstudio.core.jobs import processes
from slmstudio.worker.benchmark import lm_eval_run
from slmstudio.worker.benchmark.tasks import harness_tasks, write_tasks
from slmstudio.worker.evaluation import evaluate


def command_line(folder: Path, model: Path, data: Path, shots: int) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """lm_eval's own command line on the same files: accuracies by subject, and the log-likelihoods of all choices.

    Its tasks are written here, from lm_eval's own template, and know nothing of ours."""
    tasks = folder / "yaml"
    tasks.mkdir(parents=True)
    for subject in mmlu_folder.SUBJECTS:
        for split in ("dev", "test"):
            with open(data / split / f"{subject}_{split}.csv", encoding="utf-8", newline="") as file:
                rows = [{"question": row[0], "choices": row[1:5], "answer": "ABCD".index(row[5])}
                        for row in csv.reader(file)]
            (folder / f"{subject}_{split}.json").write_text("\n".join(map(json.dumps, rows)))
        spaced = subject.replace("_", " ")
        (tasks / f"{subject}.yaml").write_text(
            f"include: {harness_tasks() / 'mmlu' / 'default' / '_default_template_yaml'}\n"
            f"task: own_{subject}\ndataset_path: json\n"
            f"description: \"The following are multiple choice questions (with answers) about {spaced}.\\n\\n\"\n"
            f"dataset_kwargs: {{data_files: {{test: {folder}/{subject}_test.json, dev: {folder}/{subject}_dev.json}}, "
            f"cache_dir: {folder}/cache}}\n")
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32",
         "--tasks", ",".join(f"own_{subject}" for subject in mmlu_folder.SUBJECTS), "--include_path", str(tasks),
         "--num_fewshot", str(shots), "--device", "cpu", "--batch_size", "4", "--output_path", str(folder / "out"),
         "--log_samples"],
        env={**os.environ, **processes.worker_environment()}, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    [path] = (folder / "out").rglob("results_*.json")
    samples = {}
    for subject in mmlu_folder.SUBJECTS:
        [lines] = (folder / "out").rglob(f"samples_own_{subject}_*.jsonl")
        rows = sorted(map(json.loads, lines.read_text().splitlines()), key=lambda row: row["doc_id"])
        samples[subject] = [[float(choice[0]) for choice in row["filtered_resps"]] for row in rows]
    return json.loads(path.read_text())["results"], samples


def equals_the_command_line(folder: Path, model: Path, questions: int, shots: int) -> dict[str, Any]:
    data = mmlu_folder.write(folder / "mmlu", questions)
    result, kept = ran(folder / "job", "mmlu", data, model, shots=shots)
    accuracies, likelihoods = command_line(folder / "cli", model, data, shots)
    [ours] = result["models"]
    assert ours["accuracy"]["rows"] == 4 * questions and len(ours["by_subject"]) == 4
    for subject in mmlu_folder.SUBJECTS:
        mine = [[float(choice[0]) for choice in row["answers"]] for row in kept["samples"][f"mmlu_{subject}"]]
        assert len(mine) == questions
        for mine_row, their_row in zip(mine, likelihoods[subject], strict=True):
            assert mine_row == pytest.approx(their_row, abs=1e-4)
        assert ours["by_subject"][subject.replace("_", " ")]["value"] / 100 == pytest.approx(
            accuracies[f"own_{subject}"]["acc,none"], abs=1e-4)
    total = sum(accuracies[f"own_{subject}"]["acc,none"] for subject in mmlu_folder.SUBJECTS) / 4
    assert ours["accuracy"]["value"] / 100 == pytest.approx(total, abs=1e-4)
    return result


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_small_model_has_the_numbers_of_the_command_line(tiny_model, tmp_path):
    equals_the_command_line(tmp_path, tiny_model, questions=6, shots=2)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_starter_model_has_the_numbers_of_the_command_line(tmp_path):
    """Its first layers; 104 questions in four subjects, without examples, as lm_eval's default."""
    result = equals_the_command_line(tmp_path, starter.shallow_model(), questions=26, shots=0)
    print(json.dumps(result["models"][0]["accuracy"]))


def test_a_sample_of_each_subject_has_its_interval(tiny_model, tmp_path):
    data = mmlu_folder.write(tmp_path / "mmlu", 12)
    result, kept = ran(tmp_path / "job", "mmlu", data, tiny_model, limit=5)
    its = result["models"][0]["accuracy"]
    assert its["rows"] == 20 and its["low"] <= its["value"] <= its["high"] and its["low"] < its["high"]
    whole, all_ = ran(tmp_path / "whole", "mmlu", data, tiny_model)
    for subject, rows in kept["right"].items():
        assert len(rows) == 5 and {key: all_["right"][subject][key] for key in rows} == rows
    only, _ = ran(tmp_path / "one", "mmlu_hindi_words", data, tiny_model)
    assert only["models"][0]["accuracy"] == whole["models"][0]["by_subject"]["hindi words"]
    assert (whole["title"], only["title"]) == ("MMLU", "MMLU (hindi words)")


class TestBadFolders:
    def test_all_problems_of_a_folder_are_told_at_once(self, tmp_path):
        data = mmlu_folder.write(tmp_path / "mmlu", 3, 2)
        (data / "test" / "formal_logic_test.csv").unlink()
        (data / "dev" / "hindi_words_dev.csv").unlink()
        with open(data / "test" / "high_school_geography_test.csv", "a", encoding="utf-8") as file:
            file.write("Too short,a,b\nNo letter?,a,b,c,d,E\n")
        (data / "dev" / "elementary_mathematics_dev.csv").write_bytes(b"\xff\xfe\x00 nothing")
        with pytest.raises(UserError) as caught:
            write_tasks("mmlu", data, tmp_path / "place")
        said = "\n".join(map(str, caught.value.problems))
        for words in ("formal_logic has no test file, only: dev", "hindi_words has no dev file",
                      "line 4: test/high_school_geography_test.csv: 3 columns where 6 are needed",
                      "line 5: test/high_school_geography_test.csv: the answer is 'E'",
                      "elementary_mathematics_dev.csv can't be read"):
            assert words in said

    def test_subjects_that_mmlu_has_and_the_folder_has_not_are_told(self, tmp_path):
        tasks = write_tasks("mmlu", mmlu_folder.write(tmp_path / "mmlu", 3), tmp_path / "place")
        assert tasks.notes[0].startswith("54 of MMLU's 57 subjects are missing in mmlu: abstract_algebra, ")
        own = tmp_path / "own"
        (own / "test").mkdir(parents=True)
        (own / "test" / "ward_rules_test.csv").write_text("question,A,B,C,D,answer\nWho?,a,b,c,d,B\n")
        tasks = write_tasks("mmlu", own, tmp_path / "other")
        assert tasks.notes == () and tasks.names == ("mmlu_ward_rules",)

    def test_a_folder_without_anything(self, tmp_path):
        with pytest.raises(UserError, match="contains no table for any subject"):
            write_tasks("mmlu", tmp_path, tmp_path / "place")
        with pytest.raises(UserError, match="isn't a folder"):
            write_tasks("mmlu", tmp_path / "nowhere", tmp_path / "place")
        with pytest.raises(UserError, match=r"lacks these splits of gsm8k: test, train"):
            write_tasks("gsm8k", tmp_path, tmp_path / "place")
        with pytest.raises(UserError) as caught:
            write_tasks("gsm8kk", tmp_path, tmp_path / "place")
        assert "gsm8k" in caught.value.why

    def test_more_examples_than_there_are(self, tiny_model, tmp_path):
        """Said before a model is loaded: there is none here."""
        data = mmlu_folder.write(tmp_path / "mmlu", 3, examples=3)
        nowhere = tmp_path / "nowhere"
        with pytest.raises(UserError) as caught:
            ran(tmp_path / "job", "mmlu", data, nowhere, shots=5)
        assert "5 examples are needed before each question, and elementary mathematics has only 3" in caught.value.why
        assert "--shots 3" in caught.value.remedy
        ran(tmp_path / "job-3", "mmlu", data, tiny_model, shots=3)
        gsm = tmp_path / "gsm"
        gsm.mkdir()
        for split in ("train", "test"):
            (gsm / f"{split}.jsonl").write_text(json.dumps({"question": "1 + 1?", "answer": "2\n#### 2"}))
        with pytest.raises(UserError) as caught:
            ran(tmp_path / "job-gsm", "gsm8k", gsm, nowhere)  # whose own number is 5
        assert "5 examples are needed" in caught.value.why and "--shots 1" in caught.value.remedy

    def test_nothing_is_answered_before_a_benchmark_that_cannot_be_asked(self, tiny_model, tmp_path):
        data = mmlu_folder.write(tmp_path / "mmlu", 3, examples=3)
        (tmp_path / "test.jsonl").write_text(json.dumps({"question": "Why?", "answer": "Because."}) + "\n")
        job = gguf_models.context(
            tmp_path / "job", kind="evaluate", test=str(tmp_path / "test.jsonl"), precision="fp32",
            benchmark={"name": "mmlu", "data": str(data), "limit": None, "shots": 5},
            models=[{"name": "base", "model": str(tiny_model), "adapter": None, "gguf": None}])
        with pytest.raises(UserError, match="that many examples"):
            evaluate.run(job)
        assert not list((tmp_path / "job").glob("answers-*"))

    def test_questions_are_never_their_own_examples(self, tiny_model, tmp_path):
        data = mmlu_folder.write(tmp_path / "mmlu", 3)
        shutil.rmtree(data / "dev")
        with pytest.raises(UserError) as caught:
            ran(tmp_path / "job", "mmlu", data, tmp_path / "nowhere", shots=2)
        assert "has only questions" in caught.value.why and "--shots 0" in caught.value.remedy
        assert ran(tmp_path / "job-0", "mmlu", data, tiny_model, shots=0)[0]["models"][0]["accuracy"]["rows"] == 12


def test_scores_that_are_no_yes_or_no_are_compared_as_shares(tiny_model, tmp_path):
    """truthfulqa_mc2 gives the probability of what is true."""
    folder = tmp_path / "truthful"
    folder.mkdir()
    (folder / "validation.jsonl").write_text("\n".join(json.dumps({
        "question": f"What is {n}?", "mc1_targets": {"choices": ["A number.", "A cat."], "labels": [1, 0]},
        "mc2_targets": {"choices": ["A number.", "It is one.", "A cat."], "labels": [1, 1, 0]}}) for n in range(12)))
    result, kept = ran(tmp_path / "job", "truthfulqa_mc2", folder, tiny_model)
    [values] = [list(rows.values()) for rows in kept["right"].values()]
    assert all(0 < value < 1 for value in values)
    its = result["models"][0]["accuracy"]
    assert its["value"] == pytest.approx(100 * sum(values) / 12) and 0 < its["high"] - its["low"] < 20
    tuned = {"q": {n: 0.60 + 0.001 * (n % 7) for n in range(200)}}
    base = {"q": {n: 0.59 + 0.001 * (n % 5) for n in range(200)}}
    found = lm_eval_run._result({"name": "x", "data": "x"}, SimpleNamespace(title="X"), {"base": base, "tuned": tuned})
    [compared] = found["comparisons"]
    assert compared["p"] < 0.001 and compared["difference"] == pytest.approx(1.1, abs=0.05)
    assert compared["difference"] - 0.1 < compared["low"] < compared["difference"] < compared["high"]


# -- what each model chose at each question


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
