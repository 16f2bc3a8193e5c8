"""A job folder's answers become scores.json, and the same answers the same scores."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.scored_jobs import answers_of, items_of, write

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.scores.score_table import ScoreTable
from slmstudio.core.evaluation.scoring import row_scores, score


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    items = items_of(150)
    return write(tmp_path / "job", items, answers_of(items, 0.2, 1), answers_of(items, 0.8, 2))


def without_time(scores: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in scores.items() if key != "created"}


def test_a_better_model_is_found_better(folder: Path) -> None:
    scores = score(folder)
    assert files.read_json(folder / "scores.json") == scores
    assert scores["test"]["kinds"] == {"free": 50, "choice": 50, "number": 50}
    base, tuned = scores["models"]
    for key in ("accuracy", "numeric", "chrf", "exact"):
        assert base["scores"][key]["high"] < tuned["scores"][key]["low"] and tuned["scores"][key]["rows"] == 50
    assert set(tuned["by_category"]) == {"law", "art"} and tuned["by_language"]["hi"] == tuned["scores"]
    assert tuned["speed"] == {"seconds": 75.0, "tokens_per_second": 8.0, "answer_tokens": 5.0,
                              "reference_tokens": 6.0, "cut": 0, "repeated": 0, "marked": 0, "mark": "", "alike": 2}
    said = {each["metric"]: each for each in scores["comparisons"]}
    assert all(said[key]["verdict"] == "better" and said[key]["p"] < 0.001 for key in ("accuracy", "numeric", "chrf"))
    assert said["chrf"]["sentence"].startswith("Better: ") and said["chrf"]["difference"] > 30
    assert [each["metric"] for each in scores["comparisons"] if each["main"]] == ["chrf"]
    assert "perplexity" in tuned["scores"] and "perplexity" not in said


def test_values_are_the_ones_that_one_computes_by_hand(tmp_path: Path) -> None:
    items = [{"id": i, "kind": "free", "references": ["the cat sat on the mat"], "messages": []} for i in range(4)]
    texts = ["the cat sat on the mat", "a dog", "The cat sat on the mat.", ""]
    answers = [{"id": i, "answer": text, "reference_nats": [i + 1.0], "reference_tokens": [2 * i + 1]}
               for i, text in enumerate(texts)]
    import sacrebleu

    scores = score(write(tmp_path / "job", items, answers))["models"][0]["scores"]
    references = [["the cat sat on the mat"] * 4]
    assert scores["exact"]["value"] == 25 and scores["normalised"]["value"] == 50
    assert scores["loss"]["value"] == pytest.approx(10 / 16)
    chrf, bleu = sacrebleu.corpus_chrf(texts, references, word_order=2), sacrebleu.corpus_bleu(texts, references)
    assert scores["chrf"]["value"] == pytest.approx(chrf.score, abs=1e-5)
    assert scores["bleu"]["value"] == pytest.approx(bleu.score, abs=1e-5)
    assert "bleu_intl" not in scores  # nothing here that the default tokenizer doesn't know


def test_the_same_answers_give_the_same_scores(folder: Path, tmp_path: Path) -> None:
    """In whatever order, and with a batch written twice, as after a kill."""
    whole = without_time(score(folder))
    for i in range(2):
        path = folder / f"answers-{i}.jsonl"
        lines = path.read_bytes().splitlines(keepends=True)
        random.Random(i).shuffle(lines)
        path.write_bytes(b"".join([*lines, *lines[:20]]))
    assert json.dumps(without_time(score(folder))) == json.dumps(whole)


def test_only_rows_that_both_answered_are_compared(tmp_path: Path) -> None:
    items = items_of(60)
    base, tuned = answers_of(items, 0.5, 1), answers_of(items, 0.5, 2)
    tuned[0] = {"id": 0, "answer": "", "skipped": "The question alone is longer than the context."}
    del tuned[3]
    scores = score(write(tmp_path / "job", items, base, tuned))
    said = {each["metric"]: each for each in scores["comparisons"]}
    assert said["chrf"]["rows"] == 18 and said["chrf"]["left_out"] == 2 and said["accuracy"]["left_out"] == 0
    assert scores["models"][1]["rows"] == 58 and scores["models"][1]["skipped"] == 1
    assert "Comparisons leave out 2 of 60 rows, because one of the models didn't answer them." in scores["remarks"]
    assert any("2 of 60 rows were in the training data" in each for each in scores["remarks"])


def test_several_models_are_corrected_for(tmp_path: Path) -> None:
    items = items_of(150)
    scores = score(write(tmp_path / "job", items, *(answers_of(items, 0.3 + 0.15 * i, i) for i in range(3))))
    for metric in ("chrf", "numeric"):
        pair = [each for each in scores["comparisons"] if each["metric"] == metric]
        assert len(pair) == 2 and max(each["p"] for each in pair) == max(each["p_uncorrected"] for each in pair)
        assert min(each["p"] for each in pair) == pytest.approx(min(1, 2 * min(each["p_uncorrected"] for each in pair)))
        assert all("corrected for 2 comparisons" in each["sentence"] for each in pair)


def test_rows_for_the_viewer(folder: Path) -> None:
    rows = row_scores(folder)
    assert [row.id for row in rows] == list(range(150)) and rows[0].messages[0]["content"] == "प्रश्न 0"
    free = [row for row in rows if row.kind == "free"]
    gains = [row.gain("tuned", "base") for row in free]
    assert np.mean([gain for gain in gains if gain is not None]) > 20
    assert rows[1].scores["base"].keys() == {"accuracy", "accuracy_norm", "loss", "perplexity"}
    assert rows[0].gain("tuned", "nobody") is None


def test_a_half_written_answer_and_missing_fields_lose_nothing_else(folder: Path) -> None:
    whole = score(folder)
    with open(folder / "answers-1.jsonl", "ab") as file:
        file.write(b'{"id": 7, "answer": "hal')
    assert without_time(score(folder)) == without_time(whole)
    with open(folder / "answers-1.jsonl", "ab") as file:
        file.write(b'\n[1]\n{"answer": "no id"}\n')
    assert any("3 damaged lines" in each for each in score(folder)["remarks"])


@pytest.mark.parametrize("missing", ["items.jsonl", "answers"])
def test_nothing_to_score_is_said(folder: Path, missing: str) -> None:
    for path in folder.glob(f"{missing}*"):
        path.unlink()
    with pytest.raises(UserError, match="nothing to score"):
        score(folder)
    assert not (folder / "scores.json").exists()


def test_a_model_that_has_not_answered_yet_has_no_scores(folder: Path) -> None:
    (folder / "answers-1.jsonl").unlink()
    scores = score(folder)
    assert scores["models"][1]["scores"] == {} and scores["comparisons"] == []


def test_each_category_has_a_verdict_of_its_own_corrected_for_their_number(tmp_path):
    items = items_of(60)
    made = {seed: answers_of(items, good, seed) for seed, good in ((1, 0.1), (2, 0.95))}
    better = [made[2][i] if item["category"] == "law" else made[1][i] for i, item in enumerate(items)]
    found = score(write(tmp_path / "job", items, made[1], better))["group_comparisons"]
    assert set(found) == {"category", "training"}, "one language alone tells nothing more than all rows"
    (law,), (art,) = found["category"]["law"], found["category"]["art"]
    assert law["verdict"] == "better" and "corrected for 2 comparisons" in law["sentence"] and law["rows"] < 60
    assert art["verdict"] == "unknown" and art["sentence"] == "The answers are the same."


def test_scores_are_given_without_the_rows_that_were_learned_too(tmp_path):
    items = items_of(60)
    made = score(write(tmp_path / "job", items, answers_of(items, 0.1, 1), answers_of(items, 0.9, 2)))
    tuned = made["models"][1]["by_training"]
    assert set(tuned) == {"learned", "new"} and tuned["learned"]["loss"]["rows"] == 2
    assert made["group_comparisons"]["training"]["new"][0]["verdict"] == "better"
    left = [{**item, "trained_on": False} for item in items]
    assert score(write(tmp_path / "new", left, answers_of(left, 0.1, 1)))["models"][0]["by_training"] == {}


def test_scoring_can_be_cancelled_to_its_end(tmp_path):
    """Intervals and tests of many scores and groups take seconds after the last row was counted."""
    from support import evaluated_runs

    job = evaluated_runs.write(tmp_path, count=30)
    before = (job.folder / "scores.json").read_bytes()

    class Enough(Exception):
        pass

    asked = []

    def cancel(done: int, total: int) -> None:
        asked.append((done, total))
        if asked.count((30, 30)) == 5:
            raise Enough

    with pytest.raises(Enough):
        score(job.folder, cancel)
    assert asked[0] == (0, 30) and (job.folder / "scores.json").read_bytes() == before


def test_losses_of_models_with_other_tokens_are_not_compared(tmp_path: Path) -> None:
    """Nats a token of a model that cuts Hindi into letters are lower, whatever it knows."""
    items = items_of(60)
    base, other = answers_of(items, 0.5, 1), answers_of(items, 0.5, 1)
    for line in other:
        line["reference_tokens"] = [line["reference_tokens"][0] * 3]
    scores = score(write(tmp_path / "job", items, base, other))
    assert "loss" in scores["models"][1]["scores"], "it is still told"
    assert "loss" not in {each["metric"] for each in scores["comparisons"]}
    said = "The loss isn't compared: the two models split text into different tokens."
    assert said in scores["remarks"]
    third = score(write(tmp_path / "three", items, base, base, other))
    assert {each["of"] for each in third["comparisons"] if each["metric"] == "loss"} == {"tuned"}
    assert ("The loss isn't compared with that of base for these models, which split text into different tokens: "
            "Q4_K_M." in third["remarks"])
    alone = [{**line, "answer": None} for line in other]
    groups = score(write(tmp_path / "alone", items, [{**line, "answer": None} for line in base], alone))
    assert not any(each["metric"] == "loss" for kind in groups["group_comparisons"].values()
                   for found in kind.values() for each in found)
    assert said not in score(write(tmp_path / "same", items, base, base))["remarks"]


def test_what_only_the_loss_shows_is_told_with_the_verdict(tmp_path: Path) -> None:
    """Ten minutes of training lower the loss long before the written answers are any better."""
    items = items_of(60)
    base = answers_of(items, 0.5, 1)
    learned = [{**line, "reference_nats": [line["reference_nats"][0] / 4]} for line in base]
    scores = score(write(tmp_path / "job", items, base, learned))
    (main,) = (each for each in scores["comparisons"] if each["main"])
    (loss,) = (each for each in scores["comparisons"] if each["metric"] == "loss")
    assert (main["verdict"], loss["verdict"]) == ("unknown", "better") and loss["sentence"].startswith("Better: ")
    assert main["sentence"] == f"The answers are the same. The loss does show a difference. {loss['sentence']}"
    assert main["same"] is True and loss["same"] is False
    worse = score(write(tmp_path / "worse", items, learned, base))
    assert any(" The loss does show a difference. Worse: " in each["sentence"] for each in worse["comparisons"]
               if each["main"])
    (accuracy,) = (each for each in scores["comparisons"] if each["metric"] == "accuracy")
    assert accuracy["sentence"] == "Every row has the same score."
    same = score(write(tmp_path / "same", items, base, base))
    assert {(each["sentence"], each["verdict"], each["p"], each["difference"]) for each in same["comparisons"]} == {
        ("The answers are the same.", "unknown", 1.0, 0.0)}


def test_a_column_with_another_text_in_each_row_is_no_category(tmp_path: Path) -> None:
    items = items_of(600)
    for item in items:
        item["category"] = "common" if item["id"] % 3 else f"topic {item['id']}"
    found = score(write(tmp_path / "job", items, answers_of(items, 0.2, 1), answers_of(items, 0.8, 2)))
    assert set(found["models"][1]["by_category"]) == {"common"} and "category" not in found["group_comparisons"]
    assert any(each.startswith("“category” has 201 values") for each in found["remarks"])
    for item in items:
        item["category"] = f"topic {item['id'] * item['id'] // 1500:03}"
    found = score(write(tmp_path / "more", items, answers_of(items, 0.2, 1)))
    kept = found["models"][0]["by_category"]
    assert len(kept) <= 100 and "topic 000" in kept and list(kept) == sorted(kept)


def test_answers_that_are_all_alike_or_have_marks_of_a_template_are_counted():
    table = ScoreTable(2, intl=False)
    for number, reference in enumerate(("Yes.", "yes", "No", "<|im_end|> ends a turn")):
        item = {"id": number, "kind": "free", "references": [reference], "messages": []}
        table.add(item, [{"answer": f"Answer {number} [/INST]" if number else "Fine."},
                         {"answer": " YES. " if number != 3 else "<|im_end|> ends it"}])
    table.add({"id": 4, "kind": "choice", "references": ["Yes."], "choices": ["Yes.", "No"], "answer": 0},
              [{"answer": ""}, {"answer": ""}])
    base, tuned = (speed.to_dict() for speed in table.speeds)
    assert (base["marked"], base["mark"], base["alike"]) == (2, "[/INST]", 1)
    assert (tuned["marked"], tuned["mark"], tuned["alike"]) == (0, "", 3)
    assert table.references_alike() == 2
