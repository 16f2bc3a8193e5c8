"""Sampling settings: limits, and all problems at once."""

from __future__ import annotations

import pytest

from slmstudio.core.chat.sampling import Sampling, parse
from slmstudio.core.errors import UserError


def test_what_is_missing_keeps_its_default() -> None:
    assert parse({"temperature": 0, "other": 1}) == Sampling(temperature=0)
    assert parse(Sampling(stop=("\n\n", "###")).to_dict()) == Sampling(stop=("\n\n", "###"))
    assert parse({"seed": None, "max_tokens": None}) == Sampling(max_tokens=None)


def test_all_problems_at_once() -> None:
    with pytest.raises(UserError) as caught:
        parse({"temperature": -1, "top_p": "x", "top_k": 1.5, "min_p": True, "repeat_penalty": float("nan"),
               "seed": -1, "max_tokens": 0, "stop": [""]})
    assert [problem.field for problem in caught.value.problems] == [
        "temperature", "top_p", "top_k", "min_p", "repeat_penalty", "seed", "max_tokens", "stop"]


@pytest.mark.parametrize("stop", ["text", [1], ["x" * 201], ["x"] * 17])
def test_stop_strings_have_limits(stop) -> None:
    with pytest.raises(UserError):
        parse({"stop": stop})
