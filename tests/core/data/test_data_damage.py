"""Files and rows that are broken: each fault is named with its place, and the good rows are kept."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slmstudio.core.data.pieces import ROW_LIMIT
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.errors import UserError

GOOD = b'{"instruction": "a", "output": "b"}'
MB = 1 << 20


def write(folder: Path, content: bytes, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        read_dataset(path)
    error = caught.value
    assert error.what
    assert error.remedy, "a person must learn what to do"
    json.dumps(error.to_dict(), ensure_ascii=False).encode()
    assert UserError.from_dict(error.to_dict()).problems == error.problems
    return error


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
    (b'{"instruction": "a", "output": "b",}', 36, "a comma too many"),
    (b'{"instruction": "a", "output": ["b",]}', 37, "a comma too many"),
    (b'{"instruction": "a", "output": NaN}', 32, "NaN is no JSON value; write null"),
    (b'{"instruction": "NaN", "output": -Infinity}', 34, "-Infinity is no JSON value"),
    (b'{"instruction": "a", "output": None}', 32, "None is no JSON value; write null"),
    (b'{"instruction": "a", "output": True}', 32, "write true"),
    (b'{"instruction": "a", "output": ,}', 32, "a value is missing"),
    (b'{instruction: "a", "output": "b"}', 2, "a key in double quotes"),
    (b'{"instruction": "he said "hi"", "output": "b"}', 27, "a quotation mark inside the text"),
    (b'{"instruction": "a\tb", "output": "b"}', 19, "a tab stands inside a text; write it as \\t"),
    (b'{"instruction": "a\0b", "output": "b"}', 19, "a NUL byte stands inside a text"),
    (b'{"instruction": "C:\\data", "output": "b"}', 20, "a backslash in a text must be written twice"),
    (b'{"instruction": "\\u09", "output": "b"}', 19, "four hexadecimal digits"),
    (GOOD + GOOD, 36, "a second row begins on the same line"),
    (GOOD + b" # note", 37, "more text after the end"),
    (b"\0\0\0\0", 1, "NUL bytes"),
    (b"instruction,output", 1, "this is no JSON"),
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
    assert "half of a character" in message


@pytest.mark.parametrize(("order", "unit"), [("le", b"\x00\xd8"), ("be", b"\xd8\x00")])
def test_lone_surrogate_and_half_a_unit_in_utf16(tmp_path, order, unit):
    codec = f"utf-16-{order}"
    good, end = GOOD.decode().encode(codec), "\n".encode(codec)
    bad = '{"instruction": "'.encode(codec) + unit + '", "output": "b"}'.encode(codec)
    dataset = read_dataset(write(tmp_path, good + end + bad + end + good + end + good + b"\0"))
    assert [record.line for record in dataset.records] == [1, 3]
    assert [problem.line for problem in dataset.problems] == [2, 4]
    assert "half of a character" in dataset.problems[0].message


@pytest.mark.parametrize(("bad", "field", "words"), [
    ('[1, 2]', None, "the row is a list"),
    ('"text"', None, "the row is a text"),
    ('42', None, "the row is a number"),
    ('null', None, "the row is null"),
    ('{}', None, "the row is empty"),
    ('{"instruction": "a"}', "output", '"output" is missing'),
    ('{"output": "a"}', "instruction", '"instruction" is missing'),
    ('{"instruction": "a", "response": "b"}', "output", '"instruction" and "response"'),
    ('{"prompt": "a", "completion": "b"}', None, 'the columns are "prompt" and "completion"'),
    ('{"question": "a", "answer": "b"}', None, 'the columns are "question" and "answer"'),
    ('{"conversations": []}', None, 'the column is "conversations"'),
    ('{"instruction": "a", "output": ""}', "output", '"output" is empty'),
    ('{"instruction": "a", "output": " \\n\\u00a0"}', "output", '"output" is empty'),
    ('{"instruction": "", "output": "b"}', "instruction", '"instruction" is empty'),
    ('{"instruction": "a", "output": 42}', "output", '"output" is a number; it must be text; put it in double quotes'),
    ('{"instruction": "a", "output": true}', "output", '"output" is true or false'),
    ('{"instruction": "a", "output": null}', "output", '"output" is null'),
    ('{"instruction": "a", "output": ["b"]}', "output", '"output" is a list'),
    ('{"instruction": "a", "input": 7, "output": "b"}', "input", '"input" is a number'),
    ('{"instruction": {}, "output": "b"}', "instruction", '"instruction" is an object'),
    ('{"instruction": "a", "instruction": "c", "output": "b"}', "instruction", '"instruction" occurs twice'),
    ('{"instruction": "a", "output": "b", "x": {"y": 1, "y": 1}}', "y", '"y" occurs twice'),
    ('{"messages": "hello"}', "messages", '"messages" is a text; it must be a list'),
    ('{"messages": []}', "messages", "an empty list"),
    ('{"messages": null}', None, '"messages"'),
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
    ([USER, ANSWER, USER], "the last message is from the user"),
    ([ANSWER], "begins with the assistant"),
    ([SYSTEM, ANSWER], "begins with the assistant"),
    ([SYSTEM], "no assistant message"),
    ([USER, SYSTEM, ANSWER], "message 2 is a system message"),
    ([SYSTEM, SYSTEM, USER, ANSWER], "message 2 is a system message"),
    ([USER, USER, ANSWER], "messages 1 and 2 are both from the user"),
    ([USER, ANSWER, ANSWER], "messages 2 and 3 are both from the assistant"),
    ([{"role": "human", "content": "x"}, ANSWER], 'message 1 has the role "human"'),
    ([{"role": ["user"], "content": "x"}, ANSWER], "message 1 has the role a list"),
    ([{"content": "x"}, ANSWER], 'message 1 has no "role"'),
    ([{"role": "user"}, ANSWER], '"content" of message 1 is missing'),
    ([{"role": "user", "content": None}, ANSWER], '"content" of message 1 is null'),
    ([{"role": "user", "content": [{"type": "text", "text": "x"}]}, ANSWER], '"content" of message 1 is a list'),
    ([{"role": "user", "content": 5}, ANSWER], '"content" of message 1 is a number'),
    ([USER, "hello"], "message 2 is a text"),
])
def test_conversations_that_cannot_be_learned(tmp_path, messages, words):
    (found,) = problems_of(tmp_path, json.dumps({"messages": messages}).encode())
    assert words in found[2]


def test_all_faults_of_one_row_are_reported(tmp_path):
    found = problems_of(tmp_path, b'{"instruction": "", "input": 5, "output": null}')
    assert [message.split()[0] for _, _, message in found] == ['"instruction"', '"output"', '"input"']
    found = problems_of(tmp_path, b'{"messages": [{"role": "x", "content": 1}, {"content": ""}, 7]}')
    assert len(found) == 5


def test_names_from_the_file_are_shown_safely(tmp_path):
    columns = {"\ud800\n\x1b[31m": 1, "x" * 1000: 2, **{f"c{index}": 0 for index in range(50)}}
    error = refusal(write(tmp_path, json.dumps(columns).encode()))
    (problem,) = error.problems
    assert "40 more" in problem.message
    assert len(problem.message) < 400
    assert "\x1b" not in str(error)
    error = refusal(write(tmp_path, b'{"\\ud800": 1, "\\ud800": 2}'))
    assert "occurs twice" in error.problems[0].message


@pytest.mark.parametrize("nest", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_deep_nesting(tmp_path, nest):
    ((_, _, message),) = problems_of(tmp_path, b'{"instruction": "a", "output": "b", "x": ' + nest + b"}")
    assert "nested too deeply" in message
    refusal(write(tmp_path, b"[" + nest))


def test_a_number_with_millions_of_digits_is_no_trap(tmp_path):
    row = b'{"instruction": "a", "output": "b", "id": ' + b"9" * (4 * MB) + b"}"
    assert len(read_dataset(write(tmp_path, row)).records) == 1


# Whole files


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return content.getvalue()


@pytest.mark.parametrize(("content", "words"), [
    (b"GGUF\x03\0\0\0" + bytes(100), "a GGUF model"),
    (archive("rows.jsonl"), "a ZIP archive"),
    (archive("xl/workbook.xml"), "an Excel workbook"),
    (archive("word/document.xml"), "a Word document"),
    (archive("model/data.pkl"), "a PyTorch file"),
    (b"\x89PNG\r\n\x1a\n\0\0", "a PNG picture"),
    (b"PAR1\x15\x04", "a Parquet table"),
    (b"\x1f\x8b\x08\0", "a gzip archive"),
    (b"%PDF-1.7\n", "a PDF document"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"{\\rtf1 text}", "an RTF document"),
    (b"\n<!DOCTYPE html><html>", "a web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    (b'\x40\0\0\0\0\0\0\0{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', "a safetensors file"),
    ("{}\n".encode("utf-32"), "UTF-32"),
    (bytes(5000), "zero bytes"),
    (pickle.dumps([1, 2, "\0" * 50]), "binary data"),
    (bytes(range(256)) * 20, "binary data"),
])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_binary_files_are_named(tmp_path, content, words, name):
    error = refusal(write(tmp_path, content, name))
    assert words in error.what
    assert name in error.what
    assert error.problems == ()


@pytest.mark.parametrize(("content", "words"), [
    (b"", "is empty"), (b" \n\r\n\t\n", "holds no rows"), (b"\xef\xbb\xbf", "holds no rows"),
    (b"\xff\xfe", "holds no rows"), (b"[]", "holds no rows"), (b"[\n\n]\n", "holds no rows"),
    (b"\r\r", "holds no rows"),
])
def test_files_without_rows(tmp_path, content, words):
    error = refusal(write(tmp_path, content))
    assert words in error.what
    assert error.problems == ()


def test_a_table_is_called_a_table(tmp_path):
    error = refusal(write(tmp_path, b"instruction,output\na,b\nc,d\n", "rows.csv"))
    assert "a table" in error.what
    assert len(error.problems) == 3


def test_paths_that_are_no_files(tmp_path):
    assert "is a folder" in refusal(tmp_path).what
    assert "does not exist" in refusal(tmp_path / "missing.jsonl").what
    assert "is no file name" in refusal(Path("a\0b")).what
    refusal(tmp_path / ("x" * 5000))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "no ordinary file" in refusal(tmp_path / "pipe").what


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read everything: become nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_file_that_may_not_be_read(tmp_path):
    path = write(tmp_path, GOOD)
    path.chmod(0)
    with without_privileges():
        error = refusal(path)
    assert "cannot be read" in error.what
    assert "Permission" in error.why


# Long rows, many rows


def peak_of_reading(path: Path) -> tuple[object, int]:
    """What was read (or the UserError), and the most bytes that were held meanwhile."""
    tracemalloc.start()
    try:
        try:
            result: object = read_dataset(path)
        except UserError as error:
            result = error
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_line_of_64_mb_is_named_and_the_others_survive(tmp_path, encoding):
    path = tmp_path / "rows.jsonl"
    with open(path, "wb") as file:
        file.write((GOOD + b'\n\n{"instruction": "').decode().encode(encoding))
        for _ in range(64):
            file.write(("x" * MB).encode(encoding))
        file.write((b'", "output": "b"}\n' + GOOD + b"\n").decode().encode(encoding))
    dataset, peak = peak_of_reading(path)
    assert [record.line for record in dataset.records] == [1, 4]
    (problem,) = dataset.problems
    assert problem.line == 3
    assert "longer than 16 MB" in problem.message
    assert f"{64 * MB + 34:,} bytes" in problem.message
    assert peak < 80 * MB


def test_a_hole_of_64_mb_in_a_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    with open(path, "wb") as file:
        file.write(GOOD + b'\n{"instruction": "')
        file.seek(64 * MB, os.SEEK_CUR)
        file.write(b'"}\n' + GOOD)
    dataset, peak = peak_of_reading(path)
    assert [record.line for record in dataset.records] == [1, 3]
    assert peak < 80 * MB


@pytest.mark.parametrize("opening", [b'{"instruction": "', b'["', b"[", b"[{", b'[{"a": ', b"", b"{\n\"a\": "])
def test_a_file_that_is_one_line_of_64_mb(tmp_path, opening):
    path = tmp_path / "rows.json"
    with open(path, "wb") as file:
        file.write(opening)
        for _ in range(64):
            file.write(b"x" * MB)
    error, peak = peak_of_reading(path)
    assert isinstance(error, UserError)
    assert "longer than 16 MB" in error.problems[0].message
    assert error.problems[0].line == opening.count(b"\n", 2) + 1
    assert peak < 80 * MB


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("rest", [b"", b"\n" + GOOD])
def test_the_limit_is_16_mb_exactly(tmp_path, excess, rest):
    frame = b'{"instruction": "a", "output": "%s"}'
    row = frame % (b"x" * (ROW_LIMIT - len(frame % b"") + excess))
    path = write(tmp_path, GOOD + b"\n" + row + rest)
    dataset = read_dataset(path)
    assert [record.line for record in dataset.records] == ([1] if excess else [1, 2]) + ([3] if rest else [])
    assert len(dataset.problems) == excess


def test_a_hundred_thousand_rows_with_one_fault_are_all_reported(tmp_path):
    path = write(tmp_path, GOOD + b"\n" + b'{"instruction": "a", "output": ""}\n' * 100_000)
    dataset, peak = peak_of_reading(path)
    assert [problem.line for problem in dataset.problems] == list(range(2, 100_002))
    assert len({id(problem.message) for problem in dataset.problems}) == 1
    assert peak < 80 * MB
    with pytest.raises(UserError) as caught:
        read_dataset(write(tmp_path, b"{'instruction': 1}\n" * 100_000))
    assert len(caught.value.problems) == 100_000
    assert "100,000 problems" in caught.value.why


def test_wrong_columns_beside_good_rows_are_reported_row_by_row(tmp_path):
    other = b'{"question": "a", "answer": "b"}'
    dataset = read_dataset(write(tmp_path, b"\n".join([other, GOOD, other, b"", b"{", other])))
    assert [problem.line for problem in dataset.problems] == [1, 3, 5, 6]


def test_problems_come_in_the_order_of_lines(tmp_path):
    other = b'{"question": "a", "answer": "b"}'
    error = refusal(write(tmp_path, b"\n".join([b"{]", other, b"x", other, b'{"prompt": 1}'])))
    assert [problem.line for problem in error.problems] == [1, 2, 3, 5]
    assert "2 rows are like this, lines 2 to 4" in error.problems[1].message


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_a_file_larger_than_the_memory(tmp_path):
    path = write(tmp_path, b'{"instruction": "a", "output": "%s"}\n' % (b"x" * 1000) * 300_000)
    code = """if True:
        import resource, sys
        from slmstudio.core.data.reader import read_dataset
        from slmstudio.core.errors import UserError
        resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))
        try:
            read_dataset(sys.argv[1])
        except UserError as error:
            print(error)"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert "does not fit into memory" in done.stdout


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
    (b"[" + GOOD + b",\n" + GOOD + b"]\n more", [1, 2], 3, "this is no JSON"),
    (b"[" + GOOD + b",\n" + GOOD + b"]]\n" + GOOD, [1, 2, 3], 2, "a value is missing"),
    (b"[" + GOOD + b"]\n[" + GOOD + b"]", [], 1, "the row is a list"),
    (b"[\n" + GOOD + b",\n5, 6\n]", [2], 3, "the row is a number"),
    (b"[\n" + GOOD + b",\n[1, 2]\n]", [2], 3, "the row is a list"),
    (b'[\n"a, b",\n' + GOOD + b"\n]", [3], 2, "the row is a text"),
    (b'[\n{"instruction": "forgotten},\n' + GOOD + b"\n]", [3], 2, "a line break stands inside a text"),
    (b'[\n{"instruction": "forgotten\n' + GOOD + b"\n]", [3], 2, "a line break stands inside a text"),
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


