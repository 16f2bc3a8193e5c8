"""Runs that answered the same rows are set against each other by a paired test."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support.scored_jobs import answers_of, items_of, write

from slmstudio.core import files
from slmstudio.core.evaluation import answer_rows
from slmstudio.core.evaluation.benchmark_store import ROWS_FILE
from slmstudio.core.evaluation.comparability import unique
from slmstudio.core.evaluation.paired import ComparedRun, Paired, compare_rows, compare_runs
from slmstudio.core.evaluation.scoring import score

Line = dict[str, Any]


def side(name: str, folder: Path, items: list[Line], good: float, seed: int, **request: Any) -> ComparedRun:
    """An evaluation of base and tuned; the base answers as all others do."""
    return ComparedRun(name, write(folder / name, items, answers_of(items, 0.1, 1), answers_of(items, good,
        seed), **request))


def other_order(items: list[Line]) -> list[Line]:
    """The same rows with other ids."""
    mixed = random.Random(3).sample(items, len(items))
    return [{**item, "id": number, "line": number + 9} for number, item in enumerate(mixed)]


def main_of(comparisons: list[Line]) -> list[Line]:
    return [each for each in comparisons if each["main"]]


def test_the_difference_is_that_of_one_evaluation_of_both(tmp_path: Path) -> None:
    """Whatever the order of the rows and their places are, the result is that of the rows answered together."""
    items = items_of(150)
    weak, strong = answers_of(items, 0.3, 2), answers_of(items, 0.8, 3)
    together = score(write(tmp_path / "both", items, weak, strong))
    places = other_order(items)
    number_of = {item["messages"][0]["content"]: item["id"] for item in items}
    mixed = [{**strong[number_of[item["messages"][0]["content"]]], "id": item["id"]} for item in places]
    sides = [ComparedRun("weak", write(tmp_path / "a", items, answers_of(items, 0.1, 1), weak, test="/a/tests.jsonl")),
             ComparedRun("strong", write(tmp_path / "b", places, answers_of(places, 0.1, 1), mixed,
                 test="/b/other.jsonl"))]
    found = compare_rows(sides)
    wanted = [{**each, "of": "strong", "with": "weak"} for each in together["comparisons"]]
    assert found.comparisons == wanted and found.rows is not None and len(found.rows) == 150
    (said,) = found.sentences()
    assert said.startswith("strong against weak: Better: ") and said.endswith("p < 0.001.")
    assert "were asked" not in " ".join(found.remarks)


def test_equal_runs_are_not_told_apart(tmp_path: Path) -> None:
    items = items_of(60)
    same = compare_rows([side("a", tmp_path, items, 0.5, 4), side("b", tmp_path, items, 0.5, 4)])
    assert same.sentences() == ["b against a: The answers are the same."]
    alike = compare_rows([side("c", tmp_path, items, 0.5, 5), side("d", tmp_path, items, 0.5, 6)])
    (main,) = main_of(alike.comparisons)
    assert main["verdict"] == "unknown" and "20 rows aren't enough to show a difference" in main["sentence"]


def test_only_rows_with_the_same_content_are_paired(tmp_path: Path) -> None:
    items = items_of(60)
    changed = [dict(item) for item in items]
    changed[0]["references"] = ["something else"]
    changed[1]["choices"] = ["yes", "no"]
    changed[4]["answer"] = 1 - changed[4]["answer"]
    changed = changed[:50]
    found = compare_rows([side("a", tmp_path, items, 0.2, 2), side("b", tmp_path, changed, 0.8, 3)])
    assert found.rows is not None and len(found.rows) == 47
    assert ("b and a are compared on the 47 rows that both were asked. 3 rows of b and 13 of a are left out."
            in found.remarks)
    other = [{**item, "messages": [{"role": "user", "content": f"x{item['id']}"}]} for item in items]
    none = compare_rows([side("c", tmp_path, items, 0.2, 2), side("d", tmp_path, other, 0.8, 3)])
    assert none.rows is None and none.comparisons == []
    assert none.remarks == ["d isn't compared with c: they have no test rows in common."]


@pytest.mark.parametrize(("of_one", "said"), [
    ({"max_new_tokens": 256}, "b isn't compared with a: its answers have 256 tokens at most, the other's 64."),
    ({"system": "Be brief."}, "b isn't compared with a: they were asked with different system prompts.")])
def test_answers_to_other_questions_are_not_compared(tmp_path: Path, of_one: Line, said: str) -> None:
    items = items_of(30)
    usual = {"max_new_tokens": 64, "system": None}
    found = compare_rows([side("a", tmp_path, items, 0.2, 2, **usual), side("b", tmp_path, items, 0.8, 3,
                                                                           **{**usual, **of_one})])
    assert found.comparisons == [] and found.remarks == [said]


def test_other_number_formats_are_named(tmp_path: Path) -> None:
    items = items_of(30)
    four_bits = [{"name": "base"}, {"name": "tuned", "load_in_4bit": True}]
    found = compare_rows([side("a", tmp_path, items, 0.5, 4, precision="bf16"),
                          side("b", tmp_path, items, 0.6, 5, precision="bf16", models=four_bits),
                          side("c", tmp_path, items, 0.6, 5, precision="bf16")])
    assert [each for each in found.remarks if "was computed" in each] == [
        "a was computed in bf16, b in 4 bits: part of the difference may come from that."]
    assert len(main_of(found.comparisons)) == 2


def test_answers_after_thoughts_are_not_compared_with_answers_given_at_once(tmp_path: Path) -> None:
    items = items_of(30)
    before, now = side("before", tmp_path, items, 0.5, 4), side("now", tmp_path, items, 0.5, 5)
    files.write_atomically(now.folder / answer_rows.ITEMS_FACTS, answer_rows.items_facts("0", 24, thinks=False))
    assert compare_rows([before, now]).comparisons, "nobody thought"
    path = before.folder / "answers-1.jsonl"
    lines = [{**line, answer_rows.KEY: "hm"} for line in files.LineReader(path).read()]
    path.write_bytes(b"".join(map(files.dump_line, lines)))
    found = compare_rows([before, now])
    assert not found.comparisons and found.remarks == [
        "now isn't compared with before: before was asked to think before it answered, the other to answer right away. "
        "Evaluate both again."]


def test_rows_without_an_answer_of_one_run_are_left_out(tmp_path: Path) -> None:
    items = items_of(60)
    first, second = side("a", tmp_path, items, 0.2, 2), side("b", tmp_path, items, 0.8, 3)
    lines = (second.folder / "answers-1.jsonl").read_bytes().splitlines(keepends=True)
    (second.folder / "answers-1.jsonl").write_bytes(b"".join(lines[6:]))
    found = compare_rows([first, second])
    assert found.rows is not None and len(found.rows) == 60
    assert {each["rows"] for each in found.comparisons if each["metric"] == "chrf"} == {18}
    assert any("leave out" in each for each in found.remarks)


def test_rows_that_one_run_has_learned_are_named(tmp_path: Path) -> None:
    items = [{**item, "trained_on": False} for item in items_of(30)]
    learned = [{**item, "trained_on": item["id"] == 3} for item in items]
    found = compare_rows([side("a", tmp_path, items, 0.2, 2), side("b", tmp_path, learned, 0.8, 3)])
    assert any(each.startswith("1 of 30 rows were in the training data") for each in found.remarks)


def test_an_evaluation_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    items = items_of(30)
    first, second = side("a", tmp_path, items, 0.2, 2), side("b", tmp_path, items, 0.8, 3)
    (second.folder / "items.jsonl").unlink()
    found = compare_rows([first, second])
    assert found.rows is None and found.remarks[0].startswith("The answers of b can't be read: There is nothing")
    assert compare_rows([second, first]).rows is None


def test_the_rows_can_be_looked_at(tmp_path: Path) -> None:
    items = items_of(30)
    found = compare_rows([side("a", tmp_path, items, 0.2, 2), side("b", tmp_path, other_order(items), 0.8, 3)])
    assert found.rows is not None
    rows = found.rows.scored()
    assert [row.id for row in rows] == list(range(30)) and all(set(row.answers) == {"a", "b"} for row in rows)
    assert max(gain for row in rows if (gain := row.gain("b", "a")) is not None) > 50


def test_names_are_told_apart() -> None:
    assert unique(["help", "desk", "help", "help (2)"]) == ["help", "desk", "help (2)", "help (2) (2)"]


# -- question by question of a benchmark


def questions_of(name: str, place: Path, good: float, seed: int, questions: range = range(200)) -> ComparedRun:
    """Answers of base and tuned; a question stands twice, with another right answer."""
    rng = random.Random(seed)
    lines = []
    for number in rng.sample(list(questions), len(questions)):
        right = float(random.Random(f"{seed} {number}").random() < good)
        lines.append({"id": number, "subject": ("anatomy", "law")[number % 2], "question": f"Question {number // 4}?",
                      "choices": ["a", "b"], "right": ["a"], "answers": {"base": "a", "tuned": "b"},
                      "scores": {"base": 1.0, "tuned": right}})
    (place / name).mkdir()
    (place / name / ROWS_FILE).write_bytes(b"".join(map(files.dump_line, sorted(lines, key=lambda line: line["id"]))))
    return ComparedRun(name, place / name)


def mmlu(*sides: ComparedRun) -> Paired:
    return compare_runs([], {"MMLU": sides})


def test_the_run_that_is_better_at_a_benchmark_is_found(tmp_path: Path) -> None:
    found = mmlu(questions_of("a", tmp_path, 0.4, 1), questions_of("b", tmp_path, 0.7, 2))
    (said,) = found.sentences()
    assert said.startswith("MMLU: b against a: Better: ") and "percent accuracy" in said and found.remarks == []
    (main,) = found.comparisons
    assert main["rows"] == 200 and main["difference"] > 15 and main["benchmark"] == "MMLU"
    assert mmlu(questions_of("c", tmp_path, 0.5, 3), questions_of("d", tmp_path, 0.5, 3)).sentences() == [
        "MMLU: d against c: Every row has the same score."]


def test_p_of_benchmarks_is_corrected_for_the_number_of_runs(tmp_path: Path) -> None:
    sides = [questions_of(name, tmp_path, good, seed)
             for name, good, seed in (("a", 0.4, 1), ("b", 0.5, 2), ("c", 0.55, 3))]
    alone = [mmlu(sides[0], each).comparisons[0]["p"] for each in sides[1:]]
    together = [each["p"] for each in mmlu(*sides).comparisons]
    assert min(together) == pytest.approx(2 * min(alone))


def test_only_questions_that_both_were_asked_count(tmp_path: Path) -> None:
    whole, part = questions_of("a", tmp_path, 0.4, 1), questions_of("b", tmp_path, 0.7, 2, range(40))
    (main,) = mmlu(whole, part).comparisons
    assert main["rows"] == 40 and main["left_out"] == 160
    others = questions_of("c", tmp_path, 0.7, 2, range(400, 440))
    found = mmlu(whole, others)
    assert found.comparisons == [] and found.remarks == ["MMLU: c and a weren't asked any of the same questions."]


def test_answers_that_were_not_kept_are_named(tmp_path: Path) -> None:
    kept = questions_of("a", tmp_path, 0.4, 1)
    found = mmlu(kept, ComparedRun("b", tmp_path))
    assert found.comparisons == [] and found.remarks[0].startswith("MMLU: the answers of b can't be compared")
    assert len(mmlu(ComparedRun("b", tmp_path), ComparedRun("c", tmp_path)).remarks) == 2


def test_shares_are_compared_as_shares(tmp_path: Path) -> None:
    """A little better at every question is better, though nothing was right before and wrong now."""
    sides = [questions_of(name, tmp_path, 0.5, 1) for name in ("a", "b")]
    for each, more in zip(sides, (0.0, 0.1), strict=True):
        lines = list(files.LineReader(each.folder / ROWS_FILE).read())
        for line in lines:
            line["scores"]["tuned"] = 0.3 + 0.4 * line["scores"]["tuned"] + more * (line["id"] % 3 + 1)
        (each.folder / ROWS_FILE).write_bytes(b"".join(map(files.dump_line, lines)))
    (main,) = mmlu(*sides).comparisons
    assert main["verdict"] == "better" and 15 < main["low"] < 20 < main["high"] < 25
