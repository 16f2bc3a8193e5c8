"""Rows in the shapes that data sets have, none of them named for this program."""

from __future__ import annotations

import json

import pytest
from support.shaped_rows import ASK, BAD, GOOD, A, B, Q, read

from slmstudio.core.data.reader import read_dataset

SYSTEM = {"role": "system", "content": "Be brief."}
CHATS = {
    "alpaca": ({"instruction": Q, "input": "", "output": A}, "instruction", [ASK, GOOD]),
    "alpaca with history": (
        {"instruction": Q, "input": "", "output": A, "history": [["Hi", "Hello."]]},
        "messages",
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}, ASK, GOOD],
    ),
    "dolly": ({"instruction": Q, "context": "", "response": A, "category": "open_qa"}, "instruction", [ASK, GOOD]),
    "open orca": (
        {"id": "1", "system_prompt": "Be brief.", "question": Q, "response": A},
        "instruction",
        [SYSTEM, ASK, GOOD],
    ),
    "columns in Hindi": ({"क्रमांक": "1", "प्रश्न": Q, "उत्तर": A}, "instruction", [ASK, GOOD]),
    "columns that no one knows": ({"kelvi text": Q, "vidai text": A}, "instruction", [ASK, GOOD]),
    "input and output": ({"input": Q, "output": A}, "instruction", [ASK, GOOD]),
    "query and reply": ({"Query": Q, "Reply": A}, "instruction", [ASK, GOOD]),
    "article and summary": ({"article": Q, "highlights": A, "id": "x"}, "instruction", [ASK, GOOD]),
    "a text and its class": ({"text": Q, "label": A}, "instruction", [ASK, GOOD]),
    "a number as answer": ({"question": Q, "answer": 42}, "instruction", [ASK, {"role": "assistant", "content": "42"}]),
    "openai": ({"messages": [SYSTEM, ASK, GOOD]}, "messages", [SYSTEM, ASK, GOOD]),
    "openai with parts": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": Q}]},
                {"role": "assistant", "content": [{"type": "text", "text": A}]},
            ]
        },
        "messages",
        [ASK, GOOD],
    ),
    "openai with developer": (
        {"messages": [{**SYSTEM, "role": "developer"}, ASK, GOOD]},
        "messages",
        [SYSTEM, ASK, GOOD],
    ),
    "sharegpt": (
        {"id": "x", "conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]},
        "messages",
        [ASK, GOOD],
    ),
    "sharegpt with system column": (
        {"system": "Be brief.", "conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]},
        "messages",
        [SYSTEM, ASK, GOOD],
    ),
    "conversation under another name": (
        {"thread": [{"speaker": "customer", "text": Q}, {"speaker": "agent", "text": A}]},
        "messages",
        [ASK, GOOD],
    ),
    "turns as pairs": ({"conversation": [{"human": Q, "assistant": A}]}, "messages", [ASK, GOOD]),
    "a dialog of texts": ({"dialog": [Q, A]}, "messages", [ASK, GOOD]),
    "squad": (
        {
            "id": "1",
            "title": "x",
            "context": "Ctx.",
            "question": Q,
            "answers": {"text": [A, B], "answer_start": [1, 2]},
        },
        "instruction",
        [{"role": "user", "content": Q + "\n\nCtx."}, GOOD],
    ),
    "a prompt of messages": ({"prompt": [SYSTEM, ASK], "completion": [GOOD]}, "messages", [SYSTEM, ASK, GOOD]),
    "ultrachat": ({"prompt": Q, "prompt_id": "f", "messages": [ASK, GOOD]}, "messages", [ASK, GOOD]),
}


@pytest.mark.parametrize(("row", "layout", "messages"), CHATS.values(), ids=CHATS)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_questions_and_conversations(tmp_path, row, layout, messages, name):
    found = read(tmp_path, row, row, name=name)
    assert (found.layout, found.count) == (layout, 2)
    assert list(found.records[0].messages) == messages


PAIRS = {
    "trl": {"prompt": Q, "chosen": A, "rejected": B},
    "trl, as messages": {"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]},
    "implicit prompt": {"chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
    "intel orca": {"system": "", "question": Q, "chosen": A, "rejected": B},
    "rlhf-style names": {"question": Q, "response_j": A, "response_k": B},
    "llama factory": {
        "conversations": [{"from": "human", "value": Q}],
        "chosen": {"from": "gpt", "value": A},
        "rejected": {"from": "gpt", "value": B},
    },
    "openai": {
        "input": {"messages": [ASK], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [GOOD],
        "non_preferred_output": [BAD],
    },
    "hh-rlhf": {"chosen": f"\n\nHuman: {Q}\n\nAssistant: {A}", "rejected": f"\n\nHuman: {Q}\n\nAssistant: {B}"},
    "accepted": {"Question": Q, "accepted": A, "Rejected": B},
    "arena": {"conversation_a": [ASK, BAD], "conversation_b": [ASK, GOOD], "winner": "model_b"},
    "a winner by number": {"prompt": Q, "response_0": B, "response_1": A, "better_response_id": 1},
    "messages hold the chosen one": {
        "prompt": Q,
        "chosen": [ASK, GOOD],
        "rejected": [ASK, BAD],
        "messages": [ASK, GOOD],
        "score_chosen": 8.0,
        "score_rejected": 2.0,
    },
}


@pytest.mark.parametrize("row", PAIRS.values(), ids=PAIRS)
def test_preference_pairs(tmp_path, row):
    found = read(tmp_path, row)
    assert found.layout == "preference"
    assert (list(found.records[0].messages), found.records[0].rejected) == ([ASK, GOOD], B)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (True, False),
        (1, 0),
        ("good", "bad"),
        ("👍", "👎"),
        ("desirable", "undesirable"),
        ("1", "0"),
        (1, -1),
        ("Yes", "No"),
        ("thumbs_up", "thumbs_down"),
        ("अच्छा", "बुरा"),
    ],
)
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": Q, "completion": A, "label": None},
        {"messages": [ASK, GOOD], "label": None},
        {"instruction": Q, "input": "", "output": A, "kto_tag": None},
        {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}], "kto_tag": None},
        {"prompt": [ASK], "completion": [GOOD], "label": None},
        {"Question": Q, "Answer": A, "Feedback": None},
    ],
    ids=lambda row: ",".join(row),
)
def test_answers_marked_good_or_bad(tmp_path, row, good, bad):
    mark = list(row)[-1]
    found = read(tmp_path, {**row, mark: good}, {**row, mark: bad})
    assert found.layout == "labelled"
    assert [list(record.messages) for record in found.records] == [[ASK, GOOD]] * 2
    assert [record.desirable for record in found.records] == [True, False]


