"""What there is to know of a dataset's rows: how many tokens they have, and what is wrong with them.

The window has this done in a process of its own: in the window's process each cell that is painted would wait until the
check lets go of the interpreter. That process reads the file again, so that no row has to be sent. It gets its request
over stdin, a JSON object on a line, and ends when stdin is closed. Over stdout it says in JSON lines how far it is and
what it found.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from slmstudio.core import files, i18n
from slmstudio.core.data.health.finding import Context, Finding
from slmstudio.core.data.health.survey import check
from slmstudio.core.data.reader import Dataset, read_as
from slmstudio.core.data.record import Record
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import processes
from slmstudio.core.run import token_counts
from slmstudio.core.run.token_counts import TokenCounts

POLL_SECONDS = 0.05
PIECE = 5000
"""Items of a list in one message: reading a long one would hold the interpreter too."""
Progress = Callable[[int, int], None]
Cancelled = Callable[[], bool]
Rows = Sequence[Record]


@dataclass(frozen=True)
class RowsReport:
    """
    Attributes:
        counts: None if no tokens were counted; `trouble`: why they couldn't be.
        special: special tokens of the model that counted.
    """

    findings: tuple[Finding, ...]
    counts: TokenCounts | None = None
    special: tuple[str, ...] = ()
    trouble: UserError | None = None


def context_of(counts: TokenCounts | None, special: Sequence[str], rows: int, max_length: int,
               evaluation: Rows | None) -> Context:
    """What is known beside the rows when they are checked or fixed; lengths only where every row was measured."""
    lengths = counts.lengths if counts is not None and len(counts.lengths) == rows else None
    return Context(tuple(special), lengths, max_length, {} if evaluation is None else {"evaluation": evaluation})


def make(records: Rows, evaluation: Rows | None, model: Path | None, max_length: int, known: RowsReport | None,
         progress: Progress, cancelled: Cancelled) -> RowsReport:
    """Count the tokens and check the rows, here.

    Args:
        evaluation: rows that shouldn't be among them.
        model: folder of the model whose tokens count; None counts none.
        known: an earlier report on the same rows with the same model, of which the tokens are taken.
        progress: called with (steps done, steps in all).

    Raises:
        ReadingCancelled: `cancelled` said so.
    """
    counts, special, trouble = (known.counts, known.special, None) if known is not None else (None, (), None)
    first = len(records) if model is not None else 0
    steps = first + 2 * len(records)
    if model is not None and counts is None:
        try:
            special = token_counts.special_tokens(model)
            counts = token_counts.count_tokens(
                records, model, lambda done, total: progress(done * first // total, steps), cancelled)
        except UserError as error:
            trouble = error
    found = check(records, context_of(counts, special, len(records), max_length, evaluation),
                  lambda done, total: progress(first + done * (steps - first) // max(1, total), steps), cancelled)
    return RowsReport(tuple(found), counts, special, trouble)


# -- the side of who asks ------------------------------------------------------------------------------------


def ask(dataset: Dataset, evaluation: Dataset | None, model: Path | None, max_length: int, known: RowsReport | None,
        progress: Progress, cancelled: Cancelled) -> RowsReport | None:
    """As `make`, of rows as their files have them, in a process of its own.

    Returns:
        None if a file is another one by now.

    Raises:
        UserError: the process ended before it was done.
        ReadingCancelled: `cancelled` said so; the process is gone.
    """
    request = {"train": _file(dataset), "evaluation": evaluation and _file(evaluation),
               "model": model and str(model), "max_length": max_length, "known": known and _state(known)}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env=processes.worker_environment(), **processes.detached())
    assert process.stdin is not None and process.stdout is not None
    found: dict[str, Any] = {}
    try:
        process.stdin.write(files.dump_line(request))
        process.stdin.flush()
        for message in _messages(process.stdout, cancelled):
            if "done" in message:
                progress(message["done"], message["total"])
            else:
                _take(found, message)
    except OSError:
        pass  # it is gone, which is said below
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(OSError):
            process.stdin.close()
    if "ended" not in found:
        raise UserError(tr("The check of the rows ended unexpectedly."),
                        tr("It was killed, perhaps because memory ran out."),
                        tr("Close other programs and check again."))
    return _report(found) if found["ended"] == "done" else None


def _file(dataset: Dataset) -> dict[str, Any]:
    return {"path": str(dataset.path), "said": dataset.line, "sha256": dataset.sha256}


def _messages(stdout: IO[bytes], cancelled: Cancelled) -> Iterator[dict[str, Any]]:
    """What the process says, until it ends. Raises ReadingCancelled."""
    lines: queue.Queue[bytes] = queue.Queue()

    def pump() -> None:
        with stdout:
            for line in stdout:
                lines.put(line)
        lines.put(b"")

    threading.Thread(target=pump, daemon=True).start()
    while True:
        if cancelled():
            raise ReadingCancelled(tr("The check was cancelled."))
        try:
            line = lines.get(timeout=POLL_SECONDS)
        except queue.Empty:
            continue
        if not line:
            return
        yield json.loads(line)


def _report(found: Mapping[str, Any]) -> RowsReport:
    findings = map(Finding.from_dict, found["findings"].values())
    counts, trouble = found["counts"], found["trouble"]
    return RowsReport(
        tuple(findings), counts and TokenCounts(**{**counts, "lengths": tuple(counts["lengths"])}),
        tuple(found["special"]), trouble and UserError.from_dict(trouble))


def _state(report: RowsReport) -> dict[str, Any]:
    return {"findings": {each.kind: each.to_dict() for each in report.findings},
            "counts": report.counts and asdict(report.counts), "special": list(report.special),
            "trouble": report.trouble and report.trouble.to_dict()}


def _take(found: dict[str, Any], message: Mapping[str, Any]) -> None:
    """Put what a message says where it belongs."""
    *path, name = message["at"]
    for each in path:
        found = found.setdefault(each, {})
    if "more" in message:
        found[name] += message["more"]
    else:
        found[name] = message["is"]


def _pieces(at: list[str], value: Any) -> Iterator[dict[str, Any]]:
    """A value as messages, which `_take` puts together again."""
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _pieces([*at, name], each)
    elif isinstance(value, (list, tuple)) and len(value) > PIECE:
        yield {"at": at, "is": value[:PIECE]}
        for begin in range(PIECE, len(value), PIECE):
            yield {"at": at, "more": value[begin:begin + PIECE]}
    else:
        yield {"at": at, "is": value}


# -- the process ---------------------------------------------------------------------------------------------


def main() -> None:
    processes.lower_priority()
    i18n.use()  # the parent's language
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a stray print must not spoil the messages

    def say(message: dict[str, Any]) -> None:
        out.write(files.dump_line(message))
        out.flush()

    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    for piece in _pieces([], _made(request, lambda done, total: say({"done": done, "total": total}))):
        say(piece)
    out.close()


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _made(request: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """The report as JSON can hold it. Reading the rows again is a quarter of the way."""
    train = _read(request["train"], lambda done, total: progress(done, 4 * total))
    evaluation = request["evaluation"] and _read(request["evaluation"])
    if train is None or (request["evaluation"] and evaluation is None):
        return {"ended": "changed"}
    known, model = request["known"], request["model"]
    made = make(train.records, evaluation.records if evaluation else None, model and Path(model),
                request["max_length"], known and _report(known),
                lambda done, total: progress(total + 3 * done, 4 * total), lambda: False)
    return {**_state(made), "ended": "done"}


def _read(file: Mapping[str, Any], progress: Progress | None = None) -> Dataset | None:
    """The rows of a file; None if it is another one by now."""
    try:
        found = read_as(Path(file["path"]), file["said"], progress)
    except UserError:
        return None
    return found if found.sha256 == file["sha256"] else None


if __name__ == "__main__":
    main()
