"""Chat with a model folder or a run: the commands and messages are those of `chat.service.ChatService.handle`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch

from slmstudio.core import units
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.request_models import model_at, precision_of
from slmstudio.core.hardware.machine import read_gpus
from slmstudio.core.i18n import tr
from slmstudio.core.model.chat_template import ChatTemplate, find_template
from slmstudio.core.model.facts import ModelFacts, read_model
from slmstudio.core.model.named_templates import optional_template, template_of
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run.memory import four_bit_bytes
from slmstudio.worker.answering import model_loader
from slmstudio.worker.answering.torch_model import TorchModel
from slmstudio.worker.chat.chat import DEFAULT_CONTEXT
from slmstudio.worker.chat.service import ChatService, Loaded
from slmstudio.worker.talk.folder_model import FolderModel
from slmstudio.worker.training.methods import DTYPES

ROOM = 1.2
"""Weights, with what computing takes beside them."""


def create(emit: Callable[..., None]) -> ChatService:
    return ChatService(emit, load)


def load(message: dict[str, Any]) -> Loaded:
    """Load the result of a run on its base, its last checkpoint where it isn't finished, or a model folder.

    Raises:
        UserError: it can't be loaded, or doesn't fit in memory.
    """
    spec = model_at(Path(message["path"]), unfinished=True)
    folder, adapter, packed = Path(spec["model"]), spec["adapter"], bool(spec.get("load_in_4bit"))
    facts = read_model(folder)
    run_folder.need_own_result(Path(adapter) if adapter else folder)
    device, precision, where = _place(facts, spec)
    if "checkpoint" in spec:
        where = " ".join((tr("The run isn't finished, so this is its checkpoint of step {step:,}.",
                             step=spec["checkpoint"]), where))
    dtype = DTYPES[precision]
    template = _template(folder, spec)
    try:
        model = model_loader.load(folder, dtype, device, packed)
        if adapter:
            model = (model_loader.put_on if packed else model_loader.merge)(model, Path(adapter))
    except torch.OutOfMemoryError as error:
        raise UserError(tr("{model} doesn't fit in the GPU's memory.", model=spec["name"]), "",
                        tr("Close other programs that use the GPU, or export the run and chat with a smaller GGUF "
                           "file.")) from error
    loaded = TorchModel(model, folder, 0, template)
    wanted = message.get("context_length") or DEFAULT_CONTEXT
    length = min(wanted, loaded.context_length)
    return Loaded(FolderModel(loaded, length, template if template.source else None), spec["name"],
                  loaded.context_length, "4-bit" if packed else precision, where)


def _template(folder: Path, spec: dict[str, Any]) -> ChatTemplate:
    name, adapter = spec.get("chat_template") or "", spec["adapter"]
    if adapter and find_template(Path(adapter)) is not None:
        return template_of(folder, name, adapter)
    return optional_template(folder, name)


def _place(facts: ModelFacts, spec: dict[str, Any]) -> tuple[str, str, str]:
    """The device, the number format, and a sentence about both."""
    gpus = read_gpus()[0] if torch.cuda.is_available() else ()
    if gpus and run_folder.running() is None:
        precision = precision_of([spec], gpus[0])
        if _needed(facts, spec, precision) < torch.cuda.mem_get_info()[0]:
            return "cuda", precision, tr("On the {card}, in {precision}.", card=gpus[0].name, precision=precision)
    free = psutil.virtual_memory().available
    if _needed(facts, spec, "fp32") < free:
        return "cpu", "fp32", tr("On the processor.")
    if _needed(facts, spec, "bf16") < free:
        return "cpu", "bf16", tr("On the processor, in bf16 to save memory.")
    raise UserError(tr("{model} doesn't fit in memory.", model=spec["name"]),
                    tr("Its weights need about {needed}, and {free} is free.",
                       needed=units.format_bytes(_needed(facts, spec, "bf16")), free=units.format_bytes(free)),
                    tr("Close other programs, or export the run and chat with a GGUF file of a smaller quantization "
                       "type."))


def _needed(facts: ModelFacts, spec: dict[str, Any], precision: str) -> int:
    """Bytes that its weights take, with what computing takes beside them."""
    size = DTYPES[precision].itemsize
    return int((four_bit_bytes(facts, size) if spec.get("load_in_4bit") else facts.parameters * size) * ROOM)
