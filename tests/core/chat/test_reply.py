"""What a model thought, the tools that it calls, and the text of an answer are told apart, also while it is written."""

from __future__ import annotations

import pytest

from slmstudio.core.chat import reply
from slmstudio.core.chat.reply import Reply, parts

CALL = '{"name": "get_weather", "arguments": {"city": "पुणे", "days": 2}}'


@pytest.mark.parametrize(("answer", "writing", "wanted"), [
    ("4", False, [("text", "4", False)]), ("", True, [("text", "", False)]),
    ("<think>\n2 + 2\n</think>\n\n4", False, [("thought", "2 + 2", False), ("text", "4", False)]),
    ("[THINK]Well[/THINK]4", False, [("thought", "Well", False), ("text", "4", False)]),
    ("\n<think>\nWell", True, [("thought", "Well", True)]),
    ("<think>Well</thi", True, [("thought", "Well", True)]),
    ("<thi", True, [("text", "", False)]),
    ("<think>\n\n</think>\n\n4", False, [("text", "4", False)]),
    ("Write <think> first.", False, [("text", "Write <think> first.", False)]),
    (f"Let me see.\n<tool_call>\n{CALL}\n</tool_call>", False,
     [("text", "Let me see.\n", False), ("call", f"\n{CALL}\n", False)]),
    (CALL, False, [("call", CALL, False)]), (CALL, True, [("text", CALL, False)]),
    (f"[{CALL}, {CALL}]", False, [("call", f"[{CALL}, {CALL}]", False)]),
    ('{"name": "Asha", "age": 7}', False, [("text", '{"name": "Asha", "age": 7}', False)])])
def test_parts(answer, writing, wanted) -> None:
    assert parts(answer, writing) == wanted


def test_an_answer_that_grows_ends_as_one_that_is_there_at_once() -> None:
    answer = f"<think>\nHm.\n</think>\n\n**Yes**, so:\n<tool_call>\n{CALL}\n</tool_call>\nDone [here](https://x.org)."
    growing = Reply()
    for end in range(len(answer)):
        shown = growing.pieces(answer[:end], "|")
        assert not any("&lt;" in piece.content for piece in shown), "no half tag is seen"
    assert growing.pieces(answer) == Reply().pieces(answer)
    assert [(piece.kind, piece.language) for piece in growing.pieces(answer)] == [
        ("thought", ""), ("text", ""), ("code", "Calls the tool get_weather"), ("text", "")]
    assert growing.pieces(answer)[2].content == 'city: "पुणे"\ndays: 2'


def test_thoughts_are_no_part_of_the_answer() -> None:
    assert reply.answer_of("<think>Hm</think>\n4") == reply.answer_of("4") == "4"
    assert reply.answer_of("<think>Hm") == "<think>Hm", "there is nothing else"
    assert reply.without_tag("<think>\n4") == "4" and reply.without_tag("<think>Hm</think>4") == "<think>Hm</think>4"
    assert [reply.opening_tag(end) for end in ("<|im_start|>assistant\n<think>\n", "assistant\n")] == ["<think>", ""]
