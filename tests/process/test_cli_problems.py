"""A file with a fault in every row: the terminal says the first of them, and a file can have them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import tiny_model

from slmstudio.cli import commands, output
from slmstudio.core.errors import Problem, UserError

ROWS = 3000


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Path:
    """Each row's fault is another one, so that they can't be said together; the last row is fine."""
    file = tmp_path_factory.mktemp("rows") / "faulty.jsonl"
    with open(file, "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"messages": [{"role": f"visitor {number}", "content": "Hello"}]}) + "\n"
                       for number in range(ROWS))
        out.write(json.dumps({"messages": [{"role": "user", "content": "Hello"},
                                           {"role": "assistant", "content": "Good morning"}]}) + "\n")
    return file


def test_the_terminal_says_the_first_ones_and_how_to_see_the_others(studio_home, faulty, capsys) -> None:
    assert commands.main(["data", "check", str(faulty)]) == 2
    out, err = capsys.readouterr()
    assert out.count("visitor") == 20 and "… and 2,980 more." in out and "--problems FILE.jsonl" in out
    assert "3,000 problems\n" in out and "1 row, " in out and "3,000 rows can't be used" in err
    assert len(out) + len(err) < 10_000


def test_json_has_the_first_thousand_and_their_number(studio_home, faulty, capsys) -> None:
    assert commands.main(["data", "check", str(faulty), "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert len(said["problems"]) == output.MOST_IN_JSON and said["problems_in_all"] == ROWS
    assert said["problems"][0]["message"] and said["problems"][0]["line"] == 1


def test_all_of_them_are_written_to_a_file(studio_home, faulty, tmp_path, capsys) -> None:
    listed = tmp_path / "problems.jsonl"
    assert commands.main(["data", "check", str(faulty), "--problems", str(listed)]) == 2
    found = [json.loads(line) for line in listed.read_text("utf-8").splitlines()]
    assert [each["line"] for each in found] == [*range(1, ROWS + 1)]
    assert {each["file"] for each in found} == {str(faulty)}
    assert commands.main(["data", "check", str(faulty), "--problems", str(tmp_path)]) == 2
    assert "It is a folder" in capsys.readouterr().err


def test_a_file_with_no_usable_row_is_no_longer(studio_home, faulty, tmp_path, capsys) -> None:
    unusable = tmp_path / "unusable.jsonl"
    unusable.write_text("".join(faulty.read_text("utf-8").splitlines(keepends=True)[:-1]), "utf-8")
    for words in (["data", "check", unusable],
                  ["data", "convert", unusable, "--out", tmp_path / "out.jsonl", "--json"]):
        assert commands.main([*map(str, words)]) == 2
        out, err = capsys.readouterr()
        assert err.count("visitor") <= 21 and "… and 2,979 more." in err
    said = json.loads(out)["error"]
    assert len(said["problems"]) == output.MOST_IN_JSON and said["problems_in_all"] == ROWS


def test_a_plan_warns_of_the_first_ones(studio_home, faulty, tmp_path, capsys) -> None:
    model = tiny_model.build(tmp_path / "tiny")
    assert commands.main(["plan", "--model", str(model), "--data", str(faulty), "--out", str(tmp_path / "M.json"),
                          "--json"]) == 0
    out, err = capsys.readouterr()
    assert err.count("visitor") == 20 and "… and 2,980 more." in err
    assert json.loads(out.splitlines()[-1])["problems_in_all"] == ROWS


def test_one_is_one(studio_home, tmp_path, capsys) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text('{"instruction": "a", "output": "b"}\n{"instruction": "a"}\n')
    assert commands.main(["data", "check", str(file)]) == 2
    out, err = capsys.readouterr()
    assert "1 row, instruction" in out and "1 problem\n" in out and "1 row can't be used" in err


def test_an_error_says_its_first_twenty_problems() -> None:
    error = UserError("It can't be read.", problems=[Problem(f"fault {number}", number) for number in range(300_000)])
    assert len(str(error)) < 2000 and str(error).endswith("… and 299,980 more.") and len(error.problems) == 300_000


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_whoever_reads_the_output_may_have_seen_enough(studio_home, faulty) -> None:
    done = subprocess.run(["/bin/sh", "-c", f"'{sys.executable}' -m slmstudio data check '{faulty}' | true"],
                          capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr and "SLM Studio itself" not in done.stderr, done.stderr
