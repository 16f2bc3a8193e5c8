"""Successive halving on figures alone, the values that a search draws, and the parts of its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.curves import total_steps
from slmstudio.core.run.searching import search, search_values
from slmstudio.core.run.searching.search import Search, Trial

BASE = RunConfig(name="helpdesk", model="m", train_file="t.jsonl", learning_rate=1e-3, lora_rank=16, lora_alpha=32,
                 epochs=3.0, eval_steps=8)
ROWS = {"training": 160, "choosing": 20, "final": 20}


def made(count: int, rounds: int, seconds: float = 100.0, **more: object) -> Search:
    candidates = [{}, *({"learning_rate": each / 1000} for each in range(2, count + 1))]
    expected = [[float(3 ** place) for place in range(rounds)] for _ in candidates]
    return Search(**{"folder": Path("helpdesk-search"), "base": BASE, "fields": {"learning_rate": "1e-4..1e-2"},
                     "seconds": seconds, "seed": 0, "rounds": rounds, "count": count, "candidates": candidates,
                     "expected": expected, "evaluating": 2.0, "rows": ROWS, **more})


@pytest.mark.parametrize(("losses", "turn"), [
    ({}, (0, 0)),
    ({(0, 0): 3.0, (0, 1): None}, (0, 2)),
    # The plan comes along although it was the worst, before the best of the others.
    ({(0, 0): 9.0, (0, 1): None, (0, 2): 2.0, (0, 3): 1.0, (0, 4): 3.0}, (1, 0)),
    ({(0, 0): 9.0, (0, 1): None, (0, 2): 2.0, (0, 3): 1.0, (0, 4): 3.0, (1, 0): 1.0}, (1, 3)),
    ({(0, 0): 9.0, (0, 1): None, (0, 2): 2.0, (0, 3): 1.0, (0, 4): 3.0, (1, 0): 1.0, (1, 3): 0.5}, (1, 2)),
    # A plan that is lost doesn't; neither does anything where all are.
    ({(0, 0): None, (0, 1): None, (0, 2): 2.0, (0, 3): 1.0, (0, 4): 3.0}, (1, 3)),
    (dict.fromkeys([(0, each) for each in range(5)]), None)])
def test_what_comes_next(losses, turn):
    assert search.next_turn([5, 2], losses) == turn


@pytest.mark.parametrize(("last", "best"), [
    ({0: 1.0, 2: 0.9, 1: 0.95}, 2), ({0: 0.9, 2: 0.9, 1: 1.0}, 0), ({0: None, 2: 5.0, 1: None}, 2),
    ({0: None, 2: None, 1: None}, None)])
def test_the_winner_is_the_lowest_after_full_training_and_the_plan_where_none_is_lower(last, best):
    first = {(0, 0): 0.1, (0, 1): 3.0, (0, 2): 2.0, (0, 3): None}
    assert search.winner([4, 2], first | {(1, each): loss for each, loss in last.items()}) == best
    assert search.winner([4, 2], first) is None


def test_each_round_has_a_third_of_the_one_before():
    assert search.counts_of(27, 3) == [27, 9, 3] and search.counts_of(4, 3) == [4, 2, 2]
    assert search.counts_of(9, 1) == [9]


def test_time_decides_how_many_are_tried():
    # Of n, n for 1 s, then a third and the plan for 3 s, then the score: 2 s.
    assert made(27, 2, seconds=27 + 10 * 3 + 2).affordable() == 27
    assert made(27, 2, seconds=27 + 10 * 3 + 1.9).affordable() == 26
    assert made(27, 2, seconds=1.0).affordable() == 2, "the plan and one other always are"
    slower = made(27, 2, seconds=59.0, trials=[Trial(0, 0, "r", loss=1.0, seconds=2.0)])
    assert slower.affordable() == 12, "twice as slow as estimated"
    assert made(27, 2, seconds=59.0, trials=[Trial(0, 0, "r", loss=1.0, seconds=0.5)]).affordable() == 27


def test_a_trial_has_its_own_full_schedule():
    found = made(27, 3)
    short, whole = found.config((0, 4)), found.config((2, 4))
    assert (short.learning_rate, short.epochs, whole.epochs) == (0.005, 0.3333, 3.0)
    assert total_steps(whole, 160) == 30 and whole.eval_steps == 8
    assert total_steps(short, 160) == 4 and short.eval_steps == 1, "evaluated as often as the plan"
    assert short.name == "helpdesk-search 1.4" and short.sample_max_tokens == 0
    steps = replace(found, base=replace(BASE, max_steps=30)).config((0, 4))
    assert steps.max_steps == 3
    assert search_values.settled(replace(BASE, max_steps=30), {"epochs": 2.0}).max_steps is None
    assert search_values.settled(BASE, {"lora_rank": 8}).lora_alpha == 16, "the adapter keeps its scale"
    assert search_values.settled(BASE, {"lora_rank": 8, "lora_alpha": 8}).lora_alpha == 8


def test_what_is_read_back_is_what_was_written(tmp_path):
    found = made(9, 2, folder=tmp_path, trials=[Trial(0, 0, "r", loss=1.5, seconds=2.0),
                                                Trial(0, 1, "s", search.OUT_OF_MEMORY, error={"what": "Full."})])
    found.save()
    assert search.read(tmp_path).to_dict() == found.to_dict()
    finished = replace(found, trials=[Trial(1, 0, "r", loss=2.0), Trial(1, 1, "s", loss=1.0), *(
        Trial(0, each, "t", loss=1.0) for each in range(9))])
    assert finished.best == 1 and finished.better_values == {"learning_rate": 0.002}
    assert replace(finished, verdict={"case": "worse"}).better_values == {}
    (tmp_path / search.FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(search.Damaged):
        search.read(tmp_path)


def test_values_are_spread_and_the_same_for_a_seed():
    values = search_values.parse({"lr": "1e-4..1e-2", "rank": "8, 16,32", "use_dora": "true,false"}, BASE)
    assert list(values.values) == ["learning_rate", "lora_rank", "use_dora"]
    drawn = values.draw(13, 5, BASE)
    assert drawn[0] == {} and len(drawn) == 13 and drawn == values.draw(20, 5, BASE)[:13] != values.draw(13, 6, BASE)
    rates = [each["learning_rate"] for each in drawn[1:]]
    assert 4 <= sum(rate < 1e-3 for rate in rates) <= 8, "as many in each decade"
    assert {each["lora_rank"] for each in drawn[1:]} == {8, 16, 32}
    few = search_values.parse({"lora_rank": "8,16"}, BASE).draw(13, 0, BASE)
    assert few == [{}, {"lora_rank": 8}], "none twice, and the plan's own value is the plan"
    assert set(search_values.usual(BASE)) == {"learning_rate", "lora_rank", "epochs"}
    assert "lora_rank" not in search_values.usual(replace(BASE, method="full"))


@pytest.mark.parametrize(("name", "values"), [
    ("max_length", "64,128"), ("name", "x"), ("no_such", "1"), ("learning_rate", "fast"), ("learning_rate", "2..3"),
    ("learning_rate", "1e-2..1e-4"), ("lora_rank", "0,8"), ("lr_scheduler", "linear..cosine"), ("lora_rank", "")])
def test_fields_and_values_that_cannot_be_searched(name, values):
    with pytest.raises(UserError) as error:
        search_values.parse({name: values, "epochs": "1,2"}, BASE)
    assert [problem.field for problem in error.value.problems] == [name]


def test_no_choice_sees_the_final_rows():
    records = [Record(({"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}), n)
               for n in range(100)]
    parts = search.divide(records, BASE)
    lines = {name: {record.line for record in part} for name, part in parts.items()}
    assert {name: len(part) for name, part in lines.items()} == {"training": 72, "choosing": 13, "final": 15}
    assert len(set.union(*lines.values())) == 100
    own = search.divide(records, BASE, records[:9])
    assert (len(own["training"]), len(own["choosing"]), own["final"]) == (85, 15, records[:9])
    for rows, config in ((records[:10], BASE), (records, replace(BASE, objective="text"))):
        with pytest.raises(UserError):
            search.divide(rows, config)
