"""Chat with a GGUF model, loaded onto the card as far as it fits; `service` does the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core.chat import gpu_layers
from slmstudio.core.chat.gpu_layers import GpuLayers
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_gpus
from slmstudio.core.i18n import tr
from slmstudio.core.model.gguf.model import read_sound_gguf
from slmstudio.core.run import folder as run_folder
from slmstudio.worker.gguf_chat.adapter import ChatAdapter
from slmstudio.worker.gguf_chat.model import ChatModel
from slmstudio.worker.gguf_chat.service import ChatService, Loaded
from slmstudio.worker.model import llama_gguf

DEFAULT_CONTEXT = 4096
"""Tokens, where neither the user nor the model sets less: the cache of an 8B model then takes half a gigabyte."""


def load_gguf(message: dict[str, Any]) -> Loaded:
    """Load a GGUF file.

    Raises:
        UserError: it isn't sound, or llama.cpp can't load it.
    """
    path = Path(message["path"])
    facts = read_sound_gguf(path)
    wanted = message.get("context_length") or DEFAULT_CONTEXT
    length = min(wanted, facts.context_length or wanted)
    model, offload = _load_model(path, length, message.get("gpu_layers"))
    return Loaded(model, facts.name, facts.context_length, facts.quantization, offload.reason, offload.layers,
                  offload.all_layers, ChatAdapter(model, path))


def _load_model(path: Path, context_length: int, layers: int | None) -> tuple[ChatModel, GpuLayers]:
    """Load a model onto the card as far as it fits, or onto the processor where the card refuses after all."""
    llama_gguf.install()
    import llama_cpp

    supported = llama_cpp.llama_supports_gpu_offload()
    shape = gpu_layers.read_shape(path)
    offload = (gpu_layers.choose(shape, context_length, read_gpus()[0], supported=supported,
                                 training=run_folder.running() is not None) if layers is None
               else GpuLayers(layers if supported else 0, shape.layers + 1, ""))
    try:
        return ChatModel(path, context_length, offload.layers), offload
    except UserError:
        if offload.layers == 0:
            raise
        return ChatModel(path, context_length, 0), GpuLayers(0, offload.all_layers,
                                                             tr("On the processor: another program has used up the "
                                                                "card's memory."))


def create(emit: Callable[..., None]) -> ChatService:
    return ChatService(emit, load_gguf)
