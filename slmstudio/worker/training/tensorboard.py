"""A run's curves as TensorBoard event files, for those who compare runs there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

FLUSH_SECONDS = 5.0
"""What a killed worker may lose of these files; events.jsonl has it all."""


class TensorBoardLog:
    """Writes numbers over steps. The package is imported, and the file made, with the first number.

    Each life of a run adds a file. In this process, not by tensorboardX's writer with its thread: when the disk is full
    that thread dies, and the next numbers would wait for it forever.

    Args:
        folder: TensorBoard's log folder of this run.
        after_step: the step that a resumed run continues from: TensorBoard hides what an earlier life wrote after it.
    """

    def __init__(self, folder: Path, after_step: int | None = None):
        self.folder = Path(folder)
        self._after_step = after_step
        self._records: Any = None
        self._flushed = 0.0

    def add(self, step: int, values: dict[str, Any]) -> None:
        """Add the numbers among `values`, by name. Texts and None are passed over; NaN and infinity are kept.

        Raises:
            OSError: the disk is full or gone.
        """
        numbers = {name: float(value) for name, value in values.items()
                   if isinstance(value, (int, float)) and not isinstance(value, bool)}
        if not numbers:
            return
        from tensorboardX.proto.summary_pb2 import Summary

        self._open()
        self._write(step=step, summary=Summary(
            value=[Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._records.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what is waiting, and close the file. May be called twice.

        Raises:
            OSError: the disk is full or gone; the file is closed anyway.
        """
        records, self._records = self._records, None
        if records is not None:
            records.close()

    def _open(self) -> None:
        if self._records is not None:
            return
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        self._records = RecordWriter(str(self.folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"))
        self._write(file_version="brain.Event:2")
        if self._after_step is not None:
            self._write(step=self._after_step + 1, session_log=SessionLog(status=SessionLog.START))
            self._after_step = None

    def _write(self, **event: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), **event).SerializeToString())