@pytest.mark.parametrize(
    "row",
    [
        {"Question (Hindi)": Q, "Answer (Hindi)": A, "Sl. No.": "1"},
        {"userPrompt": Q, "modelResponse": A, "promptId": "x"},
        {"translation": {"hi": Q, "mr": A}},
        {"query_text": Q, "reply_text": A, "question_id": 3, "question_type": "factoid"},
    ],
)
def test_names_that_hold_more_than_one_word(tmp_path, row):
    assert list(read(tmp_path, row).records[0].messages) == [ASK, GOOD]


def test_a_remark_that_all_answers_are_right_isnt_a_label(tmp_path):
    found = read(tmp_path, *[{"problem": Q, "solution": A, "is_correct": True}] * 2)
    assert found.layout == "instruction"
    found = read(tmp_path, *[{"problem": Q, "solution": A, "is_correct": right} for right in (True, False)])
    assert found.layout == "labelled"


def test_seed_tasks_have_a_row_for_each_instance(tmp_path):
    found = read(
        tmp_path,
        {
            "id": "seed_task_0",
            "name": "x",
            "instruction": "Add.",
            "is_classification": False,
            "instances": [{"input": "1 1", "output": "2"}, {"input": "", "output": "0"}],
        },
    )
    assert [[each["content"] for each in record.messages] for record in found.records] == [
        ["Add.\n\n1 1", "2"],
        ["Add.", "0"],
    ]


