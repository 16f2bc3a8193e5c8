"""Blocks of lines: read as a whole they say what they say line by line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiers import examples

from slmstudio.core.data import opening, quick_rows, source
from slmstudio.core.data.reader import read_dataset


def lines(*rows: dict) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(source, "CHUNK_BYTES", 200)
    monkeypatch.setattr(quick_rows, "BLOCK", 300)
    monkeypatch.setattr(opening, "SAMPLE_BYTES", 100)


@given(text=st.lists(st.binary(max_size=30), max_size=12), cuts=st.lists(st.integers(1, 40), max_size=12),
       block=st.integers(1, 60), limit=st.integers(5, 30))
@settings(max_examples=examples(300), deadline=None)
def test_blocks_are_the_text_whatever_its_chunks(text, cuts, block, limit):
    whole, chunks, at = b"\n".join(text), [], 0
    for cut in cuts:
        chunks.append(whole[at:at + cut])
        at += cut
    chunks = [chunk for chunk in (*chunks, whole[at:]) if chunk]
    before = quick_rows.BLOCK, quick_rows.ROW_LIMIT
    quick_rows.BLOCK, quick_rows.ROW_LIMIT = block, limit
    try:
        found, number = b"", 1
        for each in quick_rows.blocks(iter(chunks)):
            assert each.line == number
            piece = b"".join(each.text)
            found, number = found + piece, number + piece.count(b"\n")
    finally:
        quick_rows.BLOCK, quick_rows.ROW_LIMIT = before
    assert found == whole


ROWS = [{"instruction": f"प्रश्न {at}?", "input": None if at % 3 else f"about {at}", "output": f"उत्तर {at}", "id": at}
        for at in range(300)]


def careful(path, monkeypatch):
    monkeypatch.setattr(quick_rows, "read", lambda *_: None)
    return read_dataset(path)


@pytest.mark.parametrize("odd", [
    [], [{"instruction": "a", "output": ""}], [{"instruction": "a", "output": 5}], [{"prompt": "x"}], [[1]],
    [{"instruction": "a", "output": "b", "loss_weight": 2}], [{"instruction": "a", "output": '[{"role": "user"}]'}],
    [{"output": "b", "instruction": "a"}], [{"instruction": " ", "output": "b"}],
    [{"instruction": "\u3000\x85", "output": "b"}], [{"instruction": "NaN", "output": "\u3000b"}],
    [{"instruction": "\n\nHuman: a\n\nAssistant:", "output": "b"}], [{"instruction": "a", "output": "b", "id": [1]}],
    [{"instruction": "a", "output": "b", "image": "a.png"}], [{"instruction": "[a", "output": "\u3000[b"}]], ids=str)
def test_quickly_and_carefully_are_the_same(tmp_path, small_blocks, monkeypatch, odd):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines({**ROWS[0], "image": None}, *ROWS[1:200], *odd, *ROWS[200:]))
    quick, counted, slow = read_dataset(path), read_dataset(path, store=None), careful(path, monkeypatch)
    assert (quick.records, quick.problems, quick.unused, quick.layout) == (
        slow.records, slow.problems, slow.unused, slow.layout)
    assert (counted.count, counted.problems, counted.unused, counted.rows_left_out) == (
        slow.count, slow.problems, slow.unused, slow.rows_left_out)
    assert counted.records == []


@pytest.mark.parametrize("damage", [
    b'{"instruction": "a"\n', b"\xff\n", b"\n\n",
    b'{"instruction": "a", "output": "b"} {"instruction": "a", "output": "b"}\n \n',
    b'{"instruction": "a\n{b", "output": "c"} {"instruction": "a", "output": "b"}\n',
    b'{"instruction": "a", "output": "b", "id": NaN}\n', b'{"instruction": "a", "output": "b", "id": -Infinity}\n',
    b'{"instruction": NaN, "output": "b"}\n', b'{"instruction":"a","instruction":"b","output":"c"}\n',
    b'{"instruction": "\\ud800", "output": "b"}\n', b'{"instruction": "a\xff", "output": "b"}\n'])
def test_damage_in_a_block_is_told_as_ever(tmp_path, small_blocks, monkeypatch, damage):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(*ROWS[:200]) + damage + lines(*ROWS[200:]))
    quick = read_dataset(path)
    slow = careful(path, monkeypatch)
    assert (quick.records, quick.problems) == (slow.records, slow.problems)
    assert len(quick.records) == 300


def test_blocks_are_read_quickly(tmp_path, small_blocks, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(*ROWS))
    seen = []
    whole = quick_rows.read
    monkeypatch.setattr(quick_rows, "read", lambda *given: seen.append(whole(*given)) or seen[-1])
    assert read_dataset(path).count == 300
    assert sum(each.rows for each in seen if each) > 200
