"""The general questions: a sound set, answers that are told apart only by more than chance, and what that leads to."""

from __future__ import annotations

from collections import Counter

import pytest

from slmstudio.core import files
from slmstudio.core.evaluation import general

MODELS = [{"name": "base"}, {"name": "tuned"}, {"name": "Q4_K_M"}]


def test_the_questions_are_even_and_none_gives_itself_away():
    items = general.questions()
    assert Counter((item["language"], item["answer"]) for item in items) == {
        (language, place): 6 for language in ("en", "hi") for place in range(4)}
    assert len({item["messages"][0]["content"] for item in items}) == len(items) == 48
    assert all(len({*map(str.casefold, item["choices"])}) == 4 for item in items)
    for extreme in (min, max):  # the length of a choice says nothing
        assert sum(len(item["references"][0]) == extreme(map(len, item["choices"])) for item in items) < 30


@pytest.mark.parametrize("request_, expected", [
    ({"general": True, "models": MODELS}, [0, 1]), ({"general": False, "models": MODELS}, []),
    ({"models": MODELS}, []), ({"general": True, "models": MODELS[1:]}, [])])
def test_base_and_tuned_are_asked_unless_that_is_switched_off(request_, expected):
    assert general.asked(request_) == expected


@pytest.mark.parametrize("before, after, expected", [
    (41, 30, (41, 30, 48)), (48, 42, (48, 42, 48)), (48, 43, None), (25, 25, None), (30, 41, None)],
    ids=["much", "six questions", "five, as chance has it", "nothing", "it learned"])
def test_only_more_than_chance_counts_as_forgotten(tmp_path, before, after, expected):
    for model, count in enumerate((before, after)):
        wanted = [(item["answer"] + (item["id"] >= count)) % 4 for item in general.questions()]
        (tmp_path / general.answers_file(model)).write_bytes(b"".join(files.dump_line({
            "id": number, "choices_by": "text", "choice_logprobs": [-float(place != at) for place in range(4)]})
            for number, at in enumerate(wanted)))
    scores = {general.KEY: general.score(tmp_path, {"general": True, "models": MODELS})}
    assert general.loss(scores) == expected
    tuned = scores[general.KEY]["models"][1]
    assert (tuned["right"], tuned["by_language"]) == (after, {"en": min(24, after), "hi": max(0, after - 24)})
    if expected == (41, 30, 48):
        assert general.sentence(*expected) == "It forgot some general knowledge: 41 of 48 before, 30 after."
