"""Files that are damaged, malicious or locked: one clear message each, in bounded memory."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from support.workbooks import write_xlsx

from slmstudio.core.data.reader import read_dataset

GOOD = b'{"instruction": "a", "output": "b"}\n'
MB = 1 << 20


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def parquet_bytes() -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.table({"question": ["a"] * 500, "answer": ["b"] * 500}), out)
    return out.getvalue()


def database(rows: int = 500) -> bytes:
    with closing(sqlite3.connect(":memory:")) as opened:
        opened.execute("CREATE TABLE faq (question, answer)")
        opened.executemany("INSERT INTO faq VALUES (?, ?)", [("What is free?", "Form one is.")] * rows)
        opened.commit()
        return opened.serialize()


LOCKED_PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj
3 0 obj<</Filter/Standard/V 1/R 2/O<""" + b"41" * 32 + b""">/U<""" + b"42" * 32 + b""">/P -4>>endobj
trailer<</Root 1 0 R/Encrypt 3 0 R/ID[<41><41>]>>
"""
GZIPPED = gzip.compress("".join(f"{at * 7919 % 10007} " for at in range(20_000)).encode())
BAD = {
    "truncated gzip": ("rows.jsonl.gz", gzip.compress(GOOD * 5000)[:-20], "damaged gzip"),
    "damaged gzip": ("rows.jsonl.gz", GZIPPED[:2000] + b"\xff" * 400 + GZIPPED[2400:], "damaged gzip"),
    "gzip bomb": ("rows.jsonl.gz", gzip.compress(b"x" * (64 * MB), 9), "wasn't read"),
    "zip bomb": ("rows.zip", zipped(**{"rows.jsonl": bytes(64 * MB)}), "wasn't read"),
    "zip that leads out": ("rows.zip", zipped(**{"..__rows.jsonl": GOOD}), "wasn't read"),
    "zip with an absolute name": ("rows.zip", zipped(**{"__etc__rows.jsonl": GOOD}), "wasn't read"),
    "zip in a zip": ("rows.zip", zipped(**{"inner.zip": zipped(**{"rows.jsonl": GOOD})}), "contains no file"),
    "truncated zip": ("rows.zip", zipped(**{"rows.jsonl": GOOD * 500})[:-30], "damaged ZIP"),
    "truncated parquet": ("rows.parquet", parquet_bytes()[:-40], "damaged table"),
    "truncated arrow": ("rows.arrow", b"ARROW1\0\0" + bytes(50), "damaged table"),
    "locked pdf": ("rows.pdf", LOCKED_PDF, "has a password"),
    "bomb of a workbook": ("rows.xlsx", zipped(**{"xl__workbook.xml": bytes(64 * MB)}), "wasn't read"),
    "deep json": ("rows.json", b"[" * 100_000 + b"]" * 100_000, "no row that can be used"),
    "deep object": ("rows.jsonl", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "no row that can be used"),
    "truncated database": ("rows.db", database()[:-1000], "damaged SQLite database"),
    "damaged database": ("rows.sqlite", database()[:4096] + b"\xff" * 4096 + database()[8192:],
                         "damaged SQLite database"),
    "an empty database": ("rows.db", database(0), "contains no rows"),
    "a database of another kind": ("rows.db", bytes(range(256)) * 20, "binary data"),
    "a header alone": ("rows.csv", b"question,answer\n", "contains no rows"),
    "an old office file": ("rows.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Office document"),
    "a locked workbook": ("rows.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "damaged workbook"),
}


@pytest.mark.parametrize(("name", "content", "words"), BAD.values(), ids=BAD)
def test_one_message_says_it(tmp_path, refusal, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    error = refusal(path)
    assert words in error.what
    assert len(error.problems) <= 1
    assert path.read_bytes() == content


@pytest.mark.parametrize(("header", "renamed"), [
    ("question,answer,answer", 1), ("question,answer" + ",x" * 9000, 8999)])
def test_columns_of_one_name_are_renamed(tmp_path, header, renamed):
    (tmp_path / "rows.csv").write_text(f"{header}\na,b,c\n")
    found = read_dataset(tmp_path / "rows.csv")
    assert found.mapping == {"instruction": "question", "output": "answer"}
    assert len(found.columns) == header.count(",") + 1 and f"{renamed:,} column" in found.notes[0]


def test_quotes_that_never_close_lose_their_rows_in_one_message(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question,answer\na,b\nc,d\n" + 'x,"open\n' + "e,f\n" * 5000)
    found = read_dataset(path)
    assert found.count == 2
    (problem,) = found.problems
    assert problem.line == 4 and "never closed" in problem.message


def test_ten_thousand_columns(tmp_path):
    path = tmp_path / "rows.csv"
    names = [f"c{at}" for at in range(10_000)]
    path.write_text(",".join(["question", "answer", *names]) + "\n" + ",".join(["q?", "a.", *["1"] * 10_000]) + "\n")
    found = read_dataset(path)
    assert found.count == 1 and len(found.unused) == 10_000
    path.write_text(",".join(names) + "\n" + ",".join(["1"] * 10_000) + "\n")
    with pytest.raises(Exception, match="no row that can be used") as caught:
        read_dataset(path)
    assert len(str(caught.value)) < 2000


def test_mixed_shapes_are_one_problem_each(tmp_path):
    rows = [{"instruction": f"q{at}", "output": "a"} for at in range(50)]
    pairs = [{"prompt": "q", "chosen": "a", "rejected": "b"}] * 20
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows + pairs + [{"x": 1}] * 30 + [[1]] * 9))
    found = read_dataset(path)
    assert (found.count, found.rows_left_out, len(found.problems)) == (50, 59, 3)
    assert sorted(len(problem.lines) for problem in found.problems) == [9, 20, 30]


def test_an_encrypted_member_is_named(tmp_path, refusal):
    path = tmp_path / "rows.zip"
    content = bytearray(zipped(**{"rows.jsonl": GOOD}))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag of encryption in both headers
        content[content.index(magic) + at] |= 1
    path.write_bytes(content)
    assert "password" in refusal(path).what


def test_a_table_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, refusal):
    from slmstudio.core.data.sources import sheets

    path = tmp_path / "rows.parquet"
    path.write_bytes(parquet_bytes())
    rows = sheets.arrow_rows

    def meanwhile(*given):
        yield from rows(*given)
        path.write_bytes(path.read_bytes() + b" ")

    monkeypatch.setattr(sheets, "arrow_rows", meanwhile)
    assert "changed while it was read" in refusal(path).what


