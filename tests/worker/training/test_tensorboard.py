"""Event files as TensorBoard reads them: records with checksums, each an event."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog

from slmstudio.worker.training.saving import TensorBoardLog

ROOT = Path(__file__).resolve().parents[3]


def masked(data: bytes) -> int:
    value = crc32c(data)
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read(folder: Path) -> list[Event]:
    """The events of all files of a folder, the older file first."""
    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            assert struct.unpack("<I", data[8:12])[0] == masked(data[:8])
            record, data = data[12 : 12 + length], data[12 + length :]
            assert struct.unpack("<I", data[:4])[0] == masked(record)
            data = data[4:]
            found.append(Event.FromString(record))
    return found


def numbers(events: list[Event]) -> list[tuple[int, str, float]]:
    return [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]


def test_the_numbers_come_back(tmp_path):
    log = TensorBoardLog(tmp_path / "board")
    assert not (tmp_path / "board").exists()
    log.add(1, {"train_loss": 2.5, "learning_rate": 1e-4, "phase": "training", "eval_loss": None, "best": True})
    log.add(2, {"train_loss": float("nan"), "tokens": 2048})
    log.add(3, {})
    log.close()
    log.close()
    events = read(tmp_path / "board")
    assert events[0].file_version == "brain.Event:2"
    found = numbers(events)
    assert [(step, tag) for step, tag, _ in found] == [
        (1, "train_loss"), (1, "learning_rate"), (2, "train_loss"), (2, "tokens")]
    assert [value for _, _, value in found[:2]] == pytest.approx([2.5, 1e-4])
    assert math.isnan(found[2][2]) and found[3][2] == 2048
    assert all(event.wall_time > 1.7e9 for event in events)


def test_a_resumed_run_hides_what_came_after_its_checkpoint(tmp_path):
    for after_step, steps in ((None, (1, 2, 3)), (2, (3, 4))):
        log = TensorBoardLog(tmp_path, after_step)
        for step in steps:
            log.add(step, {"train_loss": float(step)})
        log.close()
    assert len(list(tmp_path.iterdir())) == 2
    events = read(tmp_path)
    begun = [event.step for event in events if event.session_log.status == SessionLog.START]
    assert begun == [3]
    assert [step for step, _, _ in numbers(events)] == [1, 2, 3, 3, 4]


def test_a_disk_that_fails_is_told_to_the_caller(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OSError):
        TensorBoardLog(tmp_path / "file").add(1, {"train_loss": 1.0})


@pytest.mark.full
def test_the_package_is_loaded_only_when_a_number_comes():
    code = ("import sys; from slmstudio.worker.training.saving import TensorBoardLog; from pathlib import Path; "
            "TensorBoardLog(Path('x')).close(); sys.exit('tensorboardX' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
