"""A run keeps its rows: complete or absent, proven as they are read, and the same whatever becomes of the file."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.kept import keep

from slmstudio.core import disk_space, files, formats, jobs, paths
from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.record import Record, as_row
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import UserError
from slmstudio.core.run import checkpoints, curves, folder, run_script
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning.follow_up import follow_up
from slmstudio.core.run.rows import disk_rows as rows_lines
from slmstudio.core.run.rows import run_rows, saving_rows
from slmstudio.core.run.rows.run_rows import EVALUATION, TRAIN, Manifest

ROWS = [{"question": f"How much is {n} and {n}? क्या?", "answer": f"It is {2 * n}.", "subject": "sums", "weight": 1e2,
         "half": "\ud83d"} for n in range(20)]
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Pune", "days": 2.0}}}
TOOLS = ({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}},)


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def run(tmp_path):
    """`run(**fields)`: a run folder that keeps nothing yet, and its configuration."""

    def make(rows: list[dict] = ROWS, **fields) -> tuple[Path, RunConfig]:
        file = write_rows(tmp_path / "rows.jsonl", rows)
        config = RunConfig(**{"name": "helpdesk", "model": str(tmp_path), "train_file": str(file),
                              "eval_fraction": 0.25, "split_seed": 3, **fields})
        return folder.create(config, tmp_path / "runs").folder, config

    return make


def test_what_is_kept_is_read_again_when_the_file_is_gone(run):
    place, config = run()
    wanted = curves.divided(read_dataset(config.train_file).records, config)
    kept = keep(place, config)
    Path(config.train_file).unlink()
    again = run_rows.read(place)
    assert again == kept and (again.train, again.evaluation) == wanted
    assert (again.layout, again.source.name, again.source.problems) == ("instruction", "rows.jsonl", 0)
    assert again.source.sha256 == files.read_json(place / "run.json")["hashes"]["train_file"]
    assert again.manifest.is_of(config)
    assert list(run_rows.evaluation_rows(place)) == [ROWS[row.line - 1] for row in kept.evaluation]
    assert not list(place.glob(".*"))


def test_a_run_reads_its_rows_as_was_said_and_so_does_who_evaluates_it(run):
    """Options hold for the worker, and rows that need them are kept as they were read."""
    marked = [{"question": f"Who {at}?", "answer": "reject" if at % 2 else "accept", "output": f"She {at}.",
               "_task_hash": at} for at in range(20)]
    place, config = run(marked, train_map="instruction=question,output=output,marks=ignore")
    assert len(saving_rows.read(replace(config, train_map="instruction=question,output=output")).files[
        "train_file"].records) == 10
    kept = keep(place, config)
    assert len(kept.train) + len(kept.evaluation) == 20
    held_out = write_rows(place / "held-out.jsonl", list(run_rows.evaluation_rows(place)))
    assert [row.messages for row in read_dataset(held_out).records] == [row.messages for row in kept.evaluation]
    place, config = run(marked, train_map="marks=ignore")
    write_rows(held_out, list(run_rows.evaluation_rows(keep(place, config) and place)))
    assert len(read_dataset(held_out).records) == 5


def test_the_same_rows_are_the_same_bytes(run):
    written = []
    for _ in range(2):
        place, config = run()
        keep(place, config)
        written.append([path.read_bytes() for path in sorted((place / run_rows.FOLDER).glob("*.gz"))])
    assert written[0] == written[1] and len(written[0]) == 2


@pytest.mark.parametrize("record", [
    Record(({"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "22 °C"}, {"role": "assistant", "content": "22 °C."}), 7, tools=TOOLS),
    Record(({"role": "user", "content": "नमस्ते?"}, {"role": "assistant", "content": "Hello."}), 1, rejected="No."),
    Record(({"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}), 2, desirable=False, file="b.csv"),
    Record((), 3, text="Once upon\na time."),
    Record(({"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}), 2, group="7"),
], ids=["tools", "pair", "label", "text", "group"])
def test_every_field_of_a_record_comes_back(run, record):
    place, config = run()
    rows = saving_rows.read(config)
    saving_rows.write(place, config, saving_rows.SourceRows([record], [], rows.files))
    assert run_rows.read(place).train == [record]


@pytest.mark.parametrize("row", [
    {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"},
                  {"role": "assistant", "content": "A"}]},
    {"prompt": "Q", "chosen": "A", "rejected": "B"}, {"prompt": "Q", "completion": "A", "label": True},
    {"text": "A b."},
])
def test_a_record_is_a_row_of_a_file_again(tmp_path, row):
    [record] = read_dataset(write_rows(tmp_path / "a.jsonl", [row])).records
    assert read_dataset(write_rows(tmp_path / "b.jsonl", [as_row(record)])).records == [record]


def test_evaluation_rows_of_a_file_of_their_own(run, tmp_path):
    other = write_rows(tmp_path / "eval.jsonl", [{"question": "Q?", "answer": "A.", "language": "hi"}, {"oops": 1}])
    place, config = run(eval_file=str(other))
    kept = keep(place, config)
    assert (len(kept.train), len(kept.evaluation)) == (20, 1) and kept.manifest.split == {}
    source = run_rows.read_manifest(place).sources["eval_file"]
    assert source.problems == 1 and source.named[0].line == 2
    assert next(run_rows.evaluation_rows(place))["language"] == "hi"


def test_rows_that_were_one_row_are_split_together_and_evaluated_alone(run):
    rows = [{"eng_Latn": [[f"What is {n}?", f"It is {n}."]], "hin_Deva": [[f"{n} क्या है?", f"{n}।"]]} for n in range(20)]
    place, config = run(rows)
    kept = keep(place, config)
    assert not {row.line for row in kept.train} & {row.line for row in kept.evaluation} and len(kept.evaluation) == 10
    test = write_rows(place / "test.jsonl", list(run_rows.evaluation_rows(place)))
    assert [row.messages for row in read_dataset(test).records] == [row.messages for row in kept.evaluation]


def test_only_the_beginning_is_read_where_that_is_enough(run):
    place, config = run()
    kept = keep(place, config)
    assert run_rows.head(place, TRAIN, 200) == kept.train[:2]
    assert run_rows.head(place, EVALUATION, 10**6) == kept.evaluation


# -- complete or absent ------------------------------------------------------------------------------------


KILLED = """
import os, signal, sys
from pathlib import Path
from slmstudio.core import jobs
from slmstudio.core.run.rows import saving_rows
from slmstudio.core.run.config import RunConfig
run, honest = Path(sys.argv[1]), saving_rows.raw_lines
def lines(*arguments):
    for number, line in enumerate(honest(*arguments)):
        if number == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        yield line
