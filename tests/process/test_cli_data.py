"""Datasets in the terminal: checked, mended, converted, split, mixed; what is wrong, and what isn't clear."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import tiny_model

from slmstudio.cli import commands, output
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.errors import Problem, UserError

ROWS = [("पानी कब आता है?", "सुबह छह बजे।"), ("Where is the ward office?", "Next to the market."),
        ("Where is the ward office?", "Next to the market."), ("My number is 98765 43210.", "<b>Noted</b>, thank you.")]


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(['"प्रश्न","उत्तर","split"', *(f'"{asked}","{answer}","train"' for asked, answer in ROWS)]),
                    encoding="utf-8")
    return path


def test_a_report_says_everything(told, table, tiny_model):
    report = told("data", "check", table, "--model", tiny_model, "--max-length", 20)
    names = ("format", "encoding", "layout", "records", "mapping", "unused_words")
    assert {name: report[name] for name in names} == {
        "format": "csv", "encoding": "UTF-8", "layout": "instruction", "records": 4,
        "mapping": {"instruction": "प्रश्न", "output": "उत्तर"}, "unused_words": ["split"]}
    assert report["objectives"] == ["sft", "text"] and report["problems"] == []
    found = {each["kind"]: each for each in report["findings"]}
    assert found["duplicate_rows"]["lines"] == [4] and found["personal_phone"]["lines"] == [5]
    assert found["html"]["rows"] == 1 and found["html"]["choices"] == ["mend", "remove", "keep"]
    assert found["html"]["recommended"] == "mend" and found["html"]["cost"] == {"severity": "warn", "rows": 1}
    assert found["no_answer"]["choices"] == ["lengthen", "remove"] and found["no_answer"]["cost"]["tokens"] > 0
    assert report["rows_used"] == 3
    tokens = report["tokens"]
    figures = [tokens[name] for name in ("min", "median", "p95", "p99", "max")]
    assert tokens["measured"] == 4 and figures == sorted(figures)
    assert set(tokens["per_word"]) == {"Latin", "Devanagari"} == set(report["scripts"])


def test_problems_have_their_lines_and_the_exit_status_says_so(cli, told, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}\n{"instruction": "a", "output": ""}\n{broken\n')
    report = told("data", "check", path, status=2)
    assert [(each["line"], bool(each["message"])) for each in report["problems"]] == [(2, True), (3, True)]
    assert (report["records"], report["rows_left_out"]) == (1, 2)
    both = told("data", "check", path, tmp_path / "absent.jsonl", status=2)
    assert [each["records"] for each in both["files"]] == [1, 0] and both["files"][1]["error"]["remedy"]
    said = cli("data", "check", tmp_path / "absent.jsonl", "--json", status=2)
    assert "absent.jsonl" in said.json["error"]["what"] and said.err.startswith("error: ")


def test_clean_writes_a_mended_copy(told, table, tmp_path):
    out, before = tmp_path / "clean.jsonl", table.read_bytes()
    done = told("data", "clean", table, "--fix", "duplicate_rows,html", "--fix", "personal_phone", "--out", out)
    assert (done["records"], done["removed"]) == (3, 1)
    assert done["changes"] == {"duplicate_rows": 1, "html": 1, "personal_phone": 1}
    texts = [message["content"] for record in read_dataset(out).records for message in record.messages]
    assert "My number is [PHONE]." in texts and "Noted, thank you." in texts
    assert table.read_bytes() == before
    lineage = json.loads((tmp_path / "clean.jsonl.lineage.json").read_text("utf-8"))
    assert lineage["source"] == "rows.csv" and len(lineage["steps"]) == 3
    best = told("data", "clean", table, "--fix", "recommended,personal_phone=remove", "--out", out)
    assert best["decisions"] == {"personal_phone": "remove", "duplicate_rows": "remove", "html": "mend"}
    assert best["records"] == 2 and "2 of 4 rows of rows.csv are used" in best["outcome"]
    for wrong in ("html=longest", "nonsense"):
        assert told("data", "clean", table, "--fix", wrong, "--out", out, status=2)["error"]["remedy"]


def test_convert_with_what_a_person_says(told, tmp_path):
    path, out = tmp_path / "odd.csv", tmp_path / "rows.jsonl"
    path.write_text("title,notes,more\nWhere is it?,Here.,x\n")
    done = told("data", "convert", path, "--map", "instruction=title,output=notes", "--out", out)
    assert (done["records"], done["layout"]) == (1, "instruction")
    assert json.loads(out.read_text()) == {"instruction": "Where is it?", "output": "Here."}
    for wrong in ("title", "instruction=nowhere,output=notes", "instruction=title"):
        assert told("data", "convert", path, "--map", wrong, "--out", out, status=2)["error"]["remedy"]


def test_split_keeps_questions_together_and_languages_even(told, tmp_path):
    path, out = tmp_path / "rows.jsonl", tmp_path / "split"
    rows = [{"question": f"Question {at // 2}?", "answer": "a"} for at in range(40)] + [
        {"question": f"प्रश्न {at}?", "answer": "उत्तर"} for at in range(40)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    done = told("data", "split", path, "--out", out, "--ratio", 0.2, "--by", "language", "--seed", 3)
    assert (done["train"], done["eval"]) == (64, 16)
    held_out, train = read_dataset(out / "eval.jsonl").records, read_dataset(out / "train.jsonl").records
    assert sum(record.prompt[0].isascii() for record in held_out) == 8
    assert not {record.prompt for record in held_out} & {record.prompt for record in train}
    again = tmp_path / "again"
    told("data", "split", path, "--out", again, "--ratio", 0.2, "--by", "language", "--seed", 3)
    assert (again / "eval.jsonl").read_bytes() == (out / "eval.jsonl").read_bytes()
    assert told("data", "split", path, "--out", out, "--count", 10)["eval"] == 10
    assert told("data", "split", path, "--out", out, "--by", "colour", status=2)["error"]["remedy"]


LOOK = "Ref,Vinanti,Javaab diya,Stage\n" + "".join(
    f"{at},The tap in ward {at} has been dry for days.,The pipe in ward {at} was mended and it runs.,open\n"
    for at in range(40))
LINE = "instruction=Vinanti,output=Javaab diya"


@pytest.fixture
def unclear(tmp_path) -> Path:
    path = tmp_path / "look.csv"
    path.write_text(LOOK)
    return path


def test_check_asks_where_a_file_does_not_say_and_offers_the_command(cli, told, unclear):
    report = told("data", "check", unclear, status=2)
    best = report["candidates"][0]
    assert (best["name"], best["line"], best["evidence"]) == ("question_answer", LINE, ["by_sentences"] * 2)
    assert best["certainty"] < 0.75 and report["problems"] == []
    assert report["first_rows"][0]["output"] == "The pipe in ward 0 was mended and it runs." and len(
        report["first_rows"]) == 3
    shown = cli("data", "check", unclear, status=2)
    assert "assistant: The pipe in ward 0" in shown.out and "Stage" in shown.out
    command, _ = (line.strip() for line in shown.err.splitlines() if "--map" in line)
    assert told(*shlex.split(command)[1:])["candidates"][0]["certainty"] == 1, "it can be pasted"


@pytest.mark.parametrize("words", [("data", "convert"), ("data", "split"), ("data", "mix"),
                                   ("data", "clean", "--fix", "html")], ids=lambda words: words[1])
def test_commands_that_read_rows_ask(told, unclear, tmp_path, words):
    error = told(*words, unclear, "--out", tmp_path / "new", status=2)
    assert LINE in error["error"]["commands"][0] and error["candidates"][0]["line"] == LINE
    assert not (tmp_path / "new").exists()


def test_a_plan_asks_for_the_rows_and_the_test_rows_and_keeps_what_was_said(told, unclear, tmp_path, tiny_model):
    out, test = tmp_path / "run.json", tmp_path / "test.csv"
    test.write_text(LOOK.replace("Vinanti", "Sawaal"))
    plan = ("plan", "--model", tiny_model, "--data", unclear, "--out", out)
    assert f"--map '{LINE}'" in told(*plan, status=2)["error"]["commands"][0]
    (command,) = told(*plan, "--map", LINE, "--test", test, status=2)["error"]["commands"][:1]
    assert "--set 'eval_map=instruction=Sawaal," in command and not out.exists()
    same = told(*plan, "--map", LINE, "--test", shutil.copy(unclear, tmp_path / "same.csv"))["config"]
    assert same["eval_map"] == LINE, "test rows with the same columns are read in the same way"
    config = told(*shlex.split(command)[1:])["config"]
    assert (config["train_map"], config["eval_map"]) == (LINE, LINE.replace("Vinanti", "Sawaal"))


def test_a_file_whose_columns_tell_nothing_is_refused_with_commands_for_its_own_columns(cli, tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("Fld 1,Fld-2,xx\n" + "".join(f"why {n},because of {n},text\n" for n in range(9)))
    told = cli("data", "check", path, status=2).err
    assert told.count("instruction=Fld 1,output=Fld-2") == 1 and "xx" not in told


def test_training_from_a_written_configuration_asks_too(told, unclear, tmp_path, tiny_model):
    config = {"name": "x", "model": str(tiny_model), "train_file": str(unclear)}
    (tmp_path / "run.json").write_text(json.dumps(config))
    error = told("train", tmp_path / "run.json", status=2)["error"]
    assert f"--set 'train_map={LINE}'" in error["commands"][0]
    assert "data convert" in told("queue", "add", tmp_path / "run.json", status=2)["error"]["commands"][0]


def test_files_are_mixed_by_their_weights(cli, tmp_path: Path):
    for name, rows in (("a", 10), ("b=c", 4)):
        (tmp_path / f"{name}.jsonl").write_text("".join(
            json.dumps({"instruction": f"{name} {n}", "output": "x"}) + "\n" for n in range(rows)), encoding="utf-8")
    out = tmp_path / "mix.jsonl"
    done = cli("data", "mix", f"{tmp_path / 'a.jsonl'}=0.5", tmp_path / "b=c.jsonl", "--out", out, "--seed", 3,
               "--json")
    assert done.json["rows"] == {"a.jsonl": 5, "b=c.jsonl": 4}
    assert len(out.read_text(encoding="utf-8").splitlines()) == 9
    lineage = json.loads((tmp_path / "mix.jsonl.lineage.json").read_text(encoding="utf-8"))
    assert [each["source"] for each in lineage["sources"]] == ["a.jsonl", "b=c.jsonl"] and lineage["seed"] == 3
    wrong = cli("data", "mix", f"{tmp_path / 'a.jsonl'}=many", tmp_path / "b=c.jsonl", "--out", out, status=2)
    assert "“many” isn't a weight" in wrong.err


FAULTS = 3000
"""Rows of a file whose every row has a fault."""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Path:
    """Each row's fault is another one, so that they can't be said together; the last row is fine."""
    file = tmp_path_factory.mktemp("rows") / "faulty.jsonl"
    with open(file, "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"messages": [{"role": f"visitor {number}", "content": "Hello"}]}) + "\n"
                       for number in range(FAULTS))
        out.write(json.dumps({"messages": [{"role": "user", "content": "Hello"},
                                           {"role": "assistant", "content": "Good morning"}]}) + "\n")
    return file


def test_the_terminal_says_the_first_ones_and_how_to_see_the_others(cli, faulty) -> None:
    out, err = cli("data", "check", faulty, status=2)
    assert out.count("visitor") == 20 and "… and 2,980 more." in out and "--problems FILE.jsonl" in out
    assert "3,000 problems\n" in out and "1 row, " in out and "3,000 rows can't be used" in err
    assert len(out) + len(err) < 10_000


def test_json_has_the_first_thousand_and_their_number(told, faulty) -> None:
    said = told("data", "check", faulty, status=2)
    assert len(said["problems"]) == output.MOST_IN_JSON and said["problems_in_all"] == FAULTS
    assert said["problems"][0]["message"] and said["problems"][0]["line"] == 1


def test_all_of_them_are_written_to_a_file(cli, faulty, tmp_path) -> None:
    listed = tmp_path / "problems.jsonl"
    assert commands.main(["data", "check", str(faulty), "--problems", str(listed)]) == 2
    found = [json.loads(line) for line in listed.read_text("utf-8").splitlines()]
    assert [each["line"] for each in found] == [*range(1, FAULTS + 1)]
    assert {each["file"] for each in found} == {str(faulty)}
    assert "It is a folder" in cli("data", "check", faulty, "--problems", tmp_path, status=2).err


def test_a_file_with_no_usable_row_is_no_longer(cli, faulty, tmp_path) -> None:
    unusable = tmp_path / "unusable.jsonl"
    unusable.write_text("".join(faulty.read_text("utf-8").splitlines(keepends=True)[:-1]), "utf-8")
    for words in (["data", "check", unusable],
                  ["data", "convert", unusable, "--out", tmp_path / "out.jsonl", "--json"]):
        out, err = cli(*words, status=2)
        assert err.count("visitor") <= 21 and "… and 2,979 more." in err
    said = json.loads(out)["error"]
    assert len(said["problems"]) == output.MOST_IN_JSON and said["problems_in_all"] == FAULTS


def test_a_plan_warns_of_the_first_ones(cli, faulty, tmp_path) -> None:
    model = tiny_model.build(tmp_path / "tiny")
    out, err = cli("plan", "--model", model, "--data", faulty, "--out", tmp_path / "M.json",
                          "--json")
    assert err.count("visitor") == 20 and "… and 2,980 more." in err
    assert json.loads(out.splitlines()[-1])["problems_in_all"] == FAULTS


def test_one_is_one(cli, tmp_path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text('{"instruction": "a", "output": "b"}\n{"instruction": "a"}\n')
    out, err = cli("data", "check", file, status=2)
    assert "1 row, instruction" in out and "1 problem\n" in out and "1 row can't be used" in err


def test_an_error_says_its_first_twenty_problems() -> None:
    error = UserError("It can't be read.", problems=[Problem(f"fault {number}", number) for number in range(300_000)])
    assert len(str(error)) < 2000 and str(error).endswith("… and 299,980 more.") and len(error.problems) == 300_000


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_whoever_reads_the_output_may_have_seen_enough(studio_home, faulty) -> None:
    done = subprocess.run(["/bin/sh", "-c", f"'{sys.executable}' -m slmstudio data check '{faulty}' | true"],
                          capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr and "SLM Studio itself" not in done.stderr, done.stderr
