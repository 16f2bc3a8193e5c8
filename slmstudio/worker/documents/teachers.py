"""Teachers at work: a GGUF file or a model folder in this process, many passages at once; or a server on this machine,
asked several times at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from slmstudio.core.chat.placement import Wish
from slmstudio.core.documents import teacher
from slmstudio.core.documents.passages import token_count
from slmstudio.core.documents.prompting import TEXT
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.answering.rows import Ask, Model, Row, batches, cache_budget, run_rows
from slmstudio.worker.runtime.context import JobContext

Gate = Callable[[float], None]
AT_ONCE = 8
"""Requests that a server has at a time: llama-server and Ollama compute about as many together."""
SECONDS = 600.0
"""For which a server may say nothing."""


@dataclass(frozen=True)
class Prompt:
    """
    Attributes:
        most: tokens of the answer, as `passages.token_count` counts them.
        grammar, schema: of its form, for llama.cpp and for servers; empty for a free one.
        forced: as of `Ask`.
    """

    messages: list[dict[str, str]]
    most: int
    grammar: str = ""
    schema: dict[str, Any] | None = None
    forced: Callable[[str], str] | None = None


@dataclass(frozen=True)
class Completion:
    """
    Attributes:
        is_cut: whether the teacher was still writing, or had no room to.
    """

    text: str
    is_cut: bool


class TeacherAtWork(Protocol):
    """Attributes: at_once: prompts that it takes together."""

    at_once: int

    def complete(self, prompts: Sequence[Prompt], gate: Gate) -> list[Completion]:
        """Raises UserError: it can't continue."""

    def close(self) -> None: ...


def open_teacher(job: JobContext, spec: dict[str, Any]) -> TeacherAtWork:
    """Load a teacher of the request, as `teacher.Teacher.spec` names it.

    Raises:
        UserError: it can't be loaded or reached.
    """
    if spec.get("server"):
        return ServerTeacher(spec["server"], spec.get("model") or "")
    if spec.get("gguf"):
        from slmstudio.worker.answering.llama_model import load_gguf

        budget = cache_budget(psutil.virtual_memory().available, job.folder / "batches.json")
        return LocalTeacher(load_gguf(Path(spec["gguf"]), budget, Wish.of(job.request), spec.get("adapter")))
    from slmstudio.worker.answering.model_loader import Models  # loads PyTorch

    return LocalTeacher(Models(job).open(spec))


class LocalTeacher:
    """A model in this process; what the prompts begin with alike is computed once."""

    at_once = 16

    def __init__(self, model: Model):
        self._model = model
        model.template = model.template.without_thoughts()

    def complete(self, prompts: Sequence[Prompt], gate: Gate) -> list[Completion]:
        rows, found = [], [Completion("", True)] * len(prompts)
        for number, prompt in enumerate(prompts):
            text = self._model.template.render(self._model.marked(prompt.messages), add_generation_prompt=True)
            ids = self._model.encode(text)
            # A small vocabulary may have three tokens for a letter of a script that it doesn't know.
            asked = prompt.messages[-1]["content"].rpartition(TEXT)[2]
            more = max(1.0, len(self._model.encode(asked)) / max(1, token_count(asked)))
            most = min(round(prompt.most * more), self._model.context_length - len(ids))
            if most > 0:  # a passage that the model can't hold gives nothing, which is listed
                rows.append(Row({"id": number}, (Ask(ids, (), most, prompt.grammar, prompt.forced),)))
        parts, done = batches(rows, self._model, self.at_once), 0
        for part in parts:
            before, size = done, len(part)
            replies = run_rows(part, self._model, lambda share, before=before, size=size: gate(  # type: ignore[misc]
                (before + share * size) / len(rows)))
            for row, [reply] in zip(part, replies, strict=True):
                found[row.item["id"]] = Completion(self._model.decode(reply.ids), not reply.ended)
            done += size
        return found

    def close(self) -> None:
        self._model.close()


class ServerTeacher:
    """A server that speaks as OpenAI's does: llama-server, Ollama, vLLM, LM Studio, or our own."""

    at_once = 16

    def __init__(self, url: str, model: str):
        self._url, self._takes_schema = teacher.chat_url(url), True
        self._model = model or next(iter(teacher.served_models(url)), "")

    def complete(self, prompts: Sequence[Prompt], gate: Gate) -> list[Completion]:
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        answered: queue.SimpleQueue[tuple[int, Completion | Exception]] = queue.SimpleQueue()
        for number in range(len(prompts)):
            waiting.put(number)
        stopped = threading.Event()

        def work() -> None:
            while not stopped.is_set():
                try:
                    number = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    answered.put((number, self._one(prompts[number])))
                except Exception as error:
                    answered.put((number, error))

        for _ in range(min(AT_ONCE, len(prompts))):
            # Nobody waits for one whose server says nothing when this process ends.
            threading.Thread(target=work, name="asking the server", daemon=True).start()
        found = [Completion("", True)] * len(prompts)
        try:
            done = 0
            while done < len(prompts):
                gate(done / len(prompts))
                try:
                    number, completion = answered.get(timeout=0.1)
                except queue.Empty:
                    continue
                if isinstance(completion, Exception):
                    raise completion
                found[number], done = completion, done + 1
        finally:
            stopped.set()
        return found

    def _one(self, prompt: Prompt) -> Completion:
        body: dict[str, Any] = {"messages": prompt.messages, "max_tokens": prompt.most, "temperature": 0,
                                **({"model": self._model} if self._model else {})}
        if prompt.schema is not None and self._takes_schema:
            form = {"type": "json_schema", "json_schema": {"name": "pairs", "strict": True, "schema": prompt.schema}}
            try:
                return _read(teacher.post(self._url, {**body, "response_format": form}, SECONDS))
            except teacher.Refused:
                self._takes_schema = False  # an older one; what it writes is read as well as it can be
        return _read(teacher.post(self._url, body, SECONDS))

    def close(self) -> None:
        pass


def _read(answer: dict[str, Any]) -> Completion:
    try:
        [choice, *_] = answer["choices"]
        return Completion(str(choice["message"]["content"] or ""), choice.get("finish_reason") == "length")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(tr("The server's answer can't be read."), tr("It has no “choices” with a message."),
                        tr("Choose a server that speaks as OpenAI's does.")) from error
