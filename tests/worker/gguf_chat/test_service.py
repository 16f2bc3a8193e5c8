"""The chat's service where a card fails in the middle of an answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from slmstudio.core.chat.devices import Device
from slmstudio.core.chat.placement import Placement
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


@pytest.mark.parametrize(("device", "error"), [("vulkan", SystemExit), ("cpu", CannotCompute)])
def test_the_process_ends_where_a_card_fails_so_that_another_takes_the_processor(studio_home, device, error) -> None:
    card = Placement(3, "", "vulkan", (Device("vulkan", "Radeon"),), (3,))
    heard, made = list[dict[str, Any]](), [model(True), model(False)]
    service = ChatService(lambda type, **fields: heard.append({"type": type, **fields}), lambda message: Loaded(
        made.pop(0), "x", None, "", card if device == "vulkan" else Placement(3, "")))
    question = {"command": "generate", "id": 1, "messages": [{"role": "user", "content": "?"}]}
    service.handle({"command": "load", "path": "x"})
    service.handle(question)
    assert heard[-1]["type"] == "done" and heard[-1]["prompt_tokens_per_second"] > 0
    service.handle({"command": "load", "path": "x"})
    with pytest.raises(error):
        service.handle(question)
