"""Runs are set against each other question by question of a benchmark."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from slmstudio.core import files
from slmstudio.core.evaluation.benchmark_rows import FILE
from slmstudio.core.evaluation.paired import ComparedRun, Paired, compare_runs


def side(name: str, place: Path, good: float, seed: int, questions: range = range(200)) -> ComparedRun:
    """Answers of base and tuned; a question stands twice, with another right answer."""
    rng = random.Random(seed)
    lines = []
    for number in rng.sample(list(questions), len(questions)):
        right = float(random.Random(f"{seed} {number}").random() < good)
        lines.append({"id": number, "subject": ("anatomy", "law")[number % 2], "question": f"Question {number // 4}?",
                      "choices": ["a", "b"], "right": ["a"], "answers": {"base": "a", "tuned": "b"},
                      "scores": {"base": 1.0, "tuned": right}})
    (place / name).mkdir()
    (place / name / FILE).write_bytes(b"".join(map(files.dump_line, sorted(lines, key=lambda line: line["id"]))))
    return ComparedRun(name, place / name)


def mmlu(*sides: ComparedRun) -> Paired:
    return compare_runs([], {"MMLU": sides})


def test_the_better_run_is_found(tmp_path: Path) -> None:
    found = mmlu(side("a", tmp_path, 0.4, 1), side("b", tmp_path, 0.7, 2))
    (said,) = found.sentences()
    assert said.startswith("MMLU: b against a: Better: ") and "percent accuracy" in said and found.remarks == []
    (main,) = found.comparisons
    assert main["rows"] == 200 and main["difference"] > 15 and main["benchmark"] == "MMLU"
    assert mmlu(side("c", tmp_path, 0.5, 3), side("d", tmp_path, 0.5, 3)).sentences() == [
        "MMLU: d against c: Every row has the same score."]


def test_p_is_corrected_for_the_number_of_runs(tmp_path: Path) -> None:
    sides = [side(name, tmp_path, good, seed) for name, good, seed in (("a", 0.4, 1), ("b", 0.5, 2), ("c", 0.55, 3))]
    alone = [mmlu(sides[0], each).comparisons[0]["p"] for each in sides[1:]]
    together = [each["p"] for each in mmlu(*sides).comparisons]
    assert min(together) == pytest.approx(2 * min(alone))


def test_only_questions_that_both_were_asked_count(tmp_path: Path) -> None:
    whole, part = side("a", tmp_path, 0.4, 1), side("b", tmp_path, 0.7, 2, range(40))
    (main,) = mmlu(whole, part).comparisons
    assert main["rows"] == 40 and main["left_out"] == 160
    others = side("c", tmp_path, 0.7, 2, range(400, 440))
    found = mmlu(whole, others)
    assert found.comparisons == [] and found.remarks == ["MMLU: c and a weren't asked any of the same questions."]


def test_answers_that_were_not_kept_are_named(tmp_path: Path) -> None:
    kept = side("a", tmp_path, 0.4, 1)
    found = mmlu(kept, ComparedRun("b", tmp_path))
    assert found.comparisons == [] and found.remarks[0].startswith("MMLU: the answers of b can't be compared")
    assert len(mmlu(ComparedRun("b", tmp_path), ComparedRun("c", tmp_path)).remarks) == 2


def test_shares_are_compared_as_shares(tmp_path: Path) -> None:
    """A little better at every question is better, though nothing was right before and wrong now."""
    sides = [side(name, tmp_path, 0.5, 1) for name in ("a", "b")]
    for each, more in zip(sides, (0.0, 0.1), strict=True):
        lines = list(files.LineReader(each.folder / FILE).read())
        for line in lines:
            line["scores"]["tuned"] = 0.3 + 0.4 * line["scores"]["tuned"] + more * (line["id"] % 3 + 1)
        (each.folder / FILE).write_bytes(b"".join(map(files.dump_line, lines)))
    (main,) = mmlu(*sides).comparisons
    assert main["verdict"] == "better" and 15 < main["low"] < 20 < main["high"] < 25
