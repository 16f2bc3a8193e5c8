"""Rows are appended whole or not at all: a full disk, a kill, several writers, a change meanwhile."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.appended_rows import NEW, ROWS, said, write

from slmstudio.core.data.reader import read_dataset
from slmstudio.core.data.versions.appending import NewRow, append, undo
from slmstudio.core.errors import UserError


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_file_as_it_was(small_disk: Path) -> None:
    path = write(small_disk / "rows.jsonl", [{"instruction": "x" * 150_000, "output": "y"}])
    before = path.read_bytes()
    with pytest.raises(UserError, match="add the row to rows") as caught:
        append(path, NEW)
    assert "disk is full" in caught.value.why
    assert path.read_bytes() == before and [each.name for each in small_disk.iterdir()] == ["rows.jsonl"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ROWS["messages"]])
    path.chmod(0o640)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    append(link, NEW)
    assert link.is_symlink() and len(read_dataset(path).records) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_kill_at_any_moment_leaves_whole_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ROWS["messages"]])
    code = ("import sys; from pathlib import Path\n"
            "from slmstudio.core.data.versions.appending import append\n"
            "from slmstudio.core.data.versions.appending import NewRow\n"
            "for n in range(10_000):\n"
            "    append(Path(sys.argv[1]), NewRow(({'role': 'user', 'content': f'{n}' * 3000},\n"
            "                                      {'role': 'assistant', 'content': 'b'})))\n"
            "    print(n, flush=True)\n")
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE,
                             env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])})
    assert child.stdout is not None
    for _ in range(12):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    told = 12 + len(child.stdout.read().splitlines())
    child.wait()
    found = read_dataset(path)
    assert found.problems == [] and told + 1 <= len(found.records) <= told + 2


def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ROWS["messages"]])
    errors: list[Exception] = []

    def add(number: int) -> None:
        try:
            append(path, NewRow(said(f"question {number}", "answer")))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert {row.prompt[-1] for row in read_dataset(path).records} == {"Hi"} | {f"question {n}" for n in range(8)}


def test_a_file_that_changes_meanwhile_keeps_what_came(tmp_path: Path) -> None:
    """Another program appends between our reading and our writing: we begin again."""
    path = write(tmp_path / "rows.jsonl", [ROWS["messages"]])
    late = {"instruction": "Late", "output": "Row"}
    calls = 0

    def meanwhile() -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:  # the second look at the file has begun
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(late) + "\n")
        return False

    try:
        append(path, NEW, cancelled=meanwhile)
    except UserError as error:
        assert "changed while it was read" in error.what
        append(path, NEW)
    assert [row.prompt[-1] for row in read_dataset(path).records] == ["Hi", "Late", "राशन कार्ड?"]


def test_undo_only_while_the_row_is_the_last_one(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ROWS["messages"]])
    added = append(path, NEW)
    later = append(path, NewRow(said("later", "row")))
    with pytest.raises(UserError, match="can't be undone") as caught:
        undo(added)
    assert caught.value.remedy and len(read_dataset(path).records) == 3
    undo(later)
    undo(added)
    assert len(read_dataset(path).records) == 1
    with pytest.raises(UserError, match="can't be undone"):
        undo(added)
    path.unlink()
    with pytest.raises(UserError, match="remove the row"):
        undo(added)


def test_cancelled(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [ROWS["messages"]])
    with pytest.raises(UserError, match="cancelled"):
        append(path, NEW, cancelled=lambda: True)
    assert len(read_dataset(path).records) == 1
