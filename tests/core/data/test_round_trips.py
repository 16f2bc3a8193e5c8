"""Whatever text goes in by one format comes out the same after it was converted and read back, in every script."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from support.tiers import examples
from support.workbooks import write_xlsx

from slmstudio.core.data.reader import Record, read_dataset
from slmstudio.core.data.versions import store

SCRIPTS = (
    "abz हिन्दी বাংলা தமிழ் తెలుగు ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ ଓଡ଼ିଆ "
    "اردو 中文 日本 👩🏽‍🌾 \u200d\u200c\u00a0\"',;|\t\n\\{}[]")
text = st.text(st.sampled_from(SCRIPTS) | st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"),
               min_size=1, max_size=30).filter(lambda each: each.strip())
rows = st.lists(st.tuples(text, text), min_size=1, max_size=6)


def as_csv(path: Path, pairs: list[tuple[str, str]], delimiter: str = ",", codec: str = "utf-8") -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("question", "answer"), *pairs])
    path.write_bytes(out.getvalue().encode(codec))


def as_objects(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"question": question, "answer": answer} for question, answer in pairs]


WRITERS = {
    "rows.csv": as_csv,
    "rows.tsv": lambda path, pairs: as_csv(path, pairs, "\t"),
    "utf16.csv": lambda path, pairs: as_csv(path, pairs, ";", "utf-16"),
    "rows.jsonl": lambda path, pairs: path.write_text("".join(
        json.dumps(row, ensure_ascii=False) + "\n" for row in as_objects(pairs)), encoding="utf-8"),
    "rows.json": lambda path, pairs: path.write_text(json.dumps({"data": as_objects(pairs)}), encoding="utf-8"),
    "rows.parquet": lambda path, pairs: parquet.write_table(pyarrow.Table.from_pylist(as_objects(pairs)), path),
    "rows.xlsx": lambda path, pairs: write_xlsx(path, {"S": [("question", "answer"), *pairs]}),
}


@pytest.mark.parametrize("name", WRITERS)
@given(pairs=rows)
@settings(max_examples=examples(60), deadline=None)
def test_questions_and_answers(tmp_path_factory, name, pairs):
    folder = tmp_path_factory.getbasetemp()
    path, again = folder / name, folder / "again.jsonl"
    WRITERS[name](path, pairs)
    dataset = read_dataset(path)
    assert dataset.problems == []
    assert [tuple(message["content"] for message in record.messages) for record in dataset.records] == pairs
    store.write_rows(again, dataset.records)
    assert said(read_dataset(again).records) == said(dataset.records)


def said(records: list[Record]) -> list[tuple[object, ...]]:
    return [(record.messages, record.rejected, record.desirable, record.text, record.tools) for record in records]


messages = st.builds(
    lambda system, turns: (*([{"role": "system", "content": system}] if system else []), *(
        {"role": role, "content": content} for pair in turns
        for role, content in zip(("user", "assistant"), pair, strict=True))),
    st.none() | text, st.lists(st.tuples(text, text), min_size=1, max_size=3))
tools = st.just(()) | st.builds(
    lambda name, about: ({"type": "function", "function": {"name": name, "description": about, "parameters": {}}},),
    st.text("abc_", min_size=1, max_size=8), text)


@given(kind=st.sampled_from(["chat", "pair", "label", "text"]),
       made=st.lists(st.tuples(messages, text, st.booleans(), tools), min_size=1, max_size=4))
@settings(max_examples=examples(200), deadline=None)
def test_every_record_is_read_back_from_its_row(tmp_path_factory, kind, made):
    records = []
    for line, (chat, other, flag, offered) in enumerate(made, 1):
        if kind == "text":
            records.append(Record((), line, text=other))
        elif kind == "pair":
            records.append(Record(chat, line, rejected=other + "!" + chat[-1]["content"], tools=offered))
        else:
            records.append(Record(chat, line, desirable=flag if kind == "label" else None, tools=offered))
    path = tmp_path_factory.getbasetemp() / "records.jsonl"
    store.write_rows(path, records)
    dataset = read_dataset(path)
    assert dataset.problems == []
    assert said(dataset.records) == said(records)
