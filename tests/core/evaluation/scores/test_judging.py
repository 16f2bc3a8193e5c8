"""A judge counts where both orders agree."""

from __future__ import annotations

from typing import Any

import pytest

from slmstudio.core.evaluation.scores.judging import agreement, judge_summary, voted_pairs
from slmstudio.core.votes.store import ALL_BAD, BEST, Answer, Vote, VotedModel


def line(row: Any, order: str, winner: Any, a: str = "base", b: str = "tuned") -> dict[str, Any]:
    return {"id": row, "order": order, "a": a, "b": b, "winner": winner}


def both(row: Any, ab: Any, ba: Any) -> list[dict[str, Any]]:
    return [line(row, "ab", ab), line(row, "ba", ba)]


def test_both_orders_must_agree() -> None:
    found = judge_summary([*both(0, "b", "b"), *both(1, "a", "b"), *both(2, "tie", "tie"), *both(3, "a", "tie")])
    pair = found["pairs"][0]
    assert (pair["wins_a"], pair["wins_b"], pair["ties"], pair["rows"]) == (0, 1, 3, 4)
    assert pair["changed_with_order"] == 2 and pair["first_shown"] == 80.0
    assert found["sentence"] == ("For the judge, 4 rows aren't enough to show a difference: base 0, tuned 1, ties 3, "
                                 "p = 1. In 2 rows, it changed its mind when the answers swapped places; they count "
                                 "as ties.")


def test_a_clear_winner() -> None:
    lines = [each for row in range(12) for each in both(row, "b", "b")] + both(12, "a", "a")
    found = judge_summary(lines)
    assert found["sentence"] == "The judge prefers tuned in 12 of 13 rows and base in 1; 0 are ties, p = 0.0034."


def test_names_may_stand_the_other_way_round() -> None:
    found = judge_summary([line(0, "ab", "b"), line(0, "ab", "a", a="tuned", b="base")])
    assert found["pairs"][0]["wins_b"] == 1 and len(found["pairs"]) == 1


@pytest.mark.parametrize("nonsense", [None, "A", "", 3, ["a"], {}])
def test_nonsense_is_counted_and_decides_nothing(nonsense: Any) -> None:
    found = judge_summary([*both(0, "b", nonsense), *both(1, nonsense, nonsense)])
    pair = found["pairs"][0]
    assert pair["rows"] == 0 and pair["unreadable"] == 3 and pair["answers"] == 4
    assert found["sentence"] == ("The judge gave no usable verdict for 2 of 2 rows; don't rely on it. Choose a larger "
                                 "model, which says A, B or tie when asked to.")


def test_rows_without_a_verdict_are_told_beside_the_others() -> None:
    found = judge_summary([*both(0, "b", "b"), *both(1, "b", "b"), *both(2, None, "b")])
    assert found["pairs"][0]["without_verdict"] == 1
    assert found["sentence"].startswith("The judge gave no usable verdict for 1 of 3 rows; they aren't counted. "
                                        "For the judge, 2 rows aren't enough to show a difference")


def test_rows_too_long_for_the_judge_are_no_fault_of_its_answers() -> None:
    long = [{**each, "skipped": "too long"} for row in (2, 3) for each in both(row, None, None)]
    found = judge_summary([*both(0, "b", "b"), *both(1, None, "b"), *long])
    pair = found["pairs"][0]
    assert (pair["rows"], pair["without_verdict"], pair["too_long"]) == (1, 1, 2)
    assert (pair["answers"], pair["unreadable"]) == (4, 1)
    assert "no usable verdict for 1 of 2 rows; they aren't counted." in found["sentence"]
    assert "wasn't asked about 2 of 4 rows: with both answers they are longer than its context." in found["sentence"]
    assert "larger model" not in judge_summary(long)["sentence"]


def test_one_order_alone_decides_nothing() -> None:
    assert judge_summary([line(0, "ab", "b")])["pairs"][0]["rows"] == 0
    assert judge_summary([])["pairs"] == []


def vote(best: int | None, texts: tuple[str, ...] = ("one", "two"), blind: bool = True) -> Vote:
    question = ({"role": "user", "content": "?"},)
    answers = tuple(Answer(VotedModel(f"m{i}", "", 1, f"{i}" * 64), question, text) for i, text in enumerate(texts))
    return Vote(0.0, answers, 1, tuple(range(len(texts))), ALL_BAD if best is None else BEST, best, blind)


def test_votes_become_pairs() -> None:
    pairs = voted_pairs([vote(1), vote(None), vote(0, blind=False), vote(0, ("same", "same")),
                         vote(2, ("x", "y", "z"))])
    assert [(pair.id, pair.winner) for pair in pairs] == [("0.0.1", "b"), ("1.0.1", "tie"), ("4.0.2", "b"),
                                                          ("4.1.2", "b")]


def test_agreement_with_the_users_votes() -> None:
    pairs = voted_pairs([vote(i % 2) for i in range(20)])
    lines = [each for pair in pairs for each in both(pair.id, pair.winner, pair.winner)]
    found = agreement(pairs, lines)
    assert (found["votes"], found["agreed"], found["share"], found["kappa"]) == (20, 20, 100.0, 1.0)
    assert found["sentence"] == ("The judge agreed with 20 of your 20 blind votes (100%, 84% to 100%); "
                                 "guessing would agree with 50%.")


def test_a_judge_that_guesses_is_not_relied_on() -> None:
    pairs = voted_pairs([vote(i % 2) for i in range(20)])
    found = agreement(pairs, [each for pair in pairs for each in both(pair.id, "a", "a")])
    assert found["agreed"] == 10 and found["kappa"] == 0 and found["sentence"].endswith("So don't rely on it.")
    assert agreement(pairs, [])["votes"] == 0
