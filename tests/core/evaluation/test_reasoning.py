"""Thoughts before an answer are told apart from it, wherever they stand."""

from __future__ import annotations

import json

import pytest

from slmstudio.core import files
from slmstudio.core.evaluation.answer_rows import answer_of, have_thoughts, is_cut, opens, split_thoughts
from slmstudio.core.evaluation.scoring import row_scores, score


def write(folder, items, lines):
    """The folder of an evaluation of one model."""
    folder.mkdir()
    (folder / "request.json").write_text(json.dumps({"models": [{"name": "base"}]}), encoding="utf-8")
    for name, rows in (("items", items), ("answers-0", lines)):
        (folder / f"{name}.jsonl").write_bytes(b"".join(map(files.dump_line, rows)))
    return folder


@pytest.mark.parametrize(("text", "wanted"), [
    ("<think>\n2 + 2\n</think>\n\n4", ("2 + 2", "4")), ("\n <think></think>4", ("", "4")),
    ("<think>Well, ", ("Well,", "")),
    ("4", (None, "4")), (" 4 ", (None, " 4 ")), ("4 <think>no</think>", (None, "4 <think>no</think>")),
    ("", (None, "")), ("<think>a</think>b</think>c", ("a", "b</think>c")),
])
def test_parts(text, wanted):
    assert split_thoughts(text) == wanted


def test_thoughts_that_the_prompt_has_opened():
    assert split_thoughts("Well\n</think>\n4", opened=True) == ("Well", "4")
    assert split_thoughts("<think>Well</think>4", opened=True) == ("Well", "4")
    assert split_thoughts("Well", opened=True) == ("Well", "")
    assert opens("assistant\n<think>\n") and not opens("assistant\n<think>\n\n</think>\n\n")


def test_who_ends_without_ending_a_thought_has_answered():
    tag = "<think> is the tag that opens a thought."
    assert split_thoughts(tag, ended=True) == (None, tag)
    assert split_thoughts(tag) == ("is the tag that opens a thought.", "")
    assert split_thoughts("4", opened=True, ended=True) == (None, "4")
    assert split_thoughts("<think>Well</think>4", ended=True) == ("Well", "4")
    assert split_thoughts("Well</think>4", True, True) == ("Well", "4")


def test_what_is_asked_of_references_and_lines():
    assert answer_of("<think>a</think> b") == "b" and answer_of("<think>a") == "<think>a" and answer_of("b ") == "b "
    assert have_thoughts(["a", "<think>b</think>c"]) and not have_thoughts(["a", "<think>"])
    line = {"answer": "", "thoughts": "Well", "finish": "length"}
    assert is_cut(line) and not is_cut({**line, "finish": "stop"}) and not is_cut({**line, "answer": "4"})
    assert not is_cut({"answer": "", "finish": "length"})


def test_scores_look_at_answers_and_references_alone(tmp_path):
    items = [{"id": i, "kind": "exact", "references": [text], "messages": []}
             for i, text in enumerate(("<think>\nHm.\n</think>\n\nDelhi", "Pune"))]
    lines = [{"id": 0, "answer": "Delhi", "thoughts": "I know."}, {"id": 1, "answer": "Pune", "thoughts": "Hm."}]
    folder = write(tmp_path / "job", items, lines)
    assert score(folder)["models"][0]["scores"]["exact"]["value"] == 100
    assert [row.references for row in row_scores(folder)] == [item["references"] for item in items]


def test_the_speed_is_that_of_answers_that_were_written(tmp_path):
    items = [{"id": 0, "kind": "choice", "references": ["a"], "choices": ["a", "b"], "answer": 0, "messages": []},
             {"id": 1, "kind": "free", "references": ["a"], "messages": []}]
    lines = [{"id": 0, "answer": "a", "tokens": 0, "seconds": 3.0, "finish": "stop", "choice_logprobs": [-1.0, -2.0],
              "choices_by": "letter"}, {"id": 1, "answer": "a", "tokens": 8, "seconds": 2.0, "finish": "stop"}]
    speed = score(write(tmp_path / "both", items, lines))["models"][0]["speed"]
    assert {name: speed[name] for name in ("seconds", "tokens_per_second", "answer_tokens", "cut")} == {
        "seconds": 2.0, "tokens_per_second": 3.5, "answer_tokens": 8.0, "cut": 0}
    speed = score(write(tmp_path / "choices", items[:1], lines[:1]))["models"][0]["speed"]
    assert speed["tokens_per_second"] is None and speed["answer_tokens"] is None
