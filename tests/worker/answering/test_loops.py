"""A model that repeats itself is stopped: where rows are answered, in Chat, and as a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import gguf_models, looping_model

from slmstudio.core.chat.placement import ON_PROCESSOR
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.worker.answering import model_loader
from slmstudio.worker.answering.llama_model import LlamaModel
from slmstudio.worker.answering.rows import line_of, prepare, run_rows
from slmstudio.worker.answering.torch_model import TorchModel
from slmstudio.worker.gguf_chat.service import ChatService, Loaded
from slmstudio.worker.torch_chat import FolderModel

MOST = 400
TOKENS = 200
"""Of an answer that is stopped, at most."""


def item(number: int = 0) -> dict[str, Any]:
    return {"id": number, "line": number + 1, "kind": "free", "references": ["Yes."], "choices": None,
            "messages": [{"role": "user", "content": "Where do I report a broken street light?"}]}


@pytest.fixture(scope="module")
def looping(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return looping_model.build(tiny_model, tmp_path_factory.mktemp("looping") / "model")


def opened(folder: Path) -> TorchModel:
    return TorchModel(model_loader.load(folder, torch.float32), folder, 2**28)


@pytest.mark.parametrize("batched", [True, False])
def test_an_answer_that_repeats_itself_is_stopped_and_counted(looping: Path, batched: bool):
    model = opened(looping)
    model.shares_batches = batched
    check(model)


@pytest.mark.full
def test_of_a_gguf_file_too(looping: Path, tmp_path: Path):
    model = LlamaModel(gguf_models.convert(looping, tmp_path, "F32")["F32"], 2**28)
    try:
        check(model)
    finally:
        model.close()


def check(model: Any) -> None:
    rows = [prepare(item(number), model, most) for number, most in enumerate((MOST, 20, 1))]
    replies = run_rows(rows, model, lambda share: None)
    endless, short, one = (line_of(row, reply, model) for row, reply in zip(rows, replies, strict=True))
    assert endless["finish"] == "repeat" and endless["tokens"] < TOKENS
    assert endless["answer"].startswith((2 * looping_model.SENTENCE).strip())
    assert (short["finish"], short["tokens"]) == ("length", 20)
    # What reading a question takes isn't part of how fast its answer was written.
    assert one["tokens"] == 1 and one["seconds"] == 0 < min(endless["seconds"], short["seconds"])


def test_a_chat_ends_it_and_says_so(looping: Path):
    heard: list[dict[str, Any]] = []
    model = FolderModel(opened(looping), 512, ChatTemplate.from_folder(looping))
    service = ChatService(lambda kind, **fields: heard.append({"type": kind, **fields}),
                          lambda message: Loaded(model, "looping", 512, "fp32", ON_PROCESSOR))
    service.handle({"command": "load", "path": str(looping)})
    service.handle({"command": "generate", "id": 1, "messages": item()["messages"], "temperature": 0,
                    "max_tokens": MOST})
    done, text = heard[-1], "".join(each["text"] for each in heard if each["type"] == "token")
    assert (done["type"], done["reason"]) == ("done", "repeated") and done["completion_tokens"] < TOKENS
    assert text.startswith(2 * looping_model.SENTENCE)
    model.close()
