"""Votes: kept, counted, judged and exported."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slmstudio.core import paths
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.errors import UserError
from slmstudio.core.votes import store as votes
from slmstudio.core.votes import tally
from slmstudio.core.votes.store import ALL_BAD, ALL_GOOD, BEST, Answer, Vote, VotedModel
from slmstudio.core.votes.tally import by_chance, export_preferences, preference_rows, votes_needed

ASK = ({"role": "user", "content": "राशन कार्ड में नाम कैसे जोड़ें?"},)
MODELS = [VotedModel(name, f"/models/{name}.gguf", 10 + i, f"{i:064x}")
          for i, name in enumerate(("base", "tuned", "third", "fourth"))]
BASE, TUNED, *_ = MODELS
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def vote(verdict: str = BEST, best: int | None = 1, models=(BASE, TUNED), texts=("No.", "Yes."), **fields) -> Vote:
    answers = tuple(Answer(model, ASK, text) for model, text in zip(models, texts, strict=True))
    known = {"time": 1.0, "seed": 7, "order": tuple(range(len(answers))), "blind": True, "settings": {"seed": 3}}
    return Vote(**{**known, "answers": answers, "verdict": verdict, "best": best, **fields})


# -- the sign test -------------------------------------------------------------------------------------------


@given(st.integers(0, 12), st.integers(0, 12))
def test_by_chance_equals_counting_all_outcomes(wins: int, losses: int) -> None:
    """Every sequence of votes that equal models could get is as likely: count those that differ at least so much."""
    count = wins + losses
    wanted = abs(wins - losses)
    extreme = sum(abs(2 * k - count) >= wanted for k in (bin(i).count("1") for i in range(2**min(count, 12))))
    if count <= 12:
        assert by_chance(wins, losses) == pytest.approx(extreme / 2**count)
    assert by_chance(wins, losses) == by_chance(losses, wins)
    assert 0 < by_chance(wins, losses) <= 1


def test_known_values() -> None:
    # Conover, Practical Nonparametric Statistics, table A3: P(X <= 3 | 12, 1/2) = 0.0730.
    assert by_chance(9, 3) == pytest.approx(2 * 299 / 4096)
    assert by_chance(0, 0) == by_chance(5, 5) == 1.0
    assert by_chance(6, 0) == pytest.approx(2 / 64)
    # Thousands of votes don't overflow, and the normal approximation with continuity correction is near by then.
    assert by_chance(5200, 4800) == pytest.approx(math.erfc(3.99 / math.sqrt(2)), rel=0.01)


@given(st.integers(0, 80), st.integers(0, 80))
def test_so_many_more_votes_would_tell(wins: int, losses: int) -> None:
    more = votes_needed(wins, losses)
    if more == 0:
        assert by_chance(wins, losses) < tally.LEVEL
    elif more is not None:
        assert by_chance(wins, losses) >= tally.LEVEL
        count = wins + losses + more
        won = round(max(wins, losses) / (wins + losses) * count)
        # "About": a vote up or down is left to rounding.
        assert min(by_chance(won + step, count - won - step) for step in (0, 1)) < tally.LEVEL
    else:
        assert abs(wins - losses) <= 0.06 * (wins + losses), "only what is next to equal needs thousands"


@pytest.mark.parametrize(("wins", "losses", "more"), [(9, 3, 5), (0, 0, None), (4, 4, None), (10, 1, 0), (1, 0, 5)])
def test_how_many_more(wins: int, losses: int, more: int | None) -> None:
    assert votes_needed(wins, losses) == more


# -- the order -----------------------------------------------------------------------------------------------


@given(st.integers(2, 4), st.integers(0, 2**31 - 1))
def test_the_order_is_told_by_its_seed(count: int, seed: int) -> None:
    assert sorted(votes.shuffled(count, seed)) == list(range(count))
    assert votes.shuffled(count, seed) == votes.shuffled(count, seed)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_order_is_equally_likely(count: int) -> None:
    orders = list(itertools.permutations(range(count)))
    times = 400 * len(orders)
    seen = dict.fromkeys(orders, 0)
    for seed in range(times):
        seen[votes.shuffled(count, seed)] += 1
    # Chi-square with 23 degrees of freedom exceeds 49.7 once in a thousand; the seeds are fixed.
    assert sum((each - 400) ** 2 / 400 for each in seen.values()) < 49.7


# -- the file ------------------------------------------------------------------------------------------------


@st.composite
def any_votes(draw: st.DrawFn) -> Vote:
    count = draw(st.integers(2, 4))
    models = draw(st.permutations(MODELS))[:count]
    question = st.sampled_from([draw(TEXTS), "Hello?"])
    answers = tuple(Answer(model, ({"role": "user", "content": draw(question)},), draw(TEXTS)) for model in models)
    verdict = draw(st.sampled_from([BEST, ALL_GOOD, ALL_BAD]))
    return Vote(draw(st.floats(0, 2e9)), answers, draw(st.integers(0, 2**31 - 1)),
                tuple(draw(st.permutations(range(count)))), verdict,
                draw(st.integers(0, count - 1)) if verdict == BEST else None, draw(st.booleans()),
                {"temperature": 0.3, "seed": None})


@settings(deadline=None)
@given(st.lists(any_votes(), max_size=6), st.lists(st.sampled_from([b"{", b"\xff\xfe", b"[1]", b"{}", b"null",
                                                                   b'{"answers": 3}']), max_size=4))
def test_votes_come_back_and_damaged_lines_are_counted(tmp_path_factory, some: list[Vote], junk: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("votes") / "votes.jsonl"
    for number, each in enumerate(some):
        votes.add(each, path)
        if number < len(junk):
            with open(path, "ab") as file:
                file.write(junk[number] + b"\n")
    found, damaged = votes.read(path)
    assert found == some
    assert damaged == min(len(junk), len(some))


@pytest.mark.parametrize("change", [
    {"verdict": "maybe"}, {"best": 2}, {"best": None}, {"best": True}, {"verdict": ALL_BAD}, {"order": [0, 0]},
    {"order": [0]}, {"answers": []}, {"answers": 3}, {"time": "noon"}, {"settings": 1}, {"time": None}])
def test_what_is_no_vote_is_passed_over(tmp_path: Path, change: dict) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text(json.dumps({**vote().to_dict(), **change}) + "\n")
    votes.add(vote(), path)
    assert votes.read(path) == ([vote()], 1)


def test_half_a_line_loses_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    votes.add(vote(), path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:100])
    assert votes.read(path)[0] == [vote()]
    votes.add(vote(ALL_BAD, None), path)
    assert votes.read(path) == ([vote(), vote(ALL_BAD, None)], 1)


def test_votes_survive_a_kill(studio_home: Path) -> None:
    code = ("import sys; sys.path.insert(0, sys.argv[1]); from test_votes import vote; "
            "from slmstudio.core.votes import store as votes\n"
            "while True: votes.add(vote()); print('voted', flush=True)")
    child = subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent)], stdout=subprocess.PIPE,
                             env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])})
    assert child.stdout is not None
    told = sum(1 for _ in itertools.islice(child.stdout, 20))
    child.send_signal(signal.SIGKILL)
    told += sum(1 for _ in child.stdout)
    child.wait()
    found, damaged = votes.read()
    assert len(found) >= told >= 20 and damaged == 0
    assert paths.votes_file() == studio_home / "votes.jsonl"


def test_no_votes_yet_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    assert votes.read(tmp_path / "none.jsonl") == ([], 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="save the vote"):
        votes.add(vote(), tmp_path / "file" / "votes.jsonl")


def test_who_answers_is_told_by_the_bytes(tmp_path: Path) -> None:
    one, other, adapter = (tmp_path / name for name in ("one.gguf", "other.gguf", "its-lora-F16.gguf"))
    one.write_bytes(b"GGUF1")
    other.write_bytes(b"GGUF1")
    adapter.write_bytes(b"LORA")
    first = votes.voted_model(one)
    assert (first.name, first.bytes, first.path) == ("one", 5, str(one))
    assert first.identity == votes.voted_model(other).identity, "a copy is the same model"
    half, none = votes.voted_model(one, adapter, 0.5), votes.voted_model(one, adapter, 0.0)
    assert none == first and half.identity != first.identity and half.name == "one + its-lora-F16 50%"
    other.write_bytes(b"GGUF22")
    assert votes.voted_model(other).identity != first.identity
    with pytest.raises(UserError, match="read the model"):
        votes.voted_model(tmp_path / "gone.gguf")


# -- counting ------------------------------------------------------------------------------------------------


def test_pairs_are_counted_whichever_lane_they_were_in() -> None:
    some = [vote(), vote(), vote(models=(TUNED, BASE), best=0), vote(best=0), vote(ALL_GOOD, None),
            vote(ALL_BAD, None), vote(ALL_BAD, None)]
    [found] = tally.tallies(some)
    wins = {found.first.name: found.wins[0], found.second.name: found.wins[1]}
    assert wins == {"tuned": 3, "base": 1}
    assert (found.both_good, found.both_bad, found.ties, found.decided) == (1, 2, 3, 4)
    assert found.chance == by_chance(3, 1)


def test_the_best_of_four_beats_each_of_the_others() -> None:
    found = tally.tallies([vote(models=MODELS, texts="abcd", best=2)])
    assert len(found) == 3
    for each in found:
        assert "third" in (each.first.name, each.second.name)
        assert each.wins == ([1, 0] if each.first.name == "third" else [0, 1])
    everything = tally.tallies([vote(ALL_GOOD, None, models=MODELS, texts="abcd")])
    assert len(everything) == 6 and all(each.both_good == 1 for each in everything)


def test_a_model_is_not_compared_with_itself() -> None:
    assert tally.tallies([vote(models=(BASE, BASE))]) == []


@given(st.lists(any_votes(), max_size=12))
def test_every_vote_about_a_pair_is_counted_once(some: list[Vote]) -> None:
    for each in tally.tallies(some):
        pair = {each.first.identity, each.second.identity}
        about = [one for one in some if pair <= {answer.model.identity for answer in one.answers}
                 and (one.best is None or one.answers[one.best].model.identity in pair)]
        assert each.decided + each.ties == len(about)


# -- preference pairs ----------------------------------------------------------------------------------------


def test_votes_become_preference_pairs_that_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "preferences.jsonl"
    third = vote(models=MODELS[:3], texts=("नहीं", "हाँ", "शायद"))
    result = export_preferences(path, [vote(), third, vote(), vote(ALL_GOOD, None), vote(texts=("same", "same"))])
    assert (result.pairs, result.undecided, result.same, result.apart) == (3, 1, 2, 0)
    dataset = read_dataset(path)
    assert dataset.layout == "preference" and dataset.problems == [] and dataset.unused == ()
    assert [(row.messages[-1]["content"], row.rejected) for row in dataset.records] == [
        ("Yes.", "No."), ("हाँ", "नहीं"), ("हाँ", "शायद")]
    assert all(row.messages[:-1] == ASK for row in dataset.records)


def test_answers_to_different_conversations_are_no_pair() -> None:
    before = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, *ASK)
    apart = Vote(1.0, (Answer(BASE, ASK, "No."), Answer(TUNED, before, "Yes.")), 0, (0, 1), BEST, 1, True)
    rows, result = preference_rows([apart])
    assert rows == [] and result.apart == 1


def test_only_the_votes_between_two_models() -> None:
    some = [vote(models=MODELS[:3], texts="abc"), vote(models=(MODELS[2], TUNED), texts="de"), vote(ALL_BAD, None)]
    between = next(each for each in tally.tallies(some) if {each.first.name, each.second.name} == {"base", "tuned"})
    rows, result = preference_rows(some, between)
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows] == [("b", "a")]
    assert result.undecided == 1


def test_without_a_pair_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to export"):
        export_preferences(tmp_path / "x.jsonl", [vote(ALL_GOOD, None)])
    assert not list(tmp_path.iterdir())


@settings(deadline=None)
@given(st.lists(any_votes(), max_size=8))
def test_whatever_is_exported_reads_back(tmp_path_factory, some: list[Vote]) -> None:
    path = tmp_path_factory.mktemp("export") / "pairs.jsonl"
    rows, result = preference_rows(some)
    assert len(rows) + result.apart + result.same + result.empty == sum(
        len(each.answers) - 1 for each in some if each.best is not None)
    if rows:
        export_preferences(path, some)
        found = read_dataset(path)
        assert found.problems == []
        assert [(row.messages[-1]["content"], row.rejected) for row in found.records] == [
            (row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows]