saving_rows.raw_lines = lines
with saving_rows.spooling(run) as store:
    config = RunConfig.from_dict(jobs.Job(run).request())
    saving_rows.write(run, config, saving_rows.read(config, store=store))
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX systems")
def test_a_kill_while_they_are_written_leaves_none_and_they_are_written_again(run):
    place, config = run()
    done = subprocess.run([sys.executable, "-c", KILLED, str(place)], env={**os.environ, "PYTHONPATH": os.getcwd()},
                          timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (place / ".data.partial").is_dir() and run_rows.read(place) is None
    kept = keep(place, config)
    assert run_rows.read(place) == kept and not list(place.glob(".*"))


def test_a_full_disk_is_told_and_leaves_nothing(run, monkeypatch):
    place, config = run()

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_atomically", full)
    with pytest.raises(UserError, match=f"Could not save the rows in {place.name}") as caught:
        keep(place, config)
    assert caught.value.why == "The disk is full." and run_rows.read(place) is None and not list(place.glob(".*"))
    monkeypatch.setattr(disk_space, "free", lambda where: disk_space.LEAST + 300)
    with pytest.raises(UserError, match="enough disk space"):
        keep(place, config)


def test_cancel_is_heard(run):
    place, config = run()
    rows = saving_rows.read(config)
    with pytest.raises(ReadingCancelled):
        saving_rows.write(place, config, rows, lambda: True)
    assert run_rows.read(place) is None and not list(place.glob(".*"))


def test_rows_lie_on_the_disk_and_are_read_as_they_are_asked_for(run):
    place, config = run()
    rows = keep(place, config).train
    everything = list(rows)
    assert len(rows) == len(everything) == 15 and rows == everything and rows != everything[:-1]
    assert (rows[0], rows[-1], rows[2:4], rows[::-1]) == (everything[0], everything[-1], everything[2:4],
                                                         everything[::-1])
    with pytest.raises(IndexError):
        rows[15]
    cut_off(place / run_rows.FOLDER)
    with pytest.raises(run_rows.DamagedRows):
        list(rows)


# -- damage ------------------------------------------------------------------------------------------------


def held(kept: run_rows.SavedRows) -> tuple[list[Record], list[Record], Manifest]:
    """All of it, in memory."""
    return list(kept.train), list(kept.evaluation), kept.manifest


def cut_off(data: Path) -> None:
    file = data / "train.jsonl.gz"
    file.write_bytes(file.read_bytes()[:-20])


def other_rows(data: Path) -> None:
    lines = gzip.decompress((data / "train.jsonl.gz").read_bytes()).splitlines(keepends=True)
    (data / "train.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[:-1])))


def turned_byte(data: Path) -> None:
    content = bytearray((data / "eval.jsonl.gz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (data / "eval.jsonl.gz").write_bytes(content)


HARM = {
    "train.jsonl.gz is cut off or was changed": cut_off,
    "train.jsonl.gz was changed after it was written": other_rows,
    "eval.jsonl.gz": turned_byte,
    "eval.jsonl.gz is missing": lambda data: (data / "eval.jsonl.gz").unlink(),
    "manifest.json is missing or isn't a JSON object": lambda data: (data / "manifest.json").write_text("{"),
    "manifest.json is incomplete": lambda data: (data / "manifest.json").write_text('{"sides": []}'),
}


@pytest.mark.parametrize("said", HARM)
def test_damaged_rows_are_named_and_read_again_from_a_file_that_is_the_same(run, said):
    place, config = run()
    wanted = held(keep(place, config))
    HARM[said](place / run_rows.FOLDER)
    with pytest.raises(run_rows.DamagedRows) as caught:
        run_rows.read(place)
    assert caught.value.what.startswith(f"The rows that {place.name} keeps are damaged. {said}")
    assert "Restore the run's folder data" in caught.value.remedy
    assert held(saving_rows.of_run(place, config)) == wanted
    assert held(saving_rows.repair(place, config, caught.value)) == held(run_rows.read(place)) == wanted
    assert not list(place.glob(".*"))


def test_damaged_rows_of_a_run_of_before_are_read_again_too(run):
    """Its lines have a space after each comma and colon."""
    place, config = run()
    wanted, data = held(keep(place, config))[:2], place / run_rows.FOLDER
    manifest = files.read_json(data / run_rows.MANIFEST)
    for side in (TRAIN, EVALUATION):
        packed = data / f"{side}.jsonl.gz"
        lines = [json.loads(line) for line in gzip.decompress(packed.read_bytes()).splitlines()]
        before = b"".join(rows_lines.as_json(line) for line in lines)
        packed.write_bytes(gzip.compress(before))
        manifest["sides"][side]["sha256"] = hashlib.sha256(before).hexdigest()
    (data / run_rows.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    assert held(run_rows.read(place))[:2] == wanted
    cut_off(data)
    assert held(saving_rows.of_run(place, config))[:2] == wanted
    with pytest.raises(run_rows.DamagedRows) as caught:
        run_rows.read(place)
    assert held(saving_rows.repair(place, config, caught.value)) == held(run_rows.read(place))
    assert held(run_rows.read(place))[:2] == wanted


@pytest.mark.parametrize("harm", ["changed", "gone", "split"])
def test_damaged_rows_are_lost_where_the_file_is_another(run, harm, tmp_path):
    place, config = run()
    keep(place, config)
    cut_off(place / run_rows.FOLDER)
    if harm == "changed":
        write_rows(tmp_path / "rows.jsonl", ROWS[:9])
    elif harm == "gone":
        (tmp_path / "rows.jsonl").unlink()
    else:
        config = RunConfig(**{**vars(config), "split_seed": 4})
    words = {"changed": "rows.jsonl has changed since", "gone": " exist", "split": "split into different rows"}
    with pytest.raises(run_rows.DamagedRows, match=r"train\.jsonl\.gz is cut off") as caught:
        saving_rows.of_run(place, config)
    assert words[harm] in caught.value.why and "start a new run" in caught.value.remedy


def test_rows_that_were_kept_before_a_split_could_be_by_language_are_still_those_of_the_run(run):
    place, config = run()
    keep(place, config)
    manifest = place / run_rows.FOLDER / run_rows.MANIFEST
    state = files.read_json(manifest)
    del state["split"]["split_by"]
    files.write_atomically(manifest, files.dump_pretty(state))
    kept = run_rows.read(place)
    assert kept.manifest.is_of(config)
    assert not kept.manifest.is_of(RunConfig(**{**vars(config), "split_by": "language"}))


def test_rows_of_a_newer_program_are_refused(run):
    place, config = run()
    keep(place, config)
    manifest = place / run_rows.FOLDER / run_rows.MANIFEST
    files.write_atomically(manifest, files.dump_pretty({**files.read_json(manifest), "format": 99}))
    with pytest.raises(formats.NewerFormat, match=place.name):
        saving_rows.of_run(place, config)


# -- who reads them ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["edited", "deleted"])
def test_the_script_carries_the_kept_rows(run, tmp_path, tiny_model, harm):
    place, config = run(rows=[{"instruction": f"Q {n}?", "output": "A."} for n in range(9)], model=str(tiny_model))
    wanted = run_script.write_script(place, tmp_path / "before.py")
    keep(place, config)
    if harm == "edited":
        write_rows(Path(config.train_file), [{"instruction": "Other?", "output": "Rows."}] * 9)
    else:
        Path(config.train_file).unlink()
    found = run_script.write_script(place, tmp_path / "after.py")
    assert found.train_file.read_bytes() == wanted.train_file.read_bytes()
    assert found.eval_file.read_bytes() == wanted.eval_file.read_bytes() != b""


def test_going_on_with_a_file_that_is_gone_takes_the_kept_rows(run, tmp_path, studio_home):
    other = write_rows(tmp_path / "eval.jsonl", ROWS[:3])
    for fields, lost in (({}, ["train_file"]), ({"eval_file": str(other)}, ["train_file", "eval_file"])):
        place, config = run(**fields)
        kept = keep(place, config)
        (place / folder.ADAPTER).mkdir()
        checkpoints.seal(place / folder.ADAPTER, 1)
        jobs.write_outcome(place, jobs.Outcome("finished"))
        assert follow_up(place).train_file == config.train_file
        for name in lost:
            Path(getattr(config, name)).unlink()
        after = follow_up(place)
        assert Path(after.train_file).parent == paths.datasets_dir() and "kept" in after.reasons["train_file"]
        rows = saving_rows.read(after)
        assert [row.messages for row in rows.train] == [row.messages for row in kept.train]
        assert [row.messages for row in rows.evaluation] == [row.messages for row in kept.evaluation]
        assert follow_up(place) == after
