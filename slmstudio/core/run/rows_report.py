"""What there is to know of a dataset's rows: how many tokens they have, and what is wrong with them.

The window has this done in a process of its own: in the window's process each cell that is painted would wait until the
check lets go of the interpreter. That process reads the file again, so that no row has to be sent. It gets its request
over stdin, a JSON object on a line, and ends when stdin is closed. Over stdout it says in JSON lines how far it is and
what it found.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from slmstudio.core import files, i18n
from slmstudio.core.data.health.finding import Context, Finding
from slmstudio.core.data.health.survey import check
from slmstudio.core.data.languages import script_of
from slmstudio.core.data.reader import Dataset, read_as
from slmstudio.core.data.record import Record
from slmstudio.core.data.source import ReadingCancelled
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import processes
from slmstudio.core.model import named_templates, tokens
from slmstudio.core.run.rows.row_tokens import RowEncoder

POLL_SECONDS = 0.05
PIECE = 1000
"""Items of a list in one message: reading a long one would hold the interpreter too."""
Progress = Callable[[int, int], None]
Cancelled = Callable[[], bool]
Rows = Sequence[Record]


# -- How long the rows are in a model's tokens, and what a word of each script costs.

MOST_ROWS = 50_000
"""Rows that are measured; of more, every second, third … one is."""
WORDS_FROM = 2_000
"""Rows by which the tokens of a word are counted."""


@dataclass(frozen=True)
class TokenCounts:
    """
    Attributes:
        model: name of the model whose tokenizer counted.
        measured: rows that were.
        min, median, p95, p99, max: tokens of a row in the model's chat template, of all measured.
        per_word: by script, tokens of a word of the texts alone.
        lengths: of each measured row, in the rows' order; `starts`: of each, the tokens before the first one that is
            learned.
    """

    model: str
    measured: int
    min: int
    median: int
    p95: int
    p99: int
    max: int
    per_word: dict[str, float]
    lengths: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the length of each row."""
        return {name: value for name, value in asdict(self).items() if name not in ("lengths", "starts")}


def count_tokens(records: Rows, folder: Path, progress: Progress | None = None,
                 cancelled: Cancelled | None = None) -> TokenCounts:
    """Measure rows with the tokenizer and the chat template of a model folder.

    A folder without a template is measured with the one that would be proposed; plain text needs none.

    Raises:
        UserError: the tokenizer or the template can't be used, or the template refuses a row.
        ReadingCancelled: `cancelled` said so.
    """
    tokenizer = tokens.load_tokenizer(folder)
    named = named_templates.chosen_or_proposed(folder, "") if any(record.text is None for record in records) else ""
    encoders = {each: RowEncoder(tokenizer, named_templates.optional_template(folder, named), each)
                for each in ("sft", "dpo")}
    measured = records[::1 + len(records) // MOST_ROWS]
    found = []
    for done, record in enumerate(measured):
        if done % 64 == 0:
            if cancelled is not None and cancelled():
                raise ReadingCancelled(tr("Counting tokens was cancelled."))
            if progress is not None:
                progress(done, len(measured))
        found.append(encoders["dpo" if record.rejected is not None else "sft"].count(record))
    if not found:
        raise UserError(tr("There are no rows to measure."), "", tr("Choose a dataset with rows."))
    lengths, starts = (tuple(each.length for each in found), tuple(each.start for each in found))
    ordered = sorted(lengths)
    return TokenCounts(folder.name, len(ordered), ordered[0], _at(ordered, 0.5), _at(ordered, 0.95),
                       _at(ordered, 0.99), ordered[-1], _per_word(records, tokenizer), lengths, starts)


def _at(ordered: Sequence[int], share: float) -> int:
    """The smallest length that this many rows don't exceed."""
    return ordered[max(0, math.ceil(round(share * len(ordered), 6)) - 1)]


def _per_word(records: Rows, tokenizer: Any) -> dict[str, float]:
    """Tokens a word of each script, by the texts whose letters are mostly of it; the script with most words first."""
    words: Counter[str] = Counter()
    pieces: Counter[str] = Counter()
    for record in records[::1 + len(records) // WORDS_FROM]:
        for text in record.contents:
            count = len(text.split())
            scripts = Counter(script for character in text[:200] if (script := script_of(character)))
            if count and scripts:
                script = max(scripts, key=lambda each: scripts[each])
                words[script] += count
                pieces[script] += len(tokenizer.encode(text, add_special_tokens=False).ids)
    return {script: round(pieces[script] / count, 2) for script, count in words.most_common()}


def special_tokens(folder: Path) -> tuple[str, ...]:
    """The special tokens of a model folder's tokenizer, which no text should hold. Raises UserError."""
    added = tokens.load_tokenizer(folder).get_added_tokens_decoder().values()
    return tuple(token.content for token in added if token.special)


# -- The whole report.


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


def context_of(counts: TokenCounts | None, special: Sequence[str], rows: int, max_length: int | None,
               evaluation: Rows | None) -> Context:
    """What is known beside the rows when they are checked or fixed; lengths only where every row was measured."""
    lengths, starts = ((counts.lengths, counts.starts) if counts is not None and len(counts.lengths) == rows else
                       (None, None))
    return Context(tuple(special), lengths, starts, max_length,
                   {} if evaluation is None else {"evaluation": evaluation})


def make(records: Rows, evaluation: Rows | None, model: Path | None, max_length: int | None,
         known: RowsReport | None, progress: Progress, cancelled: Cancelled) -> RowsReport:
    """Count the tokens and check the rows, here.

    Args:
        evaluation: rows that shouldn't be among them.
        model: folder of the model whose tokens count; None counts none.
        max_length: of the planned run; None if there is no plan, by which no row is cut.
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
            special = special_tokens(model)
            counts = count_tokens(
                records, model, lambda done, total: progress(done * first // total, steps), cancelled)
        except UserError as error:
            trouble = error
    found = check(records, context_of(counts, special, len(records), max_length, evaluation),
                  lambda done, total: progress(first + done * (steps - first) // max(1, total), steps), cancelled)
    return RowsReport(tuple(found), counts, special, trouble)


# -- the side of who asks ------------------------------------------------------------------------------------


def ask(dataset: Dataset, evaluation: Dataset | None, model: Path | None, max_length: int | None,
        known: RowsReport | None, progress: Progress, cancelled: Cancelled) -> RowsReport | None:
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
        tuple(findings), counts and TokenCounts(**{**counts, "lengths": tuple(counts["lengths"]),
                                                     "starts": tuple(counts["starts"])}),
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
