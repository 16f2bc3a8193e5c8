"""Where a model that is talked to goes: on the processor while the card is taken, and nowhere it doesn't fit; and what
it is shown with a question."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import evaluated_runs, gguf_models, held_out_rows, thinking_models

from slmstudio.core.chat import assistant, context
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation import rival_models, rivals
from slmstudio.core.hardware.machine import Gpu
from slmstudio.core.model.facts import model_name
from slmstudio.worker import torch_chat
from slmstudio.worker.answering import model_loader
from slmstudio.worker.gguf_chat.service import ChatService
from slmstudio.worker.serve import http_api
from slmstudio.worker.serve.request import ChatRequest


@pytest.fixture
def run(tiny_model: Path, studio_home: Path) -> Path:
    """A run that learned on a base in 4 bits."""
    folder = evaluated_runs.ended_run("helpdesk", tiny_model, method="qlora")
    gguf_models.adapter_on(tiny_model, folder / "adapter")
    return folder


def test_beside_a_training_a_base_in_4_bits_stays_on_the_processor(run: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []

    def load(folder: Path, **options: Any) -> Any:
        asked.append(options["device_map"])
        raise ValueError("loaded far enough")

    card = Gpu(0, "RTX 4090", 24 * 1024**3, 23 * 1024**3, (8, 9))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch_chat, "read_gpus", lambda: ((card,), None))
    monkeypatch.setattr(torch_chat.run_folder, "running", lambda: run)
    monkeypatch.setattr(model_loader.base_weights, "load", load)
    with pytest.raises(UserError, match="loaded far enough"):
        torch_chat.load({"path": str(run)})
    assert asked == [{"": "cpu"}]


def test_a_base_in_4_bits_that_does_not_fit_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch_chat.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(UserError, match="helpdesk doesn't fit in memory"):
        torch_chat.load({"path": str(run)})


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(UserError) as caught:
        torch_chat.load({"path": str(tmp_path)})
    assert "isn't a run, a model folder" in caught.value.why


def test_documents_are_measured_and_opened_thoughts_begin_with_their_tag(tiny_model: Path, tmp_path: Path):
    folder = thinking_models.build(tiny_model, tmp_path / "thinks", thinking_models.ALWAYS, ["A", "</think>", "B"])
    said: list[dict[str, Any]] = []
    service = ChatService(lambda kind, **fields: said.append({"type": kind, **fields}), torch_chat.load)
    service.handle({"command": "load", "path": str(folder), "context_length": 128})
    asked, texts = {"role": "user", "content": "?"}, ["word " * 400, "a b"]
    service.handle({"command": "count", "messages": [asked], "max_tokens": 6, "documents": texts})
    large, small = said[-1]["documents"]
    assert (small["of"], small["read"], small["left_out"]) == (3, 3, 0)
    assert 0 < large["read"] < large["of"] == 2000 and 0 < large["left_out"] < large["tokens"]
    asked = {"role": "user", "content": "".join([texts[1], texts[0][:large["read"]], "?"])}
    service.handle({"command": "generate", "id": 1, "messages": [asked], "max_tokens": 6, "temperature": 0.0})
    assert "".join(each["text"] for each in said if each["type"] == "token") == "<think>\nA</think>B"
    assert said[-1]["reason"] == "stop" and said[-1]["dropped_messages"] == 0
    service.handle({"command": "unload"})


def test_what_was_kept_of_a_run_answers_with_its_rows_in_chat_and_in_the_server(tiny_model: Path, studio_home: Path):
    run = evaluated_runs.ended_run("helpdesk", tiny_model)
    gguf_models.adapter_on(tiny_model, run / "adapter")
    evaluation = run / "jobs" / "evaluate-1"
    evaluation.mkdir(parents=True)
    models = rival_models.added([{"name": "base", "model": str(tiny_model)}], ["examples"], "Be brief.")
    (evaluation / "request.json").write_text(json.dumps({"kind": "evaluate", "models": models}))
    rows = [held_out_rows.asked(f"Where is {place}?", place[::-1]) for place in ("Pune", "Delhi")]
    context.write_rows(evaluation / rival_models.ROWS, rows)
    rivals.keep(run, evaluation, "examples")

    said: list[dict[str, Any]] = []
    service = ChatService(lambda kind, **fields: said.append({"type": kind, **fields}), torch_chat.load)
    service.handle({"command": "load", "path": str(run), "context_length": 512})
    assert said[-1]["name"] == model_name(tiny_model)  # the base, and not the run's result
    asked = [{"role": "user", "content": "Where is Delhi now?"}]
    shown = [{"role": "system", "content": "Be brief."}, *rows[0].messages, *rows[1].messages, *asked]
    vocab = service.model.vocab
    service.handle({"command": "count", "messages": asked, "max_tokens": 8})
    assert said[-1]["prompt_tokens"] == len(vocab.prompt(shown))
    service.handle({"command": "generate", "id": 1, "messages": asked, "max_tokens": 4, "temperature": 0.0})
    assert said[-1]["prompt_tokens"] == len(vocab.prompt(shown))

    engine = SimpleNamespace(vocab=vocab, context_length=512)
    api = http_api.Api(engine, "x", assistant.of_model(run))
    wanted = ChatRequest.model_validate({"model": "x", "messages": asked, "max_tokens": 8})
    assert api._chat_prompt(wanted) == vocab.prompt(shown)

    rivals.keep(run, evaluation, "tuned")
    service.handle({"command": "load", "path": str(run), "context_length": 512})
    assert said[-1]["name"] == "helpdesk"
    service.handle({"command": "count", "messages": asked, "max_tokens": 8})
    assert said[-1]["prompt_tokens"] == len(service.model.vocab.prompt(asked))
    service.handle({"command": "unload"})
