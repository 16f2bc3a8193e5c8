"""A log stays short, whatever is printed, and its end survives, also that of a crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from slmstudio.worker.runtime import interactive

CHATTER = """
import faulthandler, os, sys, time
from pathlib import Path
from slmstudio.worker.runtime import interactive
interactive.LOOK_SECONDS = 0.01
faulthandler.enable()
interactive.watch(interactive.opened(Path(sys.argv[1])))
print("the beginning", flush=True)
for number in range(int(sys.argv[2])):
    print(f"line {number} of many: " + "x" * 1000 if sys.argv[3] == "different" else "the same words again" * 20)
sys.stdout.flush()
while os.fstat(1).st_size > 2 * interactive.LIMIT:  # shortened by a thread, which a busy machine may keep waiting
    time.sleep(0.01)
print("the last words", flush=True)
os.abort()
"""


@pytest.mark.parametrize(("kind", "lines"), [("different", 60_000), ("same", 100_000)])
def test_a_worker_that_prints_without_end_fills_no_disk_and_its_crash_is_in_the_log(tmp_path, kind, lines) -> None:
    log = tmp_path / "worker.log"
    with open(log, "ab") as out:
        done = subprocess.run([sys.executable, "-c", CHATTER, log, str(lines), kind], stdout=out, stderr=out,
                              timeout=100)
    assert done.returncode != 0
    text = log.read_bytes()
    assert len(text) < 3 * interactive.LIMIT, "60 MB or 40 MB were printed"
    assert text.startswith(b"the beginning\n") and b"the last words\n" in text[-3000:]
    assert b"Fatal Python error: Aborted" in text[-3000:]
    assert (b"bytes are left out here" if kind == "different" else b"more times)") in text


def shorten(log: Path, left_out: int = 0) -> int:
    with open(log, "rb+", buffering=0) as file:
        return interactive.shorten(file, left_out)


def test_a_short_log_is_left_as_it_is(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(interactive, "LIMIT", 100)
    log = tmp_path / "worker.log"
    log.write_bytes(b"a\n" * 50)
    assert shorten(log) == 0 and log.read_bytes() == b"a\n" * 50
    log.write_bytes(b"a\n" * 51)
    assert shorten(log) == 0 and log.read_bytes() == b"a\n(the last line 50 more times)\n"


def test_the_middle_is_left_out_and_its_size_is_said(tmp_path, monkeypatch) -> None:
    for name, value in (("LIMIT", 400), ("HEAD", 20), ("TAIL", 40)):
        monkeypatch.setattr(interactive, name, value)
    log = tmp_path / "worker.log"
    whole = b"".join(b"line %d\n" % number for number in range(1000))
    log.write_bytes(whole)
    left_out = shorten(log)
    assert left_out == len(whole) - 60
    assert log.read_bytes() == whole[:20] + b"\n(%s bytes are left out here)\n" % f"{left_out:,}".encode() + whole[-40:]
    with open(log, "ab") as file:
        file.write(whole)
    more = shorten(log, left_out)
    assert more > left_out and log.read_bytes().startswith(whole[:20]) and log.read_bytes().endswith(whole[-40:])
    assert b"%s bytes" % f"{more:,}".encode() in log.read_bytes()


def test_only_the_process_whose_log_it_is_shortens_it(tmp_path) -> None:
    assert interactive.opened(tmp_path / "absent.log") is None
    assert interactive.opened(Path(__file__)) is None
