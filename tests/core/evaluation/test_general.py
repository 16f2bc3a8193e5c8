"""The general questions: a sound set, answers that are told apart only by more than chance, and what that leads to."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest

from slmstudio.core import files
from slmstudio.core.evaluation import general

BOTH = {"general": True, "models": [{"name": "base"}, {"name": "tuned"}, {"name": "Q4_K_M"}]}
SURE, UNSURE, WRONG = [0.0, -6.0, -6.0, -6.0], [0.0, -0.1, -0.1, -0.1], [-3.0, 0.0, -3.0, -3.0]
"""Log-likelihoods of the choices, the right one first."""


def write(folder, *answers: list[list[float]]) -> None:
    for model, given in enumerate(answers):
        lines = []
        for item, logprobs in zip(general.questions(), given, strict=True):
            right, *wrong = logprobs
            at = item["answer"]
            lines.append({"id": item["id"], "choice_logprobs": [*wrong[:at], right, *wrong[at:]]})
        (folder / general.answers_file(model)).write_bytes(b"".join(map(files.dump_line, lines)))


def scored(folder, *answers: list[list[float]]) -> dict[str, Any]:
    write(folder, *answers)
    found = general.score(folder, BOTH)
    assert found is not None
    return json.loads(json.dumps({general.KEY: found}))


def test_the_questions_are_even_and_none_gives_itself_away():
    items = general.questions()
    assert Counter(item["language"] for item in items) == {"en": 24, "hi": 24}
    assert Counter((item["language"], item["answer"]) for item in items) == {
        (language, place): 6 for language in ("en", "hi") for place in range(4)}
    assert len({item["messages"][0]["content"] for item in items}) == len(items)
    for item in items:
        assert len({*map(str.casefold, item["choices"])}) == 4
        assert item["references"] == [item["choices"][item["answer"]]]
    longest = sum(len(item["references"][0]) == max(map(len, item["choices"])) for item in items)
    shortest = sum(len(item["references"][0]) == min(map(len, item["choices"])) for item in items)
    assert longest < 24 and shortest < 30, "the length of a choice says nothing"


def test_base_and_tuned_are_asked_unless_that_is_switched_off():
    assert general.asked(BOTH) == [0, 1]
    assert general.asked({**BOTH, "general": False}) == general.asked({"models": BOTH["models"]}) == []
    assert general.asked({"general": True, "models": [{"name": "tuned"}, {"name": "Q4_K_M"}]}) == []


def test_what_is_kept_counts_right_answers_and_the_surprise_at_them_by_language(tmp_path):
    found = scored(tmp_path, [SURE] * 48, [SURE] * 24 + [WRONG] * 24)[general.KEY]
    assert [model["right"] for model in found["models"]] == [48, 24] and found["questions"] == 48
    assert found["models"][1]["by_language"]["hi"]["right"] == 0
    nats = math.log(1 + 3 * math.exp(-6))
    assert found["models"][0]["nats"] == pytest.approx(nats, abs=1e-5)
    assert found["models"][1]["by_language"]["en"]["nats"] == pytest.approx(nats, abs=1e-5)
    assert found["comparisons"][0]["right"]["difference"] == -50


@pytest.mark.parametrize("answers, expected", [
    ([SURE] * 30 + [WRONG] * 18, (48, 30, 48)),   # a third lost
    ([SURE] * 46 + [WRONG] * 2, None),            # two of 48, as chance has it
    ([UNSURE] * 48, None),                        # less sure, and as often right: nothing that people could count
    ([SURE] * 48, None),
])
def test_only_more_than_chance_counts_as_forgotten(tmp_path, answers, expected):
    assert general.loss(scored(tmp_path, [SURE] * 48, answers)) == expected
    assert general.loss(scored(tmp_path, answers, [SURE] * 48)) is None, "the other way round it learned"


def test_answers_that_are_missing_or_damaged_are_left_out(tmp_path):
    assert general.score(tmp_path, BOTH) is None
    write(tmp_path, [SURE] * 48, [SURE] * 48)
    with open(tmp_path / general.answers_file(1), "ab") as file:
        file.write(files.dump_line({"id": 0, "choice_logprobs": [None, 0.0, 0.0, 0.0], "skipped": "NaN"}))
    found = general.score(tmp_path, BOTH)
    assert found is not None and found["questions"] == 47
    assert general.loss({}) is general.loss({"general": {"models": [{"name": "base"}]}}) is None


def test_it_is_said_in_counts():
    assert general.sentence(41, 30, 48) == "It forgot some general knowledge: 41 of 48 before, 30 after."
