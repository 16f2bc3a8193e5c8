"""Where a model that is talked to goes: on the processor while the card is taken, and nowhere it doesn't fit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import evaluated_runs, gguf_models, thinking_models

from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Gpu
from slmstudio.worker import torch_chat
from slmstudio.worker.answering import model_loader
from slmstudio.worker.gguf_chat.service import ChatService


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
