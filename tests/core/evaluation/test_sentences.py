"""What scores.json says is said in the language of who reads it, whoever wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import spoken
from support.scored_jobs import answers_of, items_of, write

from slmstudio.core import files
from slmstudio.core.evaluation.scores.judging import agreement_sentence
from slmstudio.core.evaluation.scoring import SCORES, benchmark_sentence, read_scores, score

COMPARED = {"of": "tuned", "with": "base", "difference": -0.7, "low": -1.8, "high": 0.4, "p": 0.5, "rows": 400}
AGREED = {"votes": 20, "agreed": 18, "share": 90.0, "low": 69.9, "high": 97.2, "by_chance": 50.0, "kappa": 0.8}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three models, groups, a judge and rows that were trained on, scored in English."""
    items = items_of(150)
    answers = [answers_of(items, 0.3 + 0.2 * i, i) for i in range(3)]
    answers[2] = [{**line, "reference_tokens": [7]} for line in answers[2]]
    made = write(tmp_path / "job", items, *answers)
    with (made / "answers-1.jsonl").open("ab") as stream:
        stream.write(b'{"id": 3, "ans\n')
    (made / "judge.jsonl").write_bytes(b"".join(
        files.dump_line({"id": i, "order": order, "a": "base", "b": "tuned", "winner": winner if i else None})
        for i, winner in enumerate("bbbabbab") for order in ("ab", "ba")))
    whole = score(made)
    whole["benchmarks"] = [
        {"title": "MMLU", "comparisons": [COMPARED], "sentence": benchmark_sentence("MMLU", [COMPARED])}]
    whole["judge"]["agreement"] = {**AGREED, "sentence": agreement_sentence(AGREED)}
    files.write_atomically(made / SCORES, files.dump_pretty(whole))
    return made


def said(scores: dict[str, Any]) -> list[str]:
    groups = [each for kind in scores["group_comparisons"].values() for group in kind.values() for each in group]
    judge = scores["judge"]
    return [*(each["sentence"] for each in (*scores["comparisons"], *groups, *scores["benchmarks"], *judge["pairs"])),
            judge["sentence"], judge["agreement"]["sentence"], *scores["remarks"]]


def test_in_the_language_in_which_it_was_written_nothing_changes(folder: Path) -> None:
    assert read_scores(folder) == files.read_json(folder / SCORES)
    assert read_scores(folder.parent) is None


def test_every_sentence_is_in_the_language_of_who_reads_it(folder: Path) -> None:
    with spoken.brackets():
        found = read_scores(folder)
    assert found is not None
    sentences = said(found)
    assert len(sentences) > 20 and all(map(spoken.is_translated, sentences)), sentences
    assert len(found["remarks"]) == 4


def without_figures(scores: dict[str, Any]) -> dict[str, Any]:
    """As older programs wrote them: the sentences alone."""
    old = [{key: value for key, value in each.items() if key not in ("score", "other", "tests", "same_scores")}
           for each in scores["comparisons"]]
    test = {key: value for key, value in scores["test"].items() if key not in ("groups", "damaged")}
    return {**scores, "comparisons": old, "test": test}


@pytest.mark.parametrize("change", [
    without_figures,
    lambda scores: {**scores, "comparisons": [5, *scores["comparisons"]], "test": [1]},
    lambda scores: {**scores, "comparisons": [{**each, "p": "small"} for each in scores["comparisons"]],
                    "models": "none"}], ids=["older", "damaged", "other types"])
def test_what_has_not_the_figures_for_its_sentences_keeps_them(folder: Path, change: Any) -> None:
    changed = change(files.read_json(folder / SCORES))
    files.write_atomically(folder / SCORES, files.dump_pretty(changed))
    with spoken.brackets():
        found = read_scores(folder)
    assert found is not None
    assert found["comparisons"] == changed["comparisons"] and found["remarks"] == changed["remarks"]
    assert spoken.is_translated(found["judge"]["sentence"]), "the rest is said"


def test_answers_that_repeat_themselves_are_counted_and_said_with_what_to_do(tmp_path: Path) -> None:
    items = items_of(20)
    first, second = (answers_of(items, 0.5, i) for i in range(2))
    second = [{**line, "finish": "repeat"} if line["id"] < 6 and not line.get("choices_by") else line
              for line in second]
    found = score(write(tmp_path / "job", items, first, second))
    base, tuned = (model["speed"] for model in found["models"])
    assert (base["repeated"], tuned["repeated"], tuned["cut"]) == (0, 6, 0)
    name = found["models"][1]["name"]
    assert (f"Answers that repeated themselves were stopped ({name}: 6 of 20). A lower learning rate, fewer epochs or "
            "more rows help a tuned model; in Chat, a repeat penalty helps any.") in found["remarks"]
