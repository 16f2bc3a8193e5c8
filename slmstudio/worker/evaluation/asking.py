"""How one of an evaluation's models is asked: its own system prompt, the rows that it is shown, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from slmstudio.core.chat.assistant import Assistant
from slmstudio.core.chat.context import Asked, with_system, write_rows
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import rival_models
from slmstudio.core.evaluation.request import learned_rows
from slmstudio.worker.answering.rows import Model, Reply, Row, line_of, prepare
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