@pytest.mark.parametrize(
    "wrapped",
    [
        {"data": [{"question": Q, "answer": A}], "version": "1"},
        {"train": [{"question": Q, "answer": A}]},
        {"question": [Q], "answer": [A]},
        {"question": {"0": Q}, "answer": {"0": A}},
        {"id": ["1", "2"], "question": [Q, Q], "answer": [A, A]},
        {"columns": ["question", "answer"], "index": [0], "data": [[Q, A]]},
        {"rows": [{"row_idx": 0, "row": {"question": Q, "answer": A}}]},
        {
            "version": "v2.0",
            "data": [
                {
                    "title": "t",
                    "paragraphs": [
                        {
                            "context": "",
                            "qas": [{"question": Q, "id": "1", "answers": [{"text": A, "answer_start": 0}]}],
                        }
                    ],
                }
            ],
        },
        {"a1": {"question": Q, "answer": A}, "a2": {"question": Q, "answer": A}},
        {"nlu": {"common_examples": [{"question": Q, "answer": A}], "regex_features": []}},
        {"train": [[Q, A], [Q, A]], "test": [[Q, A], [Q, A]]},
    ],
    ids=["list", "train", "columns", "pandas", "three columns", "split", "rows", "squad", "keys", "deeper", "pairs"],
)
def test_rows_within_one_object(tmp_path, wrapped):
    found = read(tmp_path, wrapped, name="whole.json")
    assert found.layout == "instruction"
    assert list(found.records[0].messages) == [ASK, GOOD]
    assert (found.format, found.records[0].line) == ("json", 1)


@pytest.mark.parametrize(
    "row",
    [
        {"text": Q},
        {"content": Q, "url": "x"},
        {"id": 3, "title": "t", "text": Q},
        {"body": Q, "author": "someone"},
        {"text": Q, "model": "gpt-4", "source": "web"},
        {"text": Q, "reasoning": "It is short.", "score": 3},
    ],
)
def test_plain_text(tmp_path, row):
    found = read(tmp_path, row)
    assert (found.layout, found.records[0].text) == ("text", Q)


def test_pictures_are_refused_in_one_sentence(tmp_path):
    rows = [
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": Q}, {"type": "image_url", "image_url": {"url": "data:x"}}],
                },
                GOOD,
            ]
        }
    ] * 20 + [{"messages": [ASK, GOOD]}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_dataset(path)
    assert (found.count, found.rows_left_out) == (1, 20)
    (problem,) = found.problems
    assert "only from text" in problem.message and problem.lines == tuple(range(1, 21))


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"instruction": Q, "output": A, "loss_weight": 0.5}, ("loss_weight",)),
        ({"messages": [ASK, {**GOOD, "weight": 0}]}, ("messages.weight",)),
        ({"messages": [{**ASK, "weight": 0}, {**GOOD, "weight": 1}]}, ()),  # as they are learned anyway
        ({"question": Q, "answer": A, "language": "hi", "id": "x-1"}, ("id", "language")),
    ],
)
def test_what_is_not_used_is_named(tmp_path, row, named):
    assert read(tmp_path, row).unused == named


def test_a_person_knows_better(tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps({"title": Q, "notes": A, "extra": "x", "more": "y"}) + "\n")
    found = read_dataset(path, columns={"instruction": "title", "output": "notes"})
    assert list(found.records[0].messages) == [ASK, GOOD]
    assert found.mapping == {"instruction": "title", "output": "notes"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"instruction": "nowhere", "output": "b"}, 'no column "nowhere"'),
        ({"instruction": "a"}, 'for "output"'),
        ({"answr": "a"}, "answr"),
        ({"chosen": "a", "output": "b"}, "can't be used as"),
    ],
)
def test_a_wrong_mapping_is_explained(tmp_path, given, words, refusal_of):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "x", "b": "y"}\n')
    assert words in refusal_of(lambda: read_dataset(path, columns=given)).what


def test_rows_without_a_column_that_a_person_named_are_left_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"question": "q", "answer": "a"}] * 3 + [{"question": "q"}, {"other": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_dataset(path, columns={"instruction": "question", "output": "answer"})
    assert (found.count, found.rows_left_out) == (3, 2)
