"""Datasets in the terminal: checked, mended, converted and split."""

from __future__ import annotations

import json
import shlex
import shutil
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
        "mapping": {"instruction": "प्रश्न", "output": "उत्तर"}, "unused_words": []}
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
    assert [(each["line"], bool(each["message"])) for each in report["problems"]] == [(2, True), (3, True)]
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


LOOK = "Ref,Vinanti,Javaab diya,Stage\n" + "".join(
    f"{at},The tap in ward {at} has been dry for days.,The pipe in ward {at} was mended and it runs.,open\n"
    for at in range(40))
LINE = "instruction=Vinanti,output=Javaab diya"


@pytest.fixture
def unclear(tmp_path) -> Path:
    path = tmp_path / "look.csv"
    path.write_text(LOOK)
    return path


def test_check_asks_where_a_file_does_not_say_and_offers_the_command(run, unclear, capsys):
    report = run("data", "check", unclear, status=2)
    best = report["candidates"][0]
    assert (best["name"], best["line"], best["evidence"]) == ("question_answer", LINE, ["by_sentences"] * 2)
    assert best["certainty"] < 0.75 and report["problems"] == []
    assert report["first_rows"][0]["output"] == "The pipe in ward 0 was mended and it runs." and len(
        report["first_rows"]) == 3
    assert commands.main(["data", "check", str(unclear)]) == 2
    shown = capsys.readouterr()
    assert "assistant: The pipe in ward 0" in shown.out and "Stage" in shown.out
    command, _ = (line.strip() for line in shown.err.splitlines() if "--map" in line)
    assert run(*shlex.split(command)[1:])["candidates"][0]["certainty"] == 1, "it can be pasted"


@pytest.mark.parametrize("words", [("data", "convert"), ("data", "split"), ("data", "mix"),
                                   ("data", "clean", "--fix", "html")], ids=lambda words: words[1])
def test_commands_that_read_rows_ask(run, unclear, tmp_path, words):
    error = run(*words, unclear, "--out", tmp_path / "new", status=2)
    assert LINE in error["error"]["commands"][0] and error["candidates"][0]["line"] == LINE
    assert not (tmp_path / "new").exists()


def test_a_plan_asks_for_the_rows_and_the_test_rows_and_keeps_what_was_said(run, unclear, tmp_path, tiny_model):
    out, test = tmp_path / "run.json", tmp_path / "test.csv"
    test.write_text(LOOK.replace("Vinanti", "Sawaal"))
    plan = ("plan", "--model", tiny_model, "--data", unclear, "--out", out)
    assert f"--map '{LINE}'" in run(*plan, status=2)["error"]["commands"][0]
    (command,) = run(*plan, "--map", LINE, "--test", test, status=2)["error"]["commands"][:1]
    assert "--set 'eval_map=instruction=Sawaal," in command and not out.exists()
    same = run(*plan, "--map", LINE, "--test", shutil.copy(unclear, tmp_path / "same.csv"))["config"]
    assert same["eval_map"] == LINE, "test rows with the same columns are read in the same way"
    config = run(*shlex.split(command)[1:])["config"]
    assert (config["train_map"], config["eval_map"]) == (LINE, LINE.replace("Vinanti", "Sawaal"))


def test_a_file_whose_columns_tell_nothing_is_refused_with_commands_for_its_own_columns(run, tmp_path, capsys):
    path = tmp_path / "odd.csv"
    path.write_text("Fld 1,Fld-2,xx\n" + "".join(f"why {n},because of {n},text\n" for n in range(9)))
    assert commands.main(["data", "check", str(path)]) == 2
    told = capsys.readouterr().err
    assert told.count("instruction=Fld 1,output=Fld-2") == 1 and "xx" not in told


def test_training_from_a_written_configuration_asks_too(run, unclear, tmp_path, tiny_model):
    config = {"name": "x", "model": str(tiny_model), "train_file": str(unclear)}
    (tmp_path / "run.json").write_text(json.dumps(config))
    error = run("train", tmp_path / "run.json", status=2)["error"]
    assert f"--set 'train_map={LINE}'" in error["commands"][0]
    assert "data convert" in run("queue", "add", tmp_path / "run.json", status=2)["error"]["commands"][0]
