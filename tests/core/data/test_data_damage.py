"""Rows that are broken: each fault is named with its place, and the good rows are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.chat_rows import write

from slmstudio.core.data.reader import read_dataset
from slmstudio.core.errors import UserError

GOOD = b'{"instruction": "a", "output": "b"}'
MB = 1 << 20


def problems_of(folder: Path, bad: bytes) -> list[tuple[int | None, int | None, str]]:
    """The problems of a file whose second of three lines is `bad`; the other two must survive."""
    dataset = read_dataset(write(folder, b"\n".join([GOOD, bad, GOOD, b""])))
    assert [record.line for record in dataset.records] == [1, 3]
    assert {problem.line for problem in dataset.problems} == {2}
    return [(problem.line, problem.column, problem.message) for problem in dataset.problems]


@pytest.mark.parametrize(("bad", "column", "words"), [
    (b'{"instruction": "a" "output": "b"}', 21, "a comma or a closing bracket is missing"),
    (b'{"instruction": "a", "output": "b"', 35, "ends too early"),
    (b'{"instruction": "a", "output": "b', 32, "no closing quotation mark"),
    (b'{"instruction": "a", "output": ', 32, "ends too early"),
    (b'{"instruction" "a", "output": "b"}', 16, "a colon is missing"),
    (b"{'instruction': 'a', 'output': 'b'}", 2, "single quotes"),
    ('{"instruction": “a”, "output": "b"}'.encode(), 17, "curly quotes"),
    ('{"क": "ख", "instruction": ‘a’}'.encode(), 27, "single quotes"),
    (b'{"instruction": "a", "output": "b",}', 36, "an extra comma"),
    (b'{"instruction": "a", "output": ["b",]}', 37, "an extra comma"),
    (b'{"instruction": "a", "output": NaN}', 32, "NaN isn't a JSON value; write null"),
    (b'{"instruction": "NaN", "output": -Infinity}', 34, "-Infinity isn't a JSON value"),
    (b'{"instruction": "a", "output": None}', 32, "None isn't a JSON value; write null"),
    (b'{"instruction": "a", "output": True}', 32, "write true"),
    (b'{"instruction": "a", "output": ,}', 32, "a value is missing"),
    (b'{instruction: "a", "output": "b"}', 2, "a key in double quotes"),
    (b'{"instruction": "he said "hi"", "output": "b"}', 27, "a quotation mark inside the text"),
    (b'{"instruction": "a\tb", "output": "b"}', 19, "a tab is inside a text; write it as \\t"),
    (b'{"instruction": "a\0b", "output": "b"}', 19, "a NUL byte is inside a text"),
    (b'{"instruction": "C:\\data", "output": "b"}', 20, "a backslash in a text must be written twice"),
    (b'{"instruction": "\\u09", "output": "b"}', 19, "four hexadecimal digits"),
    (GOOD + GOOD, 36, "a second row begins on the same line"),
    (GOOD + b" # note", 37, "more text after the end"),
    (b"\0\0\0\0", 1, "NUL bytes"),
    (b"instruction,output", 1, "this isn't JSON"),
    (b"}", 1, "a value is missing"),
])
def test_no_json_names_line_column_and_reason(tmp_path, bad, column, words):
    ((line, found, message),) = problems_of(tmp_path, bad)
    assert (line, found) == (2, column)
    assert words in message


def test_invalid_utf8_names_the_byte(tmp_path):
    bad = '{"instruction": "क'.encode() + b'\xe9", "output": "b"}'
    ((_, column, message),) = problems_of(tmp_path, bad)
    assert column == bad.index(b"\xe9") + 1
    assert "byte 0xE9" in message


@pytest.mark.parametrize("bad", [
    b'{"instruction": "\xed\xa0\x80", "output": "b"}',
    b'{"instruction": "\\ud800", "output": "b"}',
    b'{"instruction": "a", "output": "b \\uDE00\\ud83d"}',
    b'{"instruction": "a", "input": "\\udfff", "output": "b"}',
    b'{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "b"}]}',
])
def test_lone_surrogates(tmp_path, bad):
    ((_, _, message),) = problems_of(tmp_path, bad)
    assert "half a character" in message


@pytest.mark.parametrize(("order", "unit"), [("le", b"\x00\xd8"), ("be", b"\xd8\x00")])
def test_lone_surrogate_and_half_a_unit_in_utf16(tmp_path, order, unit):
    codec = f"utf-16-{order}"
    good, end = GOOD.decode().encode(codec), "\n".encode(codec)
    bad = '{"instruction": "'.encode(codec) + unit + '", "output": "b"}'.encode(codec)
    dataset = read_dataset(write(tmp_path, good + end + bad + end + good + end + good + b"\0"))
    assert [record.line for record in dataset.records] == [1, 3]
    assert [problem.line for problem in dataset.problems] == [2, 4]
    assert "half a character" in dataset.problems[0].message


@pytest.mark.parametrize(("bad", "field", "words"), [
    ('[1, 2]', None, "the row is a list"),
    ('"text"', None, "the row is text"),
    ('42', None, "the row is a number"),
    ('null', None, "the row is null"),
    ('{}', None, "the row is empty"),
    ('{"instruction": "a"}', "output", '"output" is missing'),
    ('{"output": "a"}', "instruction", '"instruction" is missing'),
    ('{"conversations": []}', None, 'the column is "conversations"'),
    ('{"instruction": "a", "output": ""}', "output", '"output" is empty'),
    ('{"instruction": "a", "output": " \\n\\u00a0"}', "output", '"output" is empty'),
    ('{"instruction": "", "output": "b"}', "instruction", '"instruction" is empty'),
    ('{"instruction": "a", "output": null}', "output", '"output" is null'),
    ('{"instruction": {}, "output": "b"}', "instruction", '"instruction" is an object'),
    ('{"instruction": "a", "instruction": "c", "output": "b"}', "instruction", '"instruction" occurs twice'),
    ('{"instruction": "a", "output": "b", "x": {"y": 1, "y": 1}}', "y", '"y" occurs twice'),
    ('{"messages": "hello"}', "messages", '"messages" is text; it must be a list'),
    ('{"messages": []}', "messages", "an empty list"),
    ('{"messages": null}', "messages", '"messages" is null'),
    ('{"messages": [5]}', "messages", "message 1 is a number"),
])
def test_rows_that_are_no_rows(tmp_path, bad, field, words):
    dataset = read_dataset(write(tmp_path, b"\n".join([GOOD, bad.encode(), GOOD])))
    assert [record.line for record in dataset.records] == [1, 3]
    (problem,) = dataset.problems
    assert (problem.line, problem.field) == (2, field)
    assert words in problem.message


USER, ANSWER, SYSTEM = ({"role": role, "content": "x"} for role in ("user", "assistant", "system"))


@pytest.mark.parametrize(("messages", "words"), [
    ([USER], "no assistant message"),
    ([USER, {"role": "assistant", "content": " "}], '"content" of message 2 is empty'),
    ([{"role": "user", "content": ""}, ANSWER], '"content" of message 1 is empty'),
    ([USER, ANSWER, USER], 'the last message has the role "user"'),
    ([ANSWER], "begins with the assistant"),
    ([SYSTEM, ANSWER], "begins with the assistant"),
    ([SYSTEM], "no assistant message"),
    ([USER, SYSTEM, ANSWER], "message 2 is a system message"),
    ([SYSTEM, SYSTEM, USER, ANSWER], "message 2 is a system message"),
    ([USER, USER, ANSWER], 'messages 1 and 2 both have the role "user"'),
    ([USER, ANSWER, ANSWER], 'messages 2 and 3 both have the role "assistant"'),
    ([{"role": "robot", "content": "x"}, ANSWER], 'message 1 has the role "robot"'),
    ([{"role": ["user"], "content": "x"}, ANSWER], "message 1 has a list as its role"),
    ([{"content": "x"}, ANSWER], 'message 1 has no "role"'),
    ([{"role": "user"}, ANSWER], '"content" of message 1 is missing'),
    ([{"role": "user", "content": None}, ANSWER], '"content" of message 1 is null'),
    ([USER, "hello"], "message 2 is text"),
])
def test_conversations_that_cannot_be_learned(tmp_path, messages, words):
    (found,) = problems_of(tmp_path, json.dumps({"messages": messages}).encode())
    assert words in found[2]


def test_all_faults_of_one_row_are_reported(tmp_path):
    found = problems_of(tmp_path, b'{"instruction": "", "system": 5, "output": null}')
    assert [message.split()[0] for _, _, message in found] == ['"instruction"', '"system"', '"output"']
    found = problems_of(tmp_path, b'{"messages": [{"role": "x", "content": 1}, {"content": ""}, 7]}')
    assert len(found) == 4


def test_names_from_the_file_are_shown_safely(tmp_path, refusal):
    columns = {"\ud800\n\x1b[31m": 1, "x" * 1000: 2, **{f"c{index}": 0 for index in range(50)}}
    error = refusal(write(tmp_path, json.dumps(columns).encode()))
    (problem,) = error.problems
    assert "40 more" in problem.message
    assert len(problem.message) < 400
    assert "\x1b" not in str(error)
    error = refusal(write(tmp_path, b'{"\\ud800": 1, "\\ud800": 2}'))
    assert "occurs twice" in error.problems[0].message


@pytest.mark.parametrize("nest", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_deep_nesting(tmp_path, nest, refusal):
    ((_, _, message),) = problems_of(tmp_path, b'{"instruction": "a", "output": "b", "x": ' + nest + b"}")
    assert "nested too deeply" in message
    refusal(write(tmp_path, b"[" + nest))


def test_a_number_with_millions_of_digits_is_no_trap(tmp_path):
    row = b'{"instruction": "a", "output": "b", "id": ' + b"9" * (4 * MB) + b"}"
    assert len(read_dataset(write(tmp_path, row)).records) == 1


# Arrays and objects over several lines


def test_a_broken_row_in_an_array(tmp_path):
    content = b'[\n  ' + GOOD + b',\n  {\n    "instruction": "a",\n    "output": \'b\'\n  },\n  ' + GOOD + b"\n]\n"
    dataset = read_dataset(write(tmp_path, content))
    assert [record.line for record in dataset.records] == [2, 7]
    (problem,) = dataset.problems
    assert (problem.line, problem.column) == (5, 15)


def test_columns_in_an_array_on_one_line_count_characters(tmp_path):
    first = '[{"instruction": "क👍", "output": "ख"}, '
    dataset = read_dataset(write(tmp_path, (first + '{"a": \'x\'}, ' + GOOD.decode() + "]").encode()))
    assert len(dataset.records) == 2
    (problem,) = dataset.problems
    assert (problem.line, problem.column) == (1, len(first) + 7)


@pytest.mark.parametrize(("content", "lines", "place", "words"), [
    (b"[" + GOOD + b",\n" + GOOD, [1, 2], 2, "before the closing ]"),
    (b"[" + GOOD + b",\n" + GOOD + b"]\n more", [1, 2], 3, "this isn't JSON"),
    (b"[" + GOOD + b",\n" + GOOD + b"]]\n" + GOOD, [1, 2, 3], 2, "a value is missing"),
    (b"[" + GOOD + b"]\n[" + GOOD + b"]", [], 1, "the row is a list"),
    (b"[\n" + GOOD + b",\n5, 6\n]", [2], 3, "the row is a number"),
    (b"[\n" + GOOD + b",\n[1, 2]\n]", [2], 3, "the row is a list"),
    (b'[\n"a, b",\n' + GOOD + b"\n]", [3], 2, "the row is text"),
    (b'[\n{"instruction": "forgotten},\n' + GOOD + b"\n]", [3], 2, "a line break is inside a text"),
    (b'[\n{"instruction": "forgotten\n' + GOOD + b"\n]", [3], 2, "a line break is inside a text"),
    (b'[\n{"instruction": "a", "output": "b",\n' + GOOD + b"\n]", [3], 3, "ends too early"),
    (b'[\n{"instruction": "a", "output": ["b"\n' + GOOD + b",\n" + GOOD + b"]", [3, 4], 3, "ends too early"),
    (b'[\n{"instruction": "a", "output": ["b"}\n' + GOOD + b"\n]", [3], 2, "a closing bracket is missing"),
    (b'[\n{"messages": [{"role": "user"} {"role": "assistant"}]},\n' + GOOD + b"\n]", [3], 2, "ends too early"),
    (b"[1, 2]\n" + GOOD, [2], 1, "the row is a list"),
])
def test_damaged_arrays(tmp_path, content, lines, place, words):
    path = write(tmp_path, content)
    try:
        dataset = read_dataset(path)
    except UserError as error:
        assert lines == []
        problems = error.problems
    else:
        assert [record.line for record in dataset.records] == lines
        problems = tuple(dataset.problems)
    assert problems[0].line == place
    assert words in problems[0].message


def test_an_opening_bracket_alone_on_the_first_line_is_one_broken_row(tmp_path):
    dataset = read_dataset(write(tmp_path, b"{\n" + GOOD + b"\n" + GOOD))
    assert [record.line for record in dataset.records] == [2, 3]
    assert [problem.line for problem in dataset.problems] == [1]
