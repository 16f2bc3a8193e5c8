"""The chat's service where a card fails in the middle of an answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from slmstudio.core.chat.devices import Device
from slmstudio.core.chat.placement import Placement, on_processor
from slmstudio.core.errors import UserError
from slmstudio.worker.gguf_chat.model import CannotCompute
from slmstudio.worker.gguf_chat.service import ChatService, Loaded


class Model:
    """Answers with one token, or not at all."""

    context_length = 64

    def __init__(self, works: bool):
        self.works, self.closed = works, False
        self.vocab = SimpleNamespace(template=True, is_sentencepiece=False, prompt=lambda messages: [1, 2],
                                     ends=lambda token: token == 0, piece=lambda token: b"hi")

    def read(self, prompt, stopped):
        if not self.works:
            raise CannotCompute("It can't.", "The device was lost.")
        return 0

    def draw(self, settings):
        yield from (7, 0)

    def share_processor(self, busy):
        pass

    def close(self):
        self.closed = True


def test_the_model_goes_to_the_processor_with_a_sentence(studio_home) -> None:
    card = Placement(3, "", "vulkan", (Device("vulkan", "Radeon"),), (3,))
    heard, made = [], []

    def load(message):
        on_card = message.get("device") != "cpu"
        made.append(Model(works=not on_card))
        return Loaded(made[-1], "x", None, "", card if on_card else on_processor(3))

    service = ChatService(lambda type, **fields: heard.append({"type": type, **fields}), load)
    service.handle({"command": "load", "path": "x", "device": "auto"})
    question = {"command": "generate", "id": 1, "messages": [{"role": "user", "content": "?"}]}
    with pytest.raises(UserError, match="Radeon stopped computing"):
        service.handle(question)
    assert made[0].closed and [each["device"] for each in heard if each["type"] == "loaded"] == ["vulkan", "cpu"]
    service.handle({**question, "id": 2})
    done = heard[-1]
    assert done["type"] == "done"
    assert {"tokens_per_second", "prompt_tokens_per_second", "seconds_to_first_token"} <= set(done)
    made[-1].works = False
    with pytest.raises(CannotCompute):
        service.handle({**question, "id": 3})
