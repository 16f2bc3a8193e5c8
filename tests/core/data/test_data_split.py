"""The split: whole prompts on one side, the same on every machine, never an empty train."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core.data.reader import Record, read_dataset
from slmstudio.core.data.split import split_evenly, usual_share


def record(question: str, answer: str = "a", line: int = 1, system: str | None = None) -> Record:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Record(tuple([{"role": "system", "content": system}, *messages] if system else messages), line)


records_strategy = st.lists(st.builds(record, st.sampled_from("abcdefgh"), st.text(max_size=2)), max_size=40)


@given(records=records_strategy, fraction=st.floats(0, 0.5), seed=st.integers(0, 2**32 - 1))
def test_a_split_loses_nothing_and_mixes_no_prompts(records, fraction, seed):
    records = [Record(each.messages, line) for line, each in enumerate(records, start=1)]
    train, evaluation = split_evenly(records, fraction, seed)
    assert sorted(each.line for each in train + evaluation) == [each.line for each in records]
    assert [each.line for each in train] == sorted(each.line for each in train)
    assert [each.line for each in evaluation] == sorted(each.line for each in evaluation)
    assert not {each.prompt for each in train} & {each.prompt for each in evaluation}
    assert bool(train) == bool(records)
    if fraction == 0:
        assert evaluation == []
    assert len(evaluation) <= max(1, round(fraction * len(records)), len(records) // 2)


@given(records=records_strategy, seed=st.integers(0, 1000), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_rows_decides_nothing(records, seed, shuffle):
    shuffled = list(records)
    shuffle.shuffle(shuffled)
    chosen = [{each.prompt for each in split_evenly(rows, 0.3, seed)[1]} for rows in (records, shuffled)]
    assert chosen[0] == chosen[1]


def test_the_same_rows_on_every_machine():
    records = [record(f"प्रश्न {index}", line=index) for index in range(20)]
    assert [each.line for each in split_evenly(records, 0.25, 7)[1]] == [2, 13, 14, 15, 18]
    assert [each.line for each in split_evenly(records, 0.25, 8)[1]] != [2, 13, 14, 15, 18]


def test_the_share_is_met():
    records = [record(str(index), line=index) for index in range(1000)]
    train, evaluation = split_evenly(records, 0.1, 0)
    assert (len(train), len(evaluation)) == (900, 100)


def test_added_rows_move_few_others():
    records = [record(str(index), line=index) for index in range(1000)]
    before = {each.line for each in split_evenly(records, 0.1, 0)[1]}
    added = [record(f"new {index}", line=2000) for index in range(10)]
    after = {each.line for each in split_evenly(records + added, 0.1, 0)[1]}
    assert len(before - after) <= 5


def test_small_and_lopsided_data():
    one = record("a")
    assert split_evenly([], 0.5, 0) == ([], [])
    assert split_evenly([one], 0.5, 0) == ([one], [])
    assert split_evenly([one, one, one], 0.5, 0) == ([one, one, one], [])
    assert [len(side) for side in split_evenly([record("a"), record("b")], 0.01, 0)] == [1, 1]
    assert [len(side) for side in split_evenly([record("a")] * 99 + [record("b")], 0.1, 0)] == [99, 1]
    assert [len(side) for side in split_evenly([record(c) for c in "aabbccddee"], 0.1, 0)] == [8, 2]
    assert split_evenly([record(c) for c in "aab"], 0.99, 0)[0] != []


def test_a_prompt_is_the_system_message_and_the_first_question():
    assert record("q", "x").prompt == record("q", "y").prompt
    assert record("q", system="s").prompt != record("q").prompt
    longer = Record(record("q").messages + record("more").messages, 2)
    assert longer.prompt == record("q").prompt


def test_rows_of_every_kind_are_split_by_what_is_asked():
    text = [Record((), line, text=str(line % 5)) for line in range(1, 11)]
    train, evaluation = split_evenly(text, 0.2, 0)
    assert (len(train), len(evaluation)) == (8, 2)
    assert len({each.text for each in evaluation}) == 1
    messages = record("q").messages
    pairs = [Record(messages, line, rejected=str(line)) for line in (1, 2)]
    marked = [Record(messages, line, desirable=line == 1) for line in (1, 2)]
    assert split_evenly(pairs, 0.5, 0) == (pairs, [])
    assert split_evenly(marked, 0.5, 0) == (marked, [])


def test_real_data_splits_cleanly(data_dir):
    records = read_dataset(data_dir / "xquad_hi_instructions.jsonl").records
    train, evaluation = split_evenly(records, 0.1, 0)
    assert len(train) + len(evaluation) == 307
    assert len(evaluation) == 31
    random.Random(0).shuffle(records)
    assert {each.line for each in split_evenly(records, 0.1, 0)[1]} == {each.line for each in evaluation}


@pytest.mark.parametrize(("rows", "share"), [(0, 0.1), (20_000, 0.1), (25_000, 0.08), (300_000, 0.0067),
                                             (1_000_000, 0.002), (10**9, 0.0001)])
def test_of_a_large_dataset_about_two_thousand_rows_are_held_out(rows: int, share: float):
    assert usual_share(rows) == share