@pytest.mark.full
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.txt"])
def test_a_line_of_a_gigabyte_takes_no_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with open(path, "wb") as file:
        file.write({"rows.csv": b"question,answer\nq,", "rows.txt": b"words "}.get(name, GOOD + b'{"instruction": "'))
        file.write(b"x" * 5000)
        file.seek(1 << 30, 1)  # a hole: it takes no disk, and reads as zero bytes
        file.write(b"\n")
    program = ("import sys\nfrom pathlib import Path\nfrom slmstudio.core.data.reader import read_dataset\n"
               "from slmstudio.core.errors import UserError\n"
               "try:\n    found = read_dataset(sys.argv[1])\n    print(len(found.problems))\n"
               "except UserError as error:\n    print(max(1, len(error.problems)))\n"
               # Not ru_maxrss, which begins with what the parent had.
               "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=200)
    problems, memory = map(int, done.stdout.split())
    assert problems == 1 and memory < 400_000, done.stderr


@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet", "jsonl", "gz"])
def test_cancel_ends_it_at_once(tmp_path, kind):
    from slmstudio.core.data.source import ReadingCancelled

    rows = [["question", "answer"], *([f"q{at}", "a"] for at in range(400))]
    path = tmp_path / f"rows.{kind}"
    if kind == "xlsx":
        write_xlsx(path, {"S": rows})
    elif kind == "parquet":
        path.write_bytes(parquet_bytes())
    else:
        text = "\n".join(map(",".join, rows)).encode() if kind == "csv" else GOOD * 400
        path.write_bytes(gzip.compress(text) if kind == "gz" else text)
    asked = []
    with pytest.raises(ReadingCancelled):
        read_dataset(path, cancelled=lambda: asked.append(1) or len(asked) > 1)
