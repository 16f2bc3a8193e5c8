"""The chat's service where a card fails in the middle of an answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from slmstudio.core.chat.devices import Device
from slmstudio.core.chat.placement import Placement
from slmstudio.core.errors import UserError
from slmstudio.worker.gguf_chat.model import CannotCompute
from slmstudio.worker.gguf_chat.service import ChatService, Loaded


def model(works: bool) -> Any:
    """Answers with one token, or not at all."""
    def read(prompt, stopped):
        if not works:
            raise CannotCompute("It can't.", "The device was lost.")
        return 0

    vocab = SimpleNamespace(template=True, is_sentencepiece=False, prompt=lambda messages: [1, 2],
                            ends=lambda token: token == 0, piece=lambda token: b"hi")

    def draw(settings):
        yield from (7, 0)

    return SimpleNamespace(context_length=64, vocab=vocab, read=read, draw=draw, close=lambda: None,
                           share_processor=lambda busy: None)


def test_the_model_goes_to_the_processor_with_a_sentence(studio_home) -> None:
    card, heard = Placement(3, "", "vulkan", (Device("vulkan", "Radeon"),), (3,)), list[dict[str, Any]]()

    def load(message):
        works = message.get("device") == "cpu"
        return Loaded(model(works), "x", None, "", Placement(3, "") if works else card)

    service = ChatService(lambda type, **fields: heard.append({"type": type, **fields}), load)
    service.handle({"command": "load", "path": "x"})
    question = {"command": "generate", "id": 1, "messages": [{"role": "user", "content": "?"}]}
    with pytest.raises(UserError, match="Radeon stopped computing"):
        service.handle(question)
    assert [each["device"] for each in heard if each["type"] == "loaded"] == ["vulkan", "cpu"]
    service.handle({**question, "id": 2})
    assert heard[-1]["type"] == "done" and heard[-1]["prompt_tokens_per_second"] > 0
