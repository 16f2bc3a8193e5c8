"""What is read from good files, in every shape and encoding, and how the file itself is treated."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import model_files
from support.chat_rows import write
from support.tiers import examples

from slmstudio.core.data.reader import ReadingCancelled, read_dataset
from slmstudio.core.errors import UserError

HINDI = {"instruction": "राशन कार्ड में नया नाम कैसे जोड़ें?", "input": "", "output": "आधार कार्ड ले जाएँ। 👍"}
CHAT = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
                     {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "2+2?"},
                     {"role": "assistant", "content": "4"}]}

text = st.text(max_size=30)
filled = st.text(min_size=1, max_size=30).filter(lambda value: not value.isspace())
worded = filled.filter(lambda value: any(map(str.isalpha, value)))  # numbers aren't taken for questions
instruction_rows = st.fixed_dictionaries({"instruction": worded, "output": filled}, optional={"input": text})


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, list[dict[str, str]]]:
    turns = draw(st.lists(st.tuples(filled, filled), min_size=1, max_size=3))
    system = [{"role": "system", "content": draw(text)}] if draw(st.booleans()) else []
    return {"messages": system + [{"role": role, "content": content} for turn in turns
                                  for role, content in zip(("user", "assistant"), turn, strict=True)]}


def expected_messages(row: dict) -> tuple[dict[str, str], ...]:
    if "messages" in row:
        return tuple(row["messages"])
    context = row.get("input") or ""
    question = f"{row['instruction']}\n\n{context}" if context.strip() else row["instruction"]
    return {"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}


def jsonl(*rows: dict) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


ENCODINGS = {"UTF-8": ("utf-8", b""), "UTF-8 with BOM": ("utf-8", codecs.BOM_UTF8),
             "UTF-16 LE": ("utf-16-le", codecs.BOM_UTF16_LE), "UTF-16 BE": ("utf-16-be", codecs.BOM_UTF16_BE),
             "UTF-16 LE without": ("utf-16-le", b""), "UTF-16 BE without": ("utf-16-be", b"")}


@given(rows=st.lists(instruction_rows | conversations(), min_size=1, max_size=6), data=st.data(),
       encoding=st.sampled_from(sorted(ENCODINGS)), end=st.sampled_from(["\n", "\r\n", "\r"]),
       shape=st.sampled_from(["lines", "array", "indented array", "spread objects"]), ascii_only=st.booleans())
@settings(max_examples=examples(250), deadline=None)
def test_rows_written_in_any_shape_are_read_back(tmp_path_factory, rows, data, encoding, end, shape, ascii_only):
    written, lines = "", []
    for index, row in enumerate(rows):
        indent = 2 if shape in ("indented array", "spread objects") else None
        written += "\n" * data.draw(st.integers(0, 2))
        if shape.endswith("array"):
            written += "[" if index == 0 else ","
        lines.append(written.count("\n") + 1)
        written += json.dumps(row, ensure_ascii=ascii_only, indent=indent)
        written += "" if shape == "array" else "\n"
    written += "]" if shape.endswith("array") else ""
    codec, bom = ENCODINGS[encoding]
    path = write(tmp_path_factory.getbasetemp(), bom + written.replace("\n", end).encode(codec), "roundtrip.jsonl")

    dataset = read_dataset(path)

    assert dataset.problems == []
    assert [record.messages for record in dataset.records] == [expected_messages(row) for row in rows]
    assert [record.line for record in dataset.records] == lines
    assert dataset.encoding == encoding.removesuffix(" without")
    layouts = {"messages" if "messages" in row else "instruction" for row in rows}
    assert dataset.layout == (layouts.pop() if len(layouts) == 1 else "mixed")


def test_facts_of_the_file(tmp_path):
    content = jsonl(HINDI, CHAT)
    dataset = read_dataset(str(write(tmp_path, content, "pune helpdesk.v2.jsonl")))
    assert dataset.name == "pune helpdesk.v2"
    assert (dataset.bytes, dataset.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (dataset.layout, dataset.encoding, dataset.unused) == ("mixed", "UTF-8", ())
    assert [record.line for record in dataset.records] == [1, 2]


def test_checksum_is_of_the_raw_bytes_of_a_long_utf16_file(tmp_path):
    content = codecs.BOM_UTF16_LE + (jsonl(HINDI) * 20_000).decode().encode("utf-16-le")
    dataset = read_dataset(write(tmp_path, content))
    assert dataset.sha256 == hashlib.sha256(content).hexdigest()
    assert len(dataset.records) == 20_000
    assert dataset.records[-1].messages == expected_messages(HINDI)
    assert dataset.problems == []


def test_crlf_across_the_border_of_two_chunks(tmp_path):
    row = b'{"instruction":"a","output":"%s"}\r\n'
    content = row % (b"x" * ((1 << 20) - len(row % b"") + 1)) + row % b"b"
    assert content[(1 << 20) - 1:(1 << 20) + 1] == b"\r\n"
    assert [record.line for record in read_dataset(write(tmp_path, content)).records] == [1, 2]


def test_input_is_optional_null_or_blank(tmp_path):
    rows = [{"instruction": "a", "output": "b", **extra} for extra in ({}, {"input": None}, {"input": " "})]
    dataset = read_dataset(write(tmp_path, jsonl(*rows)))
    assert [record.messages[0]["content"] for record in dataset.records] == ["a", "a", "a"]


def test_line_separators_inside_a_text_end_no_line(tmp_path):
    row = {"instruction": "a\u2028b\u2029c\u0085d\x0be", "output": "x\x0cy"}
    dataset = read_dataset(write(tmp_path, jsonl(row, row)))
    assert [record.messages for record in dataset.records] == [expected_messages(row)] * 2


def test_files_that_were_joined_keep_their_rows(tmp_path):
    part = codecs.BOM_UTF8 + jsonl(HINDI)
    dataset = read_dataset(write(tmp_path, part * 3 + codecs.BOM_UTF8 + b"\n"))
    assert len(dataset.records) == 3
    assert dataset.problems == []


def test_other_columns_are_named_not_lost_in_silence(tmp_path):
    rows = [{**HINDI, "id": 7, "source": {"page": [1]}},
            {"messages": [{**message, "weight": 1} for message in CHAT["messages"]], "output": "x"}]
    assert read_dataset(write(tmp_path, jsonl(*rows))).unused == ("id", "messages.weight", "output", "source")


def test_null_columns_of_a_merged_table(tmp_path):
    rows = [{**HINDI, "messages": None}, {**CHAT, "instruction": None, "output": None}]
    dataset = read_dataset(write(tmp_path, jsonl(*rows)))
    assert [record.messages for record in dataset.records] == [expected_messages(HINDI), expected_messages(CHAT)]


def test_rows_of_an_array_need_no_commas_between_them(tmp_path):
    row = jsonl(HINDI).decode().strip()
    dataset = read_dataset(write(tmp_path, f"[{row} {row},,\n{row},]".encode()))
    assert [(record.line, record.messages) for record in dataset.records] == [
        (line, expected_messages(HINDI)) for line in (1, 1, 2)]
    assert dataset.problems == []


def test_arrays_that_were_joined_keep_their_rows(tmp_path):
    part = b"[\n" + jsonl(HINDI) + b"]\n"
    dataset = read_dataset(write(tmp_path, part * 2))
    assert [record.line for record in dataset.records] == [2, 5]
    assert dataset.problems == []


def test_an_array_longer_than_a_chunk_on_one_line(tmp_path):
    rows = [{"instruction": f'{index} "[{{\\', "output": "दो" * 40} for index in range(20_000)]
    dataset = read_dataset(write(tmp_path, json.dumps(rows, ensure_ascii=False).encode(), "rows.json"))
    assert [record.messages for record in dataset.records] == [expected_messages(row) for row in rows]


def test_progress_rises_to_the_end(tmp_path):
    content = jsonl(HINDI) * 15_000
    seen: list[tuple[int, int]] = []
    read_dataset(write(tmp_path, content), progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {total for _, total in seen} == {len(content)}
    assert seen[-1] == (len(content), len(content))
    assert len(seen) >= len(content) // 2**20


def test_cancel_ends_the_reading(tmp_path):
    done: list[int] = []
    path = write(tmp_path, jsonl(HINDI) * 30_000)
    with pytest.raises(ReadingCancelled):
        read_dataset(path, progress=lambda read, _: done.append(read), cancelled=lambda: len(done) == 2)
    assert len(done) == 2


def append(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"{}\n" * 10**6)


def replace_by_a_copy(path: Path) -> None:
    write(path.parent, path.read_bytes(), "new").replace(path)


@pytest.mark.parametrize(("harm", "word"), [
    (lambda path: path.unlink(), "disappeared"),
    (lambda path: path.write_bytes(b""), "changed"),
    (append, "changed"),
    (lambda path: os.utime(path, ns=(1, 1)), "changed"),
    (replace_by_a_copy, "changed"),
], ids=["deleted", "emptied", "appended", "touched", "replaced"])
@pytest.mark.parametrize("rows", [1, 30_000])
@pytest.mark.skipif(os.name == "nt", reason="Windows keeps an open file from being changed so")
def test_a_file_that_changes_meanwhile_is_refused(tmp_path, harm, word, rows):
    path = write(tmp_path, jsonl(HINDI) * rows)
    harms = iter([harm])
    with pytest.raises(UserError) as caught:
        read_dataset(path, progress=lambda *_: next(harms, lambda _: None)(path))
    assert word in caught.value.what
    assert path.name in caught.value.what


def test_real_hindi_instructions(data_dir):
    dataset = read_dataset(data_dir / "xquad_hi_instructions.jsonl")
    assert (len(dataset.records), dataset.problems, dataset.layout) == (307, [], "instruction")
    first = json.loads((data_dir / "xquad_hi_instructions.jsonl").read_bytes().split(b"\n")[0])
    assert dataset.records[0].messages == expected_messages(first)
    assert dataset.records[-1].line == 307


@pytest.mark.parametrize(("name", "rows"), [("gsm8k_train", 400), ("gsm8k_test", 200)])
def test_real_questions_and_answers(data_dir, name, rows):
    path = data_dir / f"{name}.jsonl"
    dataset = read_dataset(path)
    assert (len(dataset.records), dataset.problems, dataset.layout, dataset.unused) == (rows, [], "instruction", ())
    last = json.loads(path.read_bytes().splitlines()[-1])
    assert [message["content"] for message in dataset.records[-1].messages] == [last["question"], last["answer"]]


def test_a_real_squad_file_is_read_and_a_gguf_is_refused(data_dir, tmp_path):
    dataset = read_dataset(data_dir / "xquad.hi.json")
    assert (dataset.layout, dataset.problems, dataset.format) == ("instruction", [], "json")
    inner = json.loads((data_dir / "xquad.hi.json").read_bytes())["data"][0]["paragraphs"][0]
    asked = inner["qas"][0]
    assert [message["content"] for message in dataset.records[0].messages] == [
        f"{asked['question']}\n\n{inner['context']}", asked["answers"][0]["text"]]
    (tmp_path / "rows.jsonl").write_bytes(model_files.small_gguf())
    with pytest.raises(UserError, match="a GGUF model"):
        read_dataset(tmp_path / "rows.jsonl")
