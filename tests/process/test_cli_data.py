"""Datasets in the terminal: checked, mended, converted and split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slmstudio.cli import commands
from slmstudio.core.data.reader import read_dataset

ROWS = [("पानी कब आता है?", "सुबह छह बजे।"), ("Where is the ward office?", "Next to the market."),
        ("Where is the ward office?", "Next to the market."), ("My number is 98765 43210.", "<b>Noted</b>, thank you.")]


@pytest.fixture(autouse=True)
def home(studio_home: Path) -> Path:
    return studio_home


@pytest.fixture
def run(capsys):
    """`run(words…)`: the JSON that a command prints, which ends with `status`."""

    def call(*words: object, status: int = 0) -> dict:
        assert commands.main([*map(str, words), "--json"]) == status
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(['"प्रश्न","उत्तर","split"', *(f'"{asked}","{answer}","train"' for asked, answer in ROWS)]),
                    encoding="utf-8")
    return path


def test_a_report_says_everything(run, table, tiny_model):
    report = run("data", "check", table, "--model", tiny_model, "--max-length", 20)
    names = ("format", "encoding", "layout", "records", "mapping", "unused_words")
    assert {name: report[name] for name in names} == {
        "format": "csv", "encoding": "UTF-8", "layout": "instruction", "records": 4,
        "mapping": {"instruction": "प्रश्न", "output": "उत्तर"}, "unused_words": ["split"]}
    assert report["objectives"] == ["sft", "text"] and report["problems"] == []
    found = {each["kind"]: each for each in report["findings"]}
    assert found["duplicate_rows"]["lines"] == [4] and found["personal_phone"]["lines"] == [5]
    assert found["html"]["count"] == 1 and found["too_long"]["count"] >= 1
    tokens = report["tokens"]
    figures = [tokens[name] for name in ("min", "median", "p95", "p99", "max")]
    assert tokens["measured"] == 4 and figures == sorted(figures)
    assert set(tokens["per_word"]) == {"Latin", "Devanagari"} == set(report["scripts"])


def test_problems_have_their_lines_and_the_exit_status_says_so(run, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n{"instruction": "a", "output": ""}\n{broken\n')
    report = run("data", "check", path, status=2)
    assert [(each["line"], bool(each["what"])) for each in report["problems"]] == [(2, True), (3, True)]
    assert (report["records"], report["rows_left_out"]) == (1, 2)
    both = run("data", "check", path, tmp_path / "absent.jsonl", status=2)
    assert [each["records"] for each in both["files"]] == [1, 0] and both["files"][1]["error"]["remedy"]


def test_clean_writes_a_mended_copy(run, table, tmp_path):
    out, before = tmp_path / "clean.jsonl", table.read_bytes()
    done = run("data", "clean", table, "--fix", "duplicate_rows,html", "--fix", "personal_phone", "--out", out)
    assert (done["records"], done["removed"]) == (3, 1)
    assert done["changes"] == {"duplicate_rows": 1, "html": 1, "personal_phone": 1}
    texts = [message["content"] for record in read_dataset(out).records for message in record.messages]
    assert "My number is [PHONE]." in texts and "Noted, thank you." in texts
    assert table.read_bytes() == before
    lineage = json.loads((tmp_path / "clean.jsonl.lineage.json").read_text("utf-8"))
    assert lineage["source"] == "rows.csv" and len(lineage["steps"]) == 3
    assert run("data", "clean", table, "--fix", "nonsense", "--out", out, status=2)["error"]["remedy"]


def test_convert_with_what_a_person_says(run, tmp_path):
    path, out = tmp_path / "odd.csv", tmp_path / "rows.jsonl"
    path.write_text("title,notes,more\nWhere is it?,Here.,x\n")
    done = run("data", "convert", path, "--map", "instruction=title,output=notes", "--out", out)
    assert (done["records"], done["layout"]) == (1, "instruction")
    assert json.loads(out.read_text()) == {"instruction": "Where is it?", "output": "Here."}
    for wrong in ("title", "instruction=nowhere,output=notes", "instruction=title"):
        assert run("data", "convert", path, "--map", wrong, "--out", out, status=2)["error"]["remedy"]


def test_split_keeps_questions_together_and_languages_even(run, tmp_path):
    path, out = tmp_path / "rows.jsonl", tmp_path / "split"
    rows = [{"question": f"Question {at // 2}?", "answer": "a"} for at in range(40)] + [
        {"question": f"प्रश्न {at}?", "answer": "उत्तर"} for at in range(40)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    done = run("data", "split", path, "--out", out, "--ratio", 0.2, "--by", "language", "--seed", 3)
    assert (done["train"], done["eval"]) == (64, 16)
    held_out, train = read_dataset(out / "eval.jsonl").records, read_dataset(out / "train.jsonl").records
    assert sum(record.prompt[0].isascii() for record in held_out) == 8
    assert not {record.prompt for record in held_out} & {record.prompt for record in train}
    again = tmp_path / "again"
    run("data", "split", path, "--out", again, "--ratio", 0.2, "--by", "language", "--seed", 3)
    assert (again / "eval.jsonl").read_bytes() == (out / "eval.jsonl").read_bytes()
    assert run("data", "split", path, "--out", out, "--count", 10)["eval"] == 10
    assert run("data", "split", path, "--out", out, "--by", "colour", status=2)["error"]["remedy"]