# Anything at all


def only_user_errors(path: Path) -> None:
    with contextlib.suppress(UserError):
        dataset = read_dataset(path)
        assert dataset.records
        for record in dataset.records:
            assert record.messages[-1]["role"] == "assistant"
            assert record.messages[-1]["content"].strip()


@given(content=st.binary(max_size=300))
@example(b"\0")
@example(b"[")
@example(b"]")
@example(b'["\\')
@example(b'[{"a":"\n')
@example(b"\xff\xfe{")
@example(b"\xfe\xff\xd8")
@settings(max_examples=400, deadline=None)
def test_any_bytes_raise_nothing_but_user_errors(tmp_path_factory, content):
    only_user_errors(write(tmp_path_factory.getbasetemp(), content, "any"))


fragments = st.lists(st.sampled_from([
    b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\n", b"\r", b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"NaN",
    b"1", b" ", b"messages", b'"instruction"', b'"output"', b'"messages":', b'{"role":"user","content":"x"}', GOOD,
    GOOD + b"\n", "क".encode(), "\n".encode("utf-16-le"), b"\xef\xbb\xbf"]), max_size=40)


@given(parts=fragments, opening=st.sampled_from([b"", b"[", b"{\n", b"\xff\xfe"]))
@settings(max_examples=400, deadline=None)
def test_scrambled_json_raises_nothing_but_user_errors(tmp_path_factory, parts, opening):
    only_user_errors(write(tmp_path_factory.getbasetemp(), opening + b"".join(parts), "scrambled"))


json_values = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
                           lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                               st.sampled_from(["role", "content", "messages", "instruction", "input", "output", "x"]),
                               inner | st.sampled_from(["user", "assistant", "system"]), max_size=4), max_leaves=12)


@given(value=json_values)
@settings(max_examples=300, deadline=None)
def test_any_json_value_as_a_row(tmp_path_factory, value):
    only_user_errors(write(tmp_path_factory.getbasetemp(), json.dumps(value).encode(), "value"))


@given(junk=st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8))
@settings(max_examples=250, deadline=None)
def test_good_rows_survive_any_junk_between_them(tmp_path_factory, junk):
    lines = [GOOD]
    for line in junk:
        lines += [line, GOOD]
    dataset = read_dataset(write(tmp_path_factory.getbasetemp(), b"\n".join(lines), "junk.jsonl"))
    assert {record.line for record in dataset.records} >= set(range(1, len(lines) + 1, 2))
    blank = {number for number, line in enumerate(lines, start=1) if not line.removeprefix(b"\xef\xbb\xbf").strip()}
    accounted = {record.line for record in dataset.records} | {problem.line for problem in dataset.problems} | blank
    assert accounted == set(range(1, len(lines) + 1)), "every line is a record, a problem or blank"
