"""The general questions: a sound set, answers that are told apart only by more than chance, and what that leads to."""

from __future__ import annotations

from collections import Counter

import pytest

from slmstudio.core import files
from slmstudio.core.evaluation import general

BOTH = {"general": True, "models": [{"name": "base"}, {"name": "tuned"}, {"name": "Q4_K_M"}]}


def scored(folder, *right: int):
    """The scores of models with this many right answers, the first ones."""
    for model, count in enumerate(right):
        lines = []
        for item in general.questions():
            wanted = item["answer"] if item["id"] < count else (item["answer"] + 1) % 4
            lines.append({"id": item["id"], "answer": item["choices"][wanted], "choices_by": "text",
                          "choice_logprobs": [-1.0 if place == wanted else -2.0 for place in range(4)]})
        (folder / general.answers_file(model)).write_bytes(b"".join(map(files.dump_line, lines)))
    return {general.KEY: general.score(folder, BOTH)}


def test_the_questions_are_even_and_none_gives_itself_away():
    items = general.questions()
    assert Counter((item["language"], item["answer"]) for item in items) == {
        (language, place): 6 for language in ("en", "hi") for place in range(4)}
    assert len({item["messages"][0]["content"] for item in items}) == len(items) == 48
    assert all(len({*map(str.casefold, item["choices"])}) == 4 for item in items)
    for extreme in (min, max):  # the length of a choice says nothing
        assert sum(len(item["references"][0]) == extreme(map(len, item["choices"])) for item in items) < 30


def test_base_and_tuned_are_asked_unless_that_is_switched_off():
    assert general.asked(BOTH) == [0, 1]
    assert general.asked({**BOTH, "general": False}) == general.asked({"models": BOTH["models"]}) == []
    assert general.asked({"general": True, "models": [{"name": "tuned"}, {"name": "Q4_K_M"}]}) == []


@pytest.mark.parametrize("before, after, expected", [
    (41, 30, (41, 30, 48)), (48, 42, (48, 42, 48)), (48, 43, None), (25, 25, None), (30, 41, None)],
    ids=["much", "six questions", "five, as chance has it", "nothing", "it learned"])
def test_only_more_than_chance_counts_as_forgotten(tmp_path, before, after, expected):
    scores = scored(tmp_path, before, after)
    assert general.loss(scores) == expected
    tuned = scores[general.KEY]["models"][1]
    assert (tuned["right"], tuned["by_language"]) == (after, {"en": min(24, after), "hi": max(0, after - 24)})


def test_what_is_missing_or_damaged_is_no_loss(tmp_path):
    assert general.score(tmp_path, BOTH) is None
    assert general.loss({}) is general.loss({"general": {"comparisons": [{"verdict": "worse"}]}}) is None


def test_it_is_said_in_counts():
    assert general.sentence(41, 30, 48) == "It forgot some general knowledge: 41 of 48 before, 30 after."
