"""Loads what is evaluated: model folders, adapters on them, GGUF files. A base that several share is loaded once."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import psutil
import torch

from slmstudio.core import units
from slmstudio.core.chat.placement import Wish, folder_without_vulkan, not_there
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import peft_adapter
from slmstudio.core.model.facts import read_model
from slmstudio.core.model.named_templates import template_of
from slmstudio.core.run.folder import need_own_result
from slmstudio.core.run.memory.formula import four_bit_bytes
from slmstudio.worker.answering.rows import Model, cache_budget
from slmstudio.worker.answering.torch_model import TorchModel
from slmstudio.worker.model import base_weights
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training.methods import DTYPES, placed, ready_4bit_layers

BUDGET = "batches.json"


class Models:
    """Opens one model at a time.

    Args:
        job: of the evaluation; says in which number format models compute.
    """

    def __init__(self, job: JobContext):
        self._job = job
        self._dtype = DTYPES[job.request.get("precision") or "fp32"]
        self._wish = Wish.of(job.request)
        self._device = "cuda" if torch.cuda.is_available() and self._wish.device != "cpu" else "cpu"
        self._base: tuple[tuple[Path, bool], Any] | None = None
        self._open: Model | None = None

    def open(self, spec: dict[str, Any], thinks: bool = True) -> Model:
        """Load one of the request's models; the one before is closed.

        Args:
            thinks: False asks its template for answers without thoughts.

        Raises:
            UserError: it can't be loaded, or doesn't fit in memory.
        """
        self.close()
        if spec.get("gguf"):
            from slmstudio.worker.answering.llama_model import load_gguf

            self._forget()
            self._open = load_gguf(Path(spec["gguf"]), self._budget(), self._wish, spec.get("adapter"))
        else:
            self._open = self._open_folder(spec)
        if not thinks:
            self._open.template = self._open.template.without_thoughts()
        return self._open

    def _open_folder(self, spec: dict[str, Any]) -> TorchModel:
        folder, adapter, packed = Path(spec["model"]), spec.get("adapter"), bool(spec.get("load_in_4bit"))
        template = template_of(folder, spec.get("chat_template") or "", adapter)
        need_own_result(Path(adapter) if adapter else folder)
        try:
            model = self._load(folder, packed)
            if adapter:
                self._base = None  # the adapter goes into this very model
                model = with_adapter(model, Path(adapter), merged=not packed)
            return TorchModel(model, folder, self._budget(), template)
        except torch.OutOfMemoryError as error:
            self._forget()
            raise self._too_large(folder, packed) from error

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _load(self, folder: Path, packed: bool) -> Any:
        if self._base and self._base[0] == (folder, packed):
            return self._base[1]
        self._forget()
        model = load(folder, self._dtype, device_of(self._wish.device), packed)
        self._base = (folder, packed), model
        return model

    def _too_large(self, folder: Path, packed: bool) -> UserError:
        facts = read_model(folder)
        held = self._dtype.itemsize
        needed = four_bit_bytes(facts, held) if packed else facts.parameters * held
        remedy = (tr("Evaluate in bf16 or fp16 (--precision), which takes half of it; or close other programs that use "
                     "the GPU, or evaluate a GGUF file of a smaller quantization type.") if held > 2 else
                  tr("Close other programs that use the GPU, or evaluate a GGUF file of a smaller quantization type."))
        return UserError(tr("{folder} doesn't fit in the GPU's memory.", folder=folder.name),
                         tr("Its weights need about {needed}; {free} is free.", needed=units.format_bytes(needed),
                            free=units.format_bytes(_gpu_free())), remedy)

    def _forget(self) -> None:
        """Free the weights before others are loaded."""
        self._base = None
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _budget(self) -> int:
        free = _gpu_free() if self._device == "cuda" else psutil.virtual_memory().available
        return cache_budget(free, self._job.folder / BUDGET)


def device_of(wish: str) -> str:
    """Where PyTorch computes, for one of `devices.CHOICES`. Raises UserError: it can't there."""
    if wish not in ("auto", "cpu") and not (wish == "cuda" and torch.cuda.is_available()):
        raise folder_without_vulkan() if wish == "vulkan" else not_there(wish, [tr("PyTorch finds no card for CUDA.")])
    return "cuda" if torch.cuda.is_available() and wish != "cpu" else "cpu"


def _gpu_free() -> int:
    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0


def load(folder: Path, dtype: torch.dtype, device: str = "cpu", packed: bool = False) -> Any:
    """A model folder on a device, to be read from only.

    Args:
        device: "cpu" or "cuda".
        packed: in 4 bits, as QLoRA holds a base.

    Raises:
        UserError: it is none, or damaged.
        torch.OutOfMemoryError: it doesn't fit.
    """
    try:
        model = base_weights.load(folder, dtype=dtype, **placed(folder, dtype, device == "cuda", packed))
        ready_4bit_layers(model, dtype)
        return model.eval()
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(tr("The model {folder} can't be loaded.", folder=folder.name), f"{_first_line(error)}.",
                        tr("Choose a complete model folder, or download it again.")) from error


def with_adapter(model: Any, adapter: Path, merged: bool = True) -> Any:
    """The model with an adapter, as which it is changed.

    Args:
        merged: whether it goes into the weights; otherwise it stays beside them, as 4 bits can't hold what it adds.

    Raises:
        UserError: it isn't an adapter, or belongs to another base model.
        torch.OutOfMemoryError: it doesn't fit.
    """
    from peft import PeftModel

    peft_adapter.need_loadable(adapter)
    try:
        both = PeftModel.from_pretrained(model, adapter, local_files_only=True)
        # The base's layers have the adapter in them.
        return (both.merge_and_unload() if merged else both.get_base_model()).eval()
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(tr("The adapter {adapter} can't be used with the model.", adapter=adapter),
                        f"{_first_line(error)}.",
                        tr("Choose the model that it was trained on.")) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300].rstrip(".:")
