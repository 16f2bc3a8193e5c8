"""Files that are no datasets, files that are too large, and any bytes at all."""

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
from support.chat_rows import write
from support.tiers import examples

from slmstudio.core.data.layouts import objectives
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.row_texts import ROW_LIMIT
from slmstudio.core.errors import UserError

GOOD = b'{"instruction": "a", "output": "b"}'
MB = 1 << 20


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return content.getvalue()


@pytest.mark.parametrize(("content", "words"), [
    (b"GGUF\x03\0\0\0" + bytes(100), "a GGUF model"),
    (archive("picture.png"), "contains no file with rows"),
    (archive("xl/workbook.xml"), "a damaged workbook"),
    (archive("word/document.xml"), "a damaged Word document"),
    (archive("model/data.pkl"), "a PyTorch file"),
    (b"\x89PNG\r\n\x1a\n\0\0", "a PNG picture"),
    (b"PAR1\x15\x04", "a damaged table"),
    (b"\x1f\x8b\x08\0", "a damaged gzip file"),
    (b"%PDF-1.7\n", "a damaged PDF"),
    (b"SQLite format 3\0", "a damaged SQLite database"),
    (b"{\\rtf1 text}", "an RTF document"),
    (b"\n<!DOCTYPE html><html>", "a web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
    (b'\x40\0\0\0\0\0\0\0{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', "a safetensors file"),
    ("{}\n".encode("utf-32"), "UTF-32"),
    (bytes(5000), "null bytes"),
    (pickle.dumps([1, 2, "\0" * 50]), "binary data"),
    (bytes(range(256)) * 20, "binary data"),
])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_binary_files_are_named(tmp_path, content, words, name, refusal):
    error = refusal(write(tmp_path, content, name))
    assert words in error.what
    assert name in error.what
    assert error.problems == ()


@pytest.mark.parametrize(("content", "words"), [
    (b"", "is empty"), (b" \n\r\n\t\n", "contains no rows"), (b"\xef\xbb\xbf", "contains no rows"),
    (b"\xff\xfe", "contains no rows"), (b"[]", "contains no rows"), (b"[\n\n]\n", "contains no rows"),
    (b"\r\r", "contains no rows"),
])
def test_files_without_rows(tmp_path, content, words, refusal):
    error = refusal(write(tmp_path, content))
    assert words in error.what
    assert error.problems == ()


def test_paths_that_are_no_files(tmp_path, refusal):
    assert "contains no file with rows" in refusal(tmp_path).what
    assert "doesn't exist" in refusal(tmp_path / "missing.jsonl").what
    assert "isn't a file name" in refusal(Path("a\0b")).what
    refusal(tmp_path / ("x" * 5000))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_a_pipe_is_refused_at_once(tmp_path, refusal):
    os.mkfifo(tmp_path / "pipe")
    assert "It is a pipe" in refusal(tmp_path / "pipe").why


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
def test_a_file_that_may_not_be_read(tmp_path, refusal):
    path = write(tmp_path, GOOD)
    path.chmod(0)
    with without_privileges():
        error = refusal(path)
    assert "can't be read" in error.what
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


@pytest.mark.full
def test_a_hundred_thousand_rows_with_one_fault_are_all_reported(tmp_path):
    path = write(tmp_path, GOOD + b"\n" + b'{"instruction": "a", "output": ""}\n' * 100_000)
    dataset, peak = peak_of_reading(path)
    (problem,) = dataset.problems
    assert problem.lines == tuple(range(2, 100_002)) and "100,000 rows are like this" in problem.message
    assert dataset.rows_left_out == 100_000
    assert peak < 80 * MB
    with pytest.raises(UserError) as caught:
        read_dataset(write(tmp_path, b"{'instruction': 1}\n" * 100_000))
    (problem,) = caught.value.problems
    assert len(problem.lines) == 100_000


def test_wrong_columns_beside_good_rows_are_reported(tmp_path):
    other = b'{"x": "a", "y": "b", "z": "c"}'
    dataset = read_dataset(write(tmp_path, b"\n".join([other, GOOD, other, b"", b"{", other])))
    assert [problem.line for problem in dataset.problems] == [1, 3, 5, 6]
    dataset = read_dataset(write(tmp_path, b"\n".join([GOOD, *[other] * 9, b"{"])))
    assert [problem.line for problem in dataset.problems] == [2, 11]
    assert dataset.problems[0].lines == tuple(range(2, 11)) and dataset.rows_left_out == 10


def test_problems_come_in_the_order_of_lines(tmp_path, refusal):
    other = b'{"x": "a", "y": "b", "z": "c"}'
    error = refusal(write(tmp_path, b"\n".join([b"{]", other, b"x", other, b'{"prompt": 1}'])))
    assert [problem.line for problem in error.problems] == [1, 2, 3, 5]
    assert "2 rows are like this, from line 2 to 4" in error.problems[1].message


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_a_file_larger_than_the_memory(tmp_path):
    path = write(tmp_path, b'{"instruction": "a", "output": "%s"}\n' % (b"x" * 1000) * 300_000)
    code = """if True:
        import resource, sys
        import numpy, psutil, pyarrow.json  # the libraries take address space of their own
        from slmstudio.core.data.reader import read_dataset
        from slmstudio.core.errors import UserError
        limit = psutil.Process().memory_info().vms + (200 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            read_dataset(sys.argv[1])
        except UserError as error:
            print(error)"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert "doesn't fit in memory" in done.stdout


# Anything at all


def only_user_errors(path: Path) -> None:
    try:
        dataset = read_dataset(path)
    except UserError as error:
        assert error.what and error.remedy
        return
    assert len(dataset.records) > 0 and len(objectives(dataset.layout)) > 0
    for record in dataset.records:
        if dataset.layout == "text":
            assert record.text.strip() != ""
            continue
        assert record.messages[-1]["role"] == "assistant"
        assert record.messages[-1]["content"].strip() != ""
        assert (record.rejected is not None) == (dataset.layout == "preference")
        assert (record.desirable is not None) == (dataset.layout == "labelled")


@given(content=st.binary(max_size=300))
@example(b"\0")
@example(b"[")
@example(b"]")
@example(b'["\\')
@example(b'[{"a":"\n')
@example(b"\xff\xfe{")
@example(b"\xfe\xff\xd8")
@settings(max_examples=examples(400), deadline=None)
def test_any_bytes_raise_nothing_but_user_errors(tmp_path_factory, content):
    for name in ("any", "any.txt"):
        only_user_errors(write(tmp_path_factory.getbasetemp(), content, name))


fragments = st.lists(st.sampled_from([
    b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\n", b"\r", b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"NaN",
    b"1", b" ", b"messages", b'"instruction"', b'"output"', b'"messages":', b'{"role":"user","content":"x"}', GOOD,
    GOOD + b"\n", "क".encode(), "\n".encode("utf-16-le"), b"\xef\xbb\xbf"]), max_size=40)


@given(parts=fragments, opening=st.sampled_from([b"", b"[", b"{\n", b"\xff\xfe"]))
@settings(max_examples=examples(400), deadline=None)
def test_scrambled_json_raises_nothing_but_user_errors(tmp_path_factory, parts, opening):
    only_user_errors(write(tmp_path_factory.getbasetemp(), opening + b"".join(parts), "scrambled"))


json_values = st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
                           lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                               st.sampled_from(["role", "content", "messages", "instruction", "input", "output", "x",
                                                "prompt", "chosen", "rejected", "completion", "label", "text",
                                                "question", "answer", "system"]),
                               inner | st.sampled_from(["user", "assistant", "system"]), max_size=4), max_leaves=12)


@given(value=json_values)
@example(value={"input": None, "output": None, "x": "user", "instruction": False})  # a question that is no text
@settings(max_examples=examples(300), deadline=None)
def test_any_json_value_as_a_row(tmp_path_factory, value):
    only_user_errors(write(tmp_path_factory.getbasetemp(), json.dumps(value).encode(), "value"))


@given(junk=st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8))
@settings(max_examples=examples(250), deadline=None)
def test_good_rows_survive_any_junk_between_them(tmp_path_factory, junk):
    lines = [GOOD]
    for line in junk:
        lines += [line, GOOD]
    dataset = read_dataset(write(tmp_path_factory.getbasetemp(), b"\n".join(lines), "junk.jsonl"))
    assert {record.line for record in dataset.records} >= set(range(1, len(lines) + 1, 2))
    blank = {number for number, line in enumerate(lines, start=1) if not line.removeprefix(b"\xef\xbb\xbf").strip()}
    accounted = {record.line for record in dataset.records} | blank | {
        line for problem in dataset.problems for line in problem.lines or [problem.line]}
    assert accounted == set(range(1, len(lines) + 1)), "every line is a record, a problem or blank"
