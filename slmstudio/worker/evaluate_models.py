"""Loads what is evaluated: model folders, adapters on them, GGUF files. A base that several share is loaded once."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoModelForCausalLM

from slmstudio.core.errors import UserError
from slmstudio.worker.context import JobContext
from slmstudio.worker.evaluate_rows import Model, cache_budget
from slmstudio.worker.evaluate_torch import TorchModel
from slmstudio.worker.methods import DTYPES

BUDGET = "batches.json"


class Models:
    """Opens one model at a time.

    Args:
        job: of the evaluation; says in which number format models compute.
    """

    def __init__(self, job: JobContext):
        self._job = job
        self._dtype = DTYPES[job.request.get("precision") or "fp32"]
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._base: tuple[Path, Any] | None = None
        self._open: Model | None = None

    def open(self, spec: dict[str, Any]) -> Model:
        """Load one of the request's models; the one before is closed.

        Raises:
            UserError: it cannot be loaded.
        """
        self.close()
        if spec.get("gguf"):
            from slmstudio.worker.evaluate_llama import LlamaModel

            self._forget()
            self._open = LlamaModel(Path(spec["gguf"]), self._budget())
        else:
            folder = Path(spec["model"])
            model = self._load(folder)
            if spec.get("adapter"):
                self._base = None  # it is merged into these very weights
                model = merge(model, Path(spec["adapter"]))
            self._open = TorchModel(model, folder, self._budget())
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _load(self, folder: Path) -> Any:
        if self._base and self._base[0] == folder:
            return self._base[1]
        self._forget()
        model = load(folder, self._dtype).to(self._device)
        self._base = folder, model
        return model

    def _forget(self) -> None:
        """Free the weights before others are loaded."""
        self._base = None
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def _budget(self) -> int:
        free = torch.cuda.mem_get_info()[0] if self._device == "cuda" else psutil.virtual_memory().available
        return cache_budget(free, self._job.folder / BUDGET)


def load(folder: Path, dtype: torch.dtype) -> Any:
    """A model folder in memory, to be read from only.

    Raises:
        UserError: it is none, or damaged.
    """
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(f"The model {folder.name} cannot be loaded.", f"{_said(error)}.",
                        "Choose a whole model folder, or download it again.") from error


def merge(model: Any, adapter: Path) -> Any:
    """Put an adapter into the weights of its base, which are changed by it.

    Raises:
        UserError: it is no adapter, or belongs to another base model.
    """
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, adapter, local_files_only=True).merge_and_unload().eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(f"The adapter {adapter} cannot be put onto the model.", f"{_said(error)}.",
                        "Choose the model that it was trained on.") from error


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300].rstrip(".:")
