"""Preference pairs, labelled rows, prompts with completions, plain text; and files that mix them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiers import examples

from slmstudio.core.data.layouts import kind, objectives, sentence
from slmstudio.core.data.reader import Dataset, Record, read_dataset
from slmstudio.core.errors import UserError

ASK, GOOD, BAD = ({"role": role, "content": content} for role, content in (
    ("user", "राजधानी?"), ("assistant", "Thiruvananthapuram."), ("assistant", "Kochi.")))
SYSTEM = {"role": "system", "content": "Be brief."}
EARLIER = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
CHAT = {"instruction": "a", "output": "b"}
PAIR = {"prompt": "a", "chosen": "b", "rejected": "c"}
LABELLED = {"prompt": "a", "completion": "b", "label": True}
TEXT = {"text": "a"}


def read(folder: Path, *rows: object) -> Dataset:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return read_dataset(path)


PREFERENCES = [
    ({"prompt": ASK["content"], "chosen": GOOD["content"], "rejected": BAD["content"]}, [ASK, GOOD]),
    ({"question": ASK["content"], "chosen": GOOD["content"], "rejected": BAD["content"]}, [ASK, GOOD]),
    ({"prompt": None, "question": ASK["content"], "chosen": GOOD["content"], "rejected": BAD["content"]}, [ASK, GOOD]),
    ({"instruction": "x", "input": "y", "chosen": GOOD["content"], "rejected": BAD["content"]},
     [{"role": "user", "content": "x\n\ny"}, GOOD]),
    ({"system": "Be brief.", "question": ASK["content"], "chosen": GOOD["content"], "rejected": BAD["content"]},
     [SYSTEM, ASK, GOOD]),
    ({"system": " ", "prompt": ASK["content"], "chosen": GOOD["content"], "rejected": BAD["content"]}, [ASK, GOOD]),
    # TRL's conversational form: prompt and answers apart
    ({"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]}, [ASK, GOOD]),
    ({"prompt": [SYSTEM, *EARLIER, ASK], "chosen": [GOOD], "rejected": [BAD]}, [SYSTEM, *EARLIER, ASK, GOOD]),
    ({"prompt": [ASK], "chosen": GOOD["content"], "rejected": [BAD]}, [ASK, GOOD]),
    # TRL's implicit prompt
    ({"chosen": [ASK, GOOD], "rejected": [ASK, BAD]}, [ASK, GOOD]),
    ({"chosen": [SYSTEM, *EARLIER, ASK, GOOD], "rejected": [SYSTEM, *EARLIER, ASK, BAD]},
     [SYSTEM, *EARLIER, ASK, GOOD]),
    # UltraFeedback: the prompt stands in the conversations once more
    ({"prompt": ASK["content"] + "\n", "chosen": [ASK, GOOD], "rejected": [ASK, BAD], "messages": [ASK, GOOD]},
     [ASK, GOOD]),
    ({"prompt": [SYSTEM, ASK], "chosen": [ASK, GOOD], "rejected": [SYSTEM, ASK, BAD]}, [SYSTEM, ASK, GOOD]),
    # HH-RLHF: conversations written as one text
    ({"chosen": f"\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: {ASK['content']}\n\nAssistant: {GOOD['content']}",
      "rejected": f"\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: {ASK['content']}\n\nAssistant: {BAD['content']}"},
     [*EARLIER, ASK, GOOD]),
]


@pytest.mark.parametrize(("row", "messages"), PREFERENCES)
def test_preference_pairs(tmp_path, row, messages):
    dataset = read(tmp_path, row)
    assert (dataset.layout, dataset.problems) == ("preference", [])
    assert dataset.records == [Record(tuple(messages), 1, rejected=BAD["content"])]


@pytest.mark.parametrize(("row", "field", "words"), [
    ({"prompt": "a", "chosen": "b"}, "rejected", '"rejected" is missing'),
    ({"prompt": "a", "chosen": "b", "rejected": None}, "rejected", '"rejected" is null'),
    ({"prompt": "a", "chosen": "", "rejected": "b"}, "chosen", '"chosen" is empty'),
    ({"prompt": "a", "chosen": "b", "rejected": "b"}, "rejected", "are the same, so neither is better"),
    ({"prompt": "a", "chosen": "\ud800", "rejected": "b"}, "chosen", "half a character"),
    ({"prompt": {}, "chosen": "a", "rejected": "b"}, "prompt", '"prompt" is an object'),
    ({"prompt": " ", "chosen": "a", "rejected": "b"}, "prompt", '"prompt" is empty'),
    ({"prompt": [], "chosen": "a", "rejected": "b"}, "prompt", '"prompt" is an empty list'),
    ({"prompt": [{"role": "human"}], "chosen": "a", "rejected": "b"}, "role", 'message 1 of "prompt" has the role'),
    ({"prompt": "a", "chosen": [5], "rejected": "b"}, "chosen", 'message 1 of "chosen" is a number'),
    ({"prompt": "a", "chosen": "b", "rejected": [ASK]}, "rejected", "doesn't begin with the prompt"),
    ({"prompt": "a", "chosen": [GOOD, ASK], "rejected": "b"}, "chosen", 'the last message has the role "user"'),
    ({"prompt": [ASK, GOOD], "chosen": "a", "rejected": "b"}, "chosen",
     'messages 2 and 3 both have the role "assistant"'),
    ({"prompt": "other", "chosen": [ASK, GOOD], "rejected": "b"}, "chosen", "doesn't begin with the prompt"),
    ({"chosen": "b", "rejected": "c"}, "chosen", "the question is missing"),
    ({"chosen": [ASK, GOOD], "rejected": [*EARLIER, ASK, BAD]}, "rejected", "differ before their last answer"),
    ({"system": "x", "chosen": [SYSTEM, ASK, GOOD], "rejected": [SYSTEM, ASK, BAD]}, "system", "from the prompt"),
    ({"system": "x", "prompt": [SYSTEM, ASK], "chosen": "a", "rejected": "b"}, "system", "differs"),
    ({"system": 5, "prompt": "a", "chosen": "b", "rejected": "c"}, "system", '"system" is a number'),
    ({"chosen": "\n\nHuman: a\n\nHuman: b\n\nAssistant: c", "rejected": "\n\nHuman: a\n\nAssistant: c"}, "chosen",
     'messages 1 and 2 both have the role "user"'),
    ({"chosen": "\n\nHuman: a\n\nAssistant:", "rejected": "\n\nHuman: a\n\nAssistant: c"}, "chosen", ""),
])
def test_broken_preference_pairs(tmp_path, row, field, words):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, [PAIR, row, PAIR])))
    dataset = read_dataset(path)
    assert [record.line for record in dataset.records] == [1, 3]
    assert {problem.line for problem in dataset.problems} == {2}
    assert dataset.problems[0].field == field
    assert words in dataset.problems[0].message


def test_all_faults_of_a_pair_are_reported(tmp_path):
    dataset = read(tmp_path, PAIR, {"prompt": {}, "chosen": "", "rejected": [{"role": "assistant", "content": None}]})
    assert [problem.field for problem in dataset.problems] == ["prompt", "chosen", "content"]


@pytest.mark.parametrize(("label", "desirable"), [(True, True), (False, False), (1, True), (0, False), (1.0, True)])
def test_labelled_rows(tmp_path, label, desirable):
    rows = [{"prompt": ASK["content"], "completion": GOOD["content"], "label": label},
            {"prompt": [SYSTEM, ASK], "completion": [GOOD], "label": label}]
    dataset = read(tmp_path, *rows)
    assert (dataset.layout, dataset.problems, dataset.unused) == ("labelled", [], ())
    assert dataset.records == [Record((ASK, GOOD), 1, desirable=desirable),
                               Record((SYSTEM, ASK, GOOD), 2, desirable=desirable)]


@pytest.mark.parametrize(("label", "said"), [
    (2, "2"), (0.5, "0.5"), (None, "null"), ("maybe", "text"), ([True], "a list")])
def test_labels_that_say_nothing(tmp_path, label, said):
    dataset = read(tmp_path, LABELLED, {**LABELLED, "label": label})
    (problem,) = dataset.problems
    assert (problem.line, problem.field) == (2, "label")
    assert f'"label" is {said}; it must be true for a good answer and false for a bad one.' == problem.message


@pytest.mark.parametrize(("row", "layout", "messages"), [
    ({"prompt": ASK["content"], "completion": GOOD["content"]}, "instruction", [ASK, GOOD]),
    ({"prompt": [SYSTEM, ASK], "completion": [GOOD]}, "messages", [SYSTEM, ASK, GOOD]),
    ({"prompt": [ASK], "completion": GOOD["content"]}, "messages", [ASK, GOOD]),
    ({"question": ASK["content"], "answer": GOOD["content"]}, "instruction", [ASK, GOOD]),
    ({"system": "Be brief.", "question": ASK["content"], "answer": GOOD["content"]}, "instruction",
     [SYSTEM, ASK, GOOD]),
    ({"instruction": ASK["content"], "output": GOOD["content"], "text": "x", "label": "hard"}, "instruction",
     [ASK, GOOD]),
    ({"prompt": "x", "messages": [ASK, GOOD]}, "messages", [ASK, GOOD]),
    ({"instruction": None, "output": None, "question": ASK["content"], "answer": GOOD["content"]}, "instruction",
     [ASK, GOOD]),
])
def test_other_chat_rows(tmp_path, row, layout, messages):
    dataset = read(tmp_path, row)
    assert (dataset.layout, dataset.problems) == (layout, [])
    assert dataset.records == [Record(tuple(messages), 1)]


@pytest.mark.parametrize(("row", "field", "words"), [
    ({"text": None}, "text", '"text" is null'),
    ({"text": " "}, "text", '"text" is empty'),
    ({"text": "\ud800"}, "text", "half a character"),
])
def test_rows_that_cannot_be_told_or_used(tmp_path, row, field, words):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(UserError) as caught:
        read_dataset(path)
    (problem,) = caught.value.problems
    assert problem.field == field
    assert words in problem.message


def test_text_rows(tmp_path):
    dataset = read(tmp_path, {"text": " रामायण\n\nकथा "}, {"text": "b", "meta": {"page": 1}})
    assert (dataset.layout, dataset.problems, dataset.unused) == ("text", [], ("meta",))
    assert dataset.records == [Record((), 1, text=" रामायण\n\nकथा "), Record((), 2, text="b")]
    assert dataset.records[0].prompt == dataset.records[0].contents == (" रामायण\n\nकथा ",)


def test_columns_of_messages_that_nothing_is_made_of(tmp_path):
    dataset = read(tmp_path, {"chosen": [ASK, {**GOOD, "weight": 0}], "rejected": [ASK, BAD], "score": 5})
    assert dataset.unused == ("chosen.weight", "score")


@pytest.mark.parametrize(("rows", "layout", "strays"), [
    ([CHAT, TEXT, CHAT], "instruction", [2]),
    ([TEXT, CHAT, TEXT, TEXT], "text", [2]),
    ([PAIR, PAIR, LABELLED, TEXT, CHAT], "preference", [3, 4, 5]),
    ([LABELLED, PAIR], "labelled", [2]),
    ([{"messages": [ASK, GOOD]}, CHAT, PAIR], "mixed", [3]),
])
def test_rows_of_another_kind_than_most_are_problems(tmp_path, rows, layout, strays):
    dataset = read(tmp_path, *rows)
    assert dataset.layout == layout
    assert [problem.line for problem in dataset.problems] == strays
    assert all("file of its own" in problem.message for problem in dataset.problems)
    assert [record.line for record in dataset.records] == [line for line in range(1, len(rows) + 1)
                                                           if line not in strays]


def test_stray_rows_stand_among_the_other_problems_and_bring_no_columns(tmp_path):
    dataset = read(tmp_path, CHAT, {"x": 1}, {**TEXT, "page": 7}, CHAT, {"instruction": "", "output": "b"})
    assert [problem.line for problem in dataset.problems] == [2, 3, 5]
    assert "this row is plain text. The other rows are conversations" in dataset.problems[1].message
    assert dataset.unused == ()


def test_every_layout_has_objectives_and_a_sentence():
    assert {layout: objectives(layout) for layout in ("instruction", "messages", "mixed", "preference", "labelled",
                                                      "text")} == {
        "instruction": ("sft", "text"), "messages": ("sft", "text"), "mixed": ("sft", "text"),
        "preference": ("dpo", "orpo", "sft"), "labelled": ("kto",), "text": ("text",)}
    assert {kind(layout) for layout in ("instruction", "messages", "mixed")} == {"chat"}
    assert sentence("preference").endswith(".")
    with pytest.raises(KeyError):
        objectives("table")


filled = st.text(min_size=1, max_size=20).filter(lambda text: not text.isspace())


@given(asked=filled, answers=st.lists(filled, min_size=2, max_size=2, unique=True), label=st.booleans(),
       earlier=st.booleans(), whole=st.booleans(), as_text=st.booleans())
@settings(max_examples=examples(150), deadline=None)
def test_every_way_to_write_a_pair_is_read_as_the_same(tmp_path_factory, asked, answers, label, earlier, whole,
                                                       as_text):
    prompt = [*(EARLIER if earlier else []), {"role": "user", "content": asked}]
    good, bad = ([{"role": "assistant", "content": answer}] for answer in answers)
    if whole:
        row = {"chosen": prompt + good, "rejected": prompt + bad}
    elif as_text and not earlier:
        row = {"prompt": asked, "chosen": answers[0], "rejected": answers[1]}
    else:
        row = {"prompt": prompt, "chosen": good, "rejected": bad}
    marked = {"prompt": prompt, "completion": good, "label": label}
    folder = tmp_path_factory.getbasetemp()
    assert read(folder, row).records == [Record((*prompt, *good), 1, rejected=answers[1])]
    assert read(folder, marked).records == [Record((*prompt, *good), 1, desirable=label)]
