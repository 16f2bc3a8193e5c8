"""Applies a PEFT adapter to base weights one tensor at a time, so that no merged model is ever in memory or on disk."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.peft_adapter import need_loadable, of_pattern

PREFIX = "base_model.model."
LORA_A, LORA_B, MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"
_UNKNOWN_HERE = (
    "layer_replication", "trainable_token_indices", "alora_invocation_tokens", "use_qalora")


class Adapter:
    """A LoRA adapter as PEFT writes it: adapter_config.json and adapter_model.safetensors.

    W' = W + scale · B A, with scale = alpha / r, or alpha / sqrt(r) for rank-stabilised LoRA (Kalajdzievski 2023).
    DoRA (Liu et al. 2024) scales each row of W' to its learned magnitude. Layers that were trained whole
    (`modules_to_save`) replace the base's.

    Raises:
        UserError: it isn't a LoRA adapter, or uses what isn't known here.
    """

    def __init__(self, folder: Path):
        self.name = folder.name
        self._config = _read_config(folder)
        need_loadable(folder)
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
            tensors = {name.removeprefix(PREFIX): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self._lora: dict[str, dict[str, torch.Tensor]] = {}
        self._replaced: dict[str, torch.Tensor] = {}
        for name, tensor in tensors.items():
            for ending in (LORA_A, LORA_B, MAGNITUDE):
                if name.endswith(ending):
                    self._lora.setdefault(name.removesuffix(ending) + ".weight", {})[ending] = tensor.float()
                    break
            else:
                if ".lora_" in name:
                    raise UserError(tr("The adapter can't be merged."),
                                    tr("{tensor} is of an unsupported kind.", tensor=name),
                                    tr("Train with LoRA on linear layers."))
                self._replaced[name] = tensor.float()
        self._scales = {name: self._scale(name) for name in self._lora}

    @property
    def targets(self) -> frozenset[str]:
        """Names of the base tensors that this adapter changes or replaces."""
        return frozenset(self._lora) | frozenset(self._replaced)

    def rename(self, names: Mapping[str, str]) -> None:
        """Call the tensors as the base's files do, where those differ from the modules' names, which PEFT writes."""
        self._lora = {names.get(name, name): parts for name, parts in self._lora.items()}
        self._replaced = {names.get(name, name): tensor for name, tensor in self._replaced.items()}
        self._scales = {names.get(name, name): scale for name, scale in self._scales.items()}

    def apply(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """The merged tensor in float32; `weight` itself in float32 where the adapter leaves it alone."""
        if name in self._replaced:
            return self._replaced[name]
        if name not in self._lora:
            return weight.float()
        return self.rows(name, weight, 0, weight.shape[0])

    def rows(self, name: str, weight: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Rows of a merged tensor that LoRA changes, float32; every row is merged by itself.

        Args:
            weight: the base's rows from `start` to `stop`.
        """
        parts = self._lora[name]
        if self._config.get("fan_in_fan_out"):
            update = parts[LORA_A][:, start:stop].T @ parts[LORA_B].T
        else:
            update = parts[LORA_B][start:stop] @ parts[LORA_A]
        merged = weight.float() + self.scale(name) * update
        if MAGNITUDE in parts:
            merged *= (parts[MAGNITUDE][start:stop] / torch.linalg.norm(merged, dim=1))[:, None]
        return merged

    def scale(self, name: str) -> float:
        """What B · A is multiplied by in this tensor."""
        return self._scales[name]

    def _scale(self, name: str) -> float:
        rank = self._lora[name][LORA_A].shape[0]
        layer = name.removesuffix(".weight")
        alpha = float(of_pattern(self._config.get("alpha_pattern"), layer, self._config["lora_alpha"]))
        return alpha / math.sqrt(rank) if self._config.get("use_rslora") else alpha / rank

    def low_rank(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Name: A (rank, in) and B (out, rank) of every tensor that LoRA changes, float32.

        Raises:
            UserError: the adapter does more than add B · A.
        """
        if self._replaced or any(MAGNITUDE in parts for parts in self._lora.values()):
            raise UserError(tr("This adapter can't become a GGUF LoRA."),
                            tr("It contains whole layers. A GGUF LoRA only adds products of two small matrices.")
                            if self._replaced else
                            tr("It's a DoRA adapter. A GGUF LoRA only adds products of two small matrices."),
                            tr("Export a whole model, for instance as Q8_0."))
        return {name: (parts[LORA_A], parts[LORA_B]) for name, parts in self._lora.items()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name: shape that the base's tensor must have."""
        found = {name: tuple(tensor.shape) for name, tensor in self._replaced.items()}
        for name, parts in self._lora.items():
            shape = (parts[LORA_B].shape[0], parts[LORA_A].shape[1])
            found[name] = shape[::-1] if self._config.get("fan_in_fan_out") else shape
        return found

    def replacement(self, name: str) -> torch.Tensor | None:
        """A tensor that was trained whole; the base may not even have it, as with a head untied from the embeddings."""
        return self._replaced.get(name)


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(files.read_text(folder / "adapter_config.json"))
    except (OSError, ValueError) as error:
        raise UserError(tr("The adapter {folder} can't be read.", folder=folder), f"adapter_config.json: {error}.",
                        tr("Choose a run that has finished, or resume it.")) from error
    if not (folder / "adapter_model.safetensors").is_file():
        raise UserError(tr("The adapter {folder} can't be read.", folder=folder),
                        tr("{file} is missing.", file="adapter_model.safetensors"),
                        tr("Choose a run that has finished, or resume it."))
    unknown = [name for name in _UNKNOWN_HERE if config.get(name)]
    if config.get("peft_type") != "LORA" or unknown:
        why = (tr("It uses {settings}.", settings=", ".join(unknown)) if unknown else
               tr("It is an adapter of type {kind!r}.", kind=config.get("peft_type")))
        raise UserError(tr("The adapter can't be merged."), why,
                        tr("Only plain LoRA, rank-stabilised LoRA and DoRA can be merged."))
    return config
