"""The report on a dataset's rows that a process of its own makes: the same as one made here, and it can be ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support import crafted_models

from slmstudio.core.data.reader import read_as
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import UserError
from slmstudio.core.jobs import processes
from slmstudio.core.run import rows_report

SAME = rows_report.PIECE + 10


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def never() -> bool:
    return False


def children() -> list[int]:
    return [each.pid for each in psutil.Process().children()]


@pytest.fixture
def dataset(tmp_path: Path):
    """More rows than a process tells at once, all the same but one, in columns that tell nothing by themselves."""
    rows = [{"Fld 1": "राजधानी?", "Fld-2": "मुंबई", "xx": "text"}] * SAME + [
        {"Fld 1": "Mail me?", "Fld-2": "Write to asha@example.org.", "xx": "text"}]
    return read_as(write(tmp_path / "rows.jsonl", rows), "instruction=Fld 1,output=Fld-2")


def test_it_finds_what_is_found_here(dataset, tmp_path: Path, tiny_model: Path):
    test = read_as(write(tmp_path / "test.jsonl", [{"question": "राजधानी?", "answer": "पुणे"}]), None)
    told: list[tuple[int, int]] = []
    here = rows_report.make(dataset.records, test.records, tiny_model, 8, None, lambda *_: None, never)
    before = set(children())  # with the process that runs the tokenizer that `make` asked
    made = rows_report.ask(dataset, test, tiny_model, 8, None, lambda *each: told.append(each), never)
    assert [each.to_dict() for each in made.findings] == [each.to_dict() for each in here.findings]
    assert (made.counts, made.special, made.trouble) == (here.counts, here.special, None)
    kinds = {each.kind: each.count for each in made.findings}
    assert kinds["duplicate_rows"] == SAME - 1 > rows_report.PIECE
    assert kinds["overlap"] == SAME and kinds["no_answer"] > 0
    assert told and told[-1][0] == told[-1][1] and all(0 <= done <= total for done, total in told)
    assert set(children()) <= before
    again = rows_report.ask(dataset, test, tiny_model, 10**6, made, lambda *_: None, never)
    assert again.counts == made.counts and "no_answer" not in {each.kind for each in again.findings}


def test_why_no_tokens_were_counted_is_said(dataset, tmp_path: Path):
    made = rows_report.ask(dataset, None, tmp_path, 8, None, lambda *_: None, never)
    assert made.counts is None and isinstance(made.trouble, UserError)
    assert str(made.trouble) == str(rows_report.make(dataset.records[:1], None, tmp_path, 8, None, lambda *_: None,
                                                     never).trouble)


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_file_that_is_another_one_by_now_has_no_report(dataset, harm: str):
    if harm == "changed":
        write(dataset.path, [{"Fld 1": "Who?", "Fld-2": "She.", "xx": ""}])
    else:
        dataset.path.unlink()
    assert rows_report.ask(dataset, None, None, 8, None, lambda *_: None, never) is None


def test_cancel_ends_the_process(dataset):
    """It is cancelled once it is at work."""
    begun: list[int] = []
    before = set(children())
    with pytest.raises(ReadingCancelled):
        rows_report.ask(dataset, None, None, 8, None, lambda *_: begun.extend(set(children()) - before),
                        lambda: bool(begun))
    assert begun and not any(map(psutil.pid_exists, begun))


def test_a_process_that_is_killed_is_said_to_be(dataset):
    before = set(children())
    with pytest.raises(UserError) as caught:
        rows_report.ask(dataset, None, None, 8, None,
                        lambda *_: [psutil.Process(pid).kill() for pid in set(children()) - before] and None, never)
    assert "ended unexpectedly" in caught.value.what and caught.value.remedy


def test_it_ends_with_who_asked(dataset):
    process = subprocess.Popen([sys.executable, "-P", "-m", rows_report.__name__], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=processes.worker_environment())
    request = {"train": rows_report._file(dataset), "evaluation": None, "model": None, "max_length": 8, "known": None}
    said, _ = process.communicate(json.dumps(request).encode() + b"\n")  # which closes its stdin at once
    assert process.returncode == 0 and b'"ended"' not in said


@pytest.mark.full
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_a_tokenizer_that_asks_for_all_memory_costs_the_count_alone(tmp_path: Path):
    """A hundred letters become 12 GB."""
    crafted_models.tokenizer(tmp_path / "model", normalizer={"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 22}] * 6})
    rows = read_as(write(tmp_path / "rows.jsonl", [{"prompt": "a" * 100, "completion": "b"}] * 5), None)
    made = rows_report.ask(rows, None, tmp_path / "model", 8, None, lambda *_: None, never)
    assert made.counts is None and "asked for more memory than any model needs" in str(made.trouble)
    assert any(each.kind == "duplicate_rows" for each in made.findings)
