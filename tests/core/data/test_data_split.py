"""The split: whole prompts on one side, the same on every machine, never an empty train."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmstudio.core.data.reader import Dataset, Record, read_dataset
from slmstudio.core.data.split import LANGUAGE, split_evenly, usual_share
from slmstudio.core.data.versions import store
from slmstudio.core.data.versions.edits import Part, mix


def record(question: str, answer: str = "a", line: int = 1, system: str | None = None) -> Record:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Record(tuple([{"role": "system", "content": system}, *messages] if system else messages), line)


records_strategy = st.lists(st.builds(
    lambda question, answer, group: Record(record(question, answer).messages, 1, group=group),
    st.sampled_from("abcdefghijkl"), st.text(max_size=2), st.sampled_from(["", "", "1", "2", "3", "4"])), max_size=40)


@given(records=records_strategy, fraction=st.floats(0, 0.5), seed=st.integers(0, 2**32 - 1),
       shuffle=st.randoms(use_true_random=False))
def test_a_split_loses_nothing_and_neither_a_prompt_nor_a_group_is_on_both_sides(records, fraction, seed, shuffle):
    records = [replace(each, line=line) for line, each in enumerate(records, start=1)]
    train, evaluation = split_evenly(records, fraction, seed)
    assert sorted(each.line for each in train + evaluation) == [each.line for each in records]
    for side in (train, evaluation):
        assert [each.line for each in side] == sorted(each.line for each in side)
    assert not {each.prompt for each in train} & {each.prompt for each in evaluation}
    assert not {each.group for each in train} & {each.group for each in evaluation} - {""}
    assert bool(train) == bool(records)
    assert fraction or evaluation == []
    assert len(evaluation) <= max(1, round(fraction * len(records)), len(records) // 2)
    shuffled = list(records)
    shuffle.shuffle(shuffled)
    assert {each.prompt for each in split_evenly(shuffled, fraction, seed)[1]} == {each.prompt for each in evaluation}


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


def both_sides(dataset: Dataset, **more) -> set[int]:
    """Lines of which there are rows on both sides of the split."""
    train, evaluation = split_evenly(dataset.records, 0.25, 3, **more)
    assert evaluation
    return {each.line for each in train} & {each.line for each in evaluation}


SIBLINGS = {
    "languages": lambda at: {"eng_Latn": [[f"What is {at}?", f"It is {at}."]], "hin_Deva": [[f"{at} क्या है?", f"{at}।"]],
                             "tam_Taml": [[f"{at} என்ன?", f"{at}."]]},
    "instances": lambda at: {"instruction": f"Add {at}.", "instances": [
        {"input": str(one), "output": str(at + one)} for one in range(3)]},
}


@pytest.mark.parametrize("kind", SIBLINGS)
def test_what_was_one_row_stays_on_one_side(tmp_path, kind):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([SIBLINGS[kind](at) for at in range(40)], indent=0), encoding="utf-8")
    dataset = read_dataset(path)
    assert dataset.count == 120
    assert both_sides(dataset) == both_sides(dataset, by=LANGUAGE) == set()
    assert [len(side) for side in split_evenly(dataset.records, 0.25, 3)] == [90, 30]
    in_one_line = tmp_path / "line.json"
    in_one_line.write_text(json.dumps([SIBLINGS[kind](at) for at in range(40)]), encoding="utf-8")
    assert [len(side) for side in split_evenly(read_dataset(in_one_line).records, 0.25, 3)] == [90, 30]


@pytest.mark.parametrize("kind", SIBLINGS)
def test_rows_that_were_one_stay_together_in_a_file_that_was_made_of_them(tmp_path, kind):
    path, again = tmp_path / "rows.jsonl", tmp_path / "again.jsonl"
    path.write_text("".join(json.dumps(SIBLINGS[kind](at)) + "\n" for at in range(40)), encoding="utf-8")
    dataset = read_dataset(path)
    store.write_rows(again, dataset.records)
    made = read_dataset(again)
    assert ([each.group for each in made.records], made.unused) == ([each.group for each in dataset.records], ())
    assert [[each.messages for each in side] for side in split_evenly(made.records, 0.25, 3)] == [
        [each.messages for each in side] for side in split_evenly(dataset.records, 0.25, 3)]
    mixed = mix([Part(dataset), Part(made)], 0)
    assert len({each.group for each in mixed}) == 80


def test_a_column_may_say_which_rows_stay_together(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question,answer,split_group\n" + "".join(
        f"What is {at}?,It is {at}.,ward {at % 10}\n" for at in range(100)))
    dataset = read_dataset(path)
    assert (dataset.unused, len({each.group for each in dataset.records})) == ((), 10)
    sides = [{each.group for each in side} for side in split_evenly(dataset.records, 0.25, 3)]
    assert len(sides[0]) == 8 and len(sides[1]) == 2 and not sides[0] & sides[1]


def test_large_families_are_not_drawn_more_often():
    """A family has the place of one of its prompts, not of the first of them."""
    records = [Record(record(f"{at} {one}").messages, at, group=str(at) if at % 2 else "")
               for at in range(2000) for one in range(10 if at % 2 else 1)]
    held_out = split_evenly(records, 0.2, 0)[1]
    families = len({each.group for each in held_out}) - 1
    assert 150 < families < 250
