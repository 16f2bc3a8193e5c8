"""How one of an evaluation's models is asked: its own system prompt, the rows that it is shown, batch by batch, and
what that costs."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from slmstudio.core.chat.assistant import Assistant
from slmstudio.core.chat.context import Asked, with_system, write_rows
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import rival_models
from slmstudio.core.evaluation.held_out import learned_rows
from slmstudio.core.i18n import tr
from slmstudio.worker.answering.control import EvaluationControl, LineLog
from slmstudio.worker.answering.rows import Model, Reply, Row, batches, line_of, prepare, run_rows, written
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training.step_times import PeakMemory


class Asking:
    """One model, and how it is asked.

    Args:
        job: the evaluation's; the rows of a context are written into its folder where they aren't there yet.
        spec: the model's part of the request.
        most: tokens of an answer.

    Raises:
        UserError: the rows can't be read, or none can be shown.
    """

    def __init__(self, job: JobContext, spec: Mapping[str, Any], model: Model, most: int):
        self.name, self.model = str(spec["name"]), model
        self._most, self._system = most, job.request.get("system")
        self._is_own = "system" in spec or bool(spec.get("context"))
        self._assistant = Assistant(job.folder, self.name, spec.get("system"), spec.get("context"), None)
        if spec.get("context"):
            rows = job.folder / spec["context"]["rows"]
            if not rows.exists():
                job.phase("reading", rows.name)
                write_rows(rows, learned_rows(job.request, job.cancelled)[0])
            _ = self._assistant.rows  # what is wrong with them is told before anything is asked
        self._takes_system = not self._is_own or model.template.takes_system()
        self._shown: dict[int, Asked] = {}
        measured = any(each["name"] in rival_models.NAMES for each in job.request["models"])
        on_card = str(getattr(getattr(model, "model", None), "device", "")).startswith("cuda")
        self._memory = PeakMemory(on_card) if measured else None
        if self._memory is not None:
            self._memory.reset()

    def prepare(self, item: dict[str, Any]) -> Row:
        """As `rows.prepare`, of the item as this model is asked about it."""
        if not self._is_own:
            return prepare(item, self.model, self._most)
        messages = with_system(item["messages"], self._assistant.system, self._takes_system, self._system)
        if self._assistant.rows is not None:
            try:
                asked = self._assistant.rows.ask(messages, lambda shown: self._tokens(item, shown),
                                                 self.model.context_length - self._most, self._takes_system,
                                                 leave_out_same=True)
            except UserError as error:
                return Row(item, skipped=" ".join(filter(None, (error.what, error.why))))
            self._shown[item["id"]] = asked
            messages = asked.messages
        return replace(prepare({**item, "messages": messages}, self.model, self._most), item=item)

    def _tokens(self, item: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> int:
        return len(self.model.encode(self.model.template.render(
            self.model.marked(messages), add_generation_prompt=True, tools=self.model.marked(item.get("tools") or ()))))

    def line(self, row: Row, replies: Sequence[Reply]) -> dict[str, Any]:
        """As `rows.line_of`, and where rivals are compared, what the answer has cost."""
        line = line_of(row, replies, self.model)
        if self._memory is None or row.skipped:
            return line
        asked = self._shown.get(row.item["id"])
        return {**line, "prompt_tokens": len(row.asks[0].prompt), "read_seconds": round(replies[0].reading, 5),
                "memory_bytes": self._memory.bytes(), "context_rows": asked.rows if asked else 0,
                "context_same": asked.same if asked else 0}


def weights(spec: dict[str, Any]) -> list[Any]:
    """What is loaded for a model, whatever it is shown with a question."""
    return [spec.get(key) for key in ("model", "adapter", "gguf", "load_in_4bit", "chat_template")]


def in_order(specs: list[dict[str, Any]]) -> list[int]:
    """The models' numbers, with those beside each other that have the same weights: these are loaded once."""
    loaded = [weights(spec) for spec in specs]
    return sorted(range(len(specs)), key=lambda number: loaded.index(loaded[number]))


def answer_all(job: JobContext, asking: Asking, items: list[dict[str, Any]], answers: LineLog,
                control: EvaluationControl, shown: Container[int] = ()) -> int:
    """Let a model answer what it hasn't answered yet, batch by batch.

    Args:
        answers: where its answers go; those that are there are kept.
        shown: ids of the items whose answers are told while they are written.

    Returns:
        Tokens of the questions with their references that were asked now.
    """
    model, name = asking.model, asking.name
    phase, tokens = f"answering: {name}", 0
    job.phase(phase)
    rows = []
    for item in items:
        job.check_cancelled()
        rows.append(asking.prepare(item))
    asks = [row for row in rows if not row.skipped]
    share = len(rows) / max(1, sum(row.length for row in asks))  # so that work counts in answers
    if left_out := [row for row in rows if row.skipped and row.item["id"] not in answers.keys]:
        job.warn("rows_skipped", tr("{model}: {skipped:,} of {rows:,} rows can't be asked. Line {line}: {reason}",
                                    model=name, skipped=len(left_out), rows=len(rows), line=left_out[0].item["line"],
                                    reason=left_out[0].skipped))
        answers.write([asking.line(row, []) for row in left_out])
    control.skip(len(rows) - len(asks), 0.0)
    for batch in batches(asks, model, job.request.get("batch_size")):
        work = share * sum(row.length for row in batch)
        if all(row.item["id"] in answers.keys for row in batch):
            control.skip(len(batch), work)
            continue
        live = any(row.item["id"] in shown for row in batch)
        report = partial(_report_answers, job, name, batch, model, shown) if live else None

        def gate(part: float, batch: list[Row] = batch, work: float = work,
                 report: Callable[[], None] | None = report) -> None:
            if control.gate(part, len(batch), work, phase) and report is not None:
                report()

        replies = run_rows(batch, model, gate)
        lines = [asking.line(row, reply) for row, reply in zip(batch, replies, strict=True)]
        answers.write(lines)
        if live:
            _report_lines(job, name, batch, [line["answer"] for line in lines], shown, done=True)
        tokens += sum(row.expected for row in batch)
        _warn_skipped(job, name, batch, lines)
        control.add(len(batch), work, phase)
    return tokens


def _report_answers(job: JobContext, name: str, batch: list[Row], model: Model, shown: Container[int]) -> None:
    """Tell what a model has written so far of the rows that are shown, if it can say that."""
    if len(replies := getattr(model, "replies", ())) == len(batch):
        _report_lines(job, name, batch, [written(row, reply, model)[0].strip() if row.item["id"] in shown else ""
                                         for row, reply in zip(batch, replies, strict=True)], shown)


def _report_lines(job: JobContext, name: str, batch: list[Row], texts: list[str], shown: Container[int],
                  done: bool = False) -> None:
    job.emit("answers", model=name, done=done, answers=[
        {"id": row.item["id"], "question": row.item["messages"][-1]["content"], "answer": text}
        for row, text in zip(batch, texts, strict=True) if row.item["id"] in shown])


def _warn_skipped(job: JobContext, name: str, batch: list[Row], lines: list[dict[str, Any]]) -> None:
    for row, line in zip(batch, lines, strict=True):
        if line["skipped"]:
            job.warn("row_skipped", tr("{model}, line {line}: {reason}", model=name, line=row.item["line"],
                                       reason=tr(line["skipped"])))
