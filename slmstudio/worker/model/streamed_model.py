"""A fine-tuned model run in float32 with one layer's base weights in memory at a time.

transformers and PEFT build it as always; only where the base's weights come from is different: each module reads its
own just before it works, and drops them afterwards. So an 8B model needs a few gigabytes, and what PEFT makes of the
adapter stays independent of the export's own merging.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slmstudio.core.i18n import tr
from slmstudio.core.model.peft_adapter import need_loadable, of_another_base
from slmstudio.core.model.weights import read_header
from slmstudio.worker.model.base_weights import Array, BaseWeights, DiskNames

CHUNK_VALUES = 4 * 2**20
"""Weights that are read at a time: 16 MB of float32, and 24 MB on the way to it."""
After = Callable[[str, Any, Any], None]
"""Called with a base tensor's name, the module that uses it and the linear layer inside, while its weights are here."""


class NotStreamable(Exception):
    """The files have the weights in another layout than the modules, so that no module finds its own."""


class StreamedModel:
    """A base model with or without an adapter.

    Attributes:
        weights: the base's, from the disk; 4-bit ones are unpacked.

    Raises:
        UserError: the weights can't be read, or the adapter is of another base.
        NotStreamable: see there.
    """

    def __init__(self, base: Path, adapter: Path | None):
        from accelerate import init_empty_weights
        from transformers import AutoConfig, AutoModelForCausalLM

        self.weights = BaseWeights(base)
        self.config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
        if hasattr(self.config, "quantization_config"):
            del self.config.quantization_config  # the weights come unpacked
        with init_empty_weights(include_buffers=False):
            model = AutoModelForCausalLM.from_config(self.config, dtype=torch.float32, trust_remote_code=False)
        self._names = DiskNames(model, self.weights.tensors)
        self._embedding, self._head = model.get_input_embeddings(), model.get_output_embeddings()
        names = {id(module): name for name, module in model.named_modules()}
        self._embedding_name, self._head_name = names[id(self._embedding)], names[id(self._head)]
        self._owned = self._find_owned(model)
        self._hide()
        self._model = _with_adapter(model, adapter) if adapter is not None else model
        self._model.eval().float()  # what was trained whole is stored in bf16
        self._plain = self._model.get_base_model() if adapter is not None else self._model
        self._after: After | None = None
        self._install()

    def logits(self, rows: list[list[int]], wanted: list[tuple[int, int]], after: After | None = None) -> Array:
        """Logits of the next token, in float32.

        Args:
            rows: token ids. Shorter rows are filled up at their end, which nothing before it can see.
            wanted: (row, position) of every logit vector to be computed; the head works for these alone.

        Returns:
            (wanted, vocabulary).
        """
        longest = max(map(len, rows))
        ids = torch.tensor([row + row[-1:] * (longest - len(row)) for row in rows])
        index = tuple(torch.tensor(part) for part in zip(*wanted, strict=True))
        head = self._plain.get_submodule(self._head_name)
        hook = head.register_forward_pre_hook(lambda module, given: (given[0][index][None],))
        self._after = after
        try:
            with torch.inference_mode():
                logits: Array = self._model(input_ids=ids, use_cache=False).logits[0].float().numpy()
        finally:
            self._after = None
            hook.remove()
        return logits

    def table(self, head: bool) -> tuple[tuple[int, ...], Callable[[int, int], Array]]:
        """Shape of the token embeddings or of the head as trained, and a call that gives rows of it."""
        outer = self._plain.get_submodule(self._head_name if head else self._embedding_name)
        inner, name = (self._head, self._head_name) if head else (self._embedding, self._embedding_name)
        trained = getattr(outer, "modules_to_save", None)
        if trained is not None:
            weight = next(iter(trained.values())).weight.detach()
            return tuple(weight.shape), lambda start, stop: weight[start:stop].float().numpy()
        name = self._owned[inner]["weight"]
        if outer is inner:
            return self.weights.shape(name), lambda start, stop: self.weights.rows(name, start, stop)
        key = outer.active_adapters[0]
        first, second = outer.lora_A[key].weight.detach(), outer.lora_B[key].weight.detach() * outer.scaling[key]
        return self.weights.shape(name), lambda start, stop: (
            self.weights.rows(name, start, stop) + (second[start:stop] @ first).numpy())

    @property
    def linear_layers(self) -> int:
        """For how many modules `After` is called."""
        return sum(type(module) is torch.nn.Linear and module is not self._head for module in self._owned)

    def linear_modules(self) -> list[tuple[str, Any]]:
        """Base tensor's name and the base's own linear layer, for each of them but the head."""
        return [(names["weight"], module) for module, names in self._owned.items()
                if type(module) is torch.nn.Linear and module is not self._head]

    @property
    def layer_parameters(self) -> int:
        """Weights that work at every token: all but the embeddings and the head."""
        ends = {*self._owned[self._embedding].values(), *self._owned[self._head].values()}
        names = {name for own in self._owned.values() for name in own.values()} - ends
        parts = [part for name in names for part in self._names.joined.get(name, [name])]
        return sum(int(np.prod(self.weights.shape(part))) for part in parts)

    @property
    def tied(self) -> bool:
        """Whether the head is the embeddings, before and after training."""
        outer = [self._plain.get_submodule(name) for name in (self._embedding_name, self._head_name)]
        same = self._owned[self._embedding]["weight"] == self._owned[self._head]["weight"]
        return same and outer == [self._embedding, self._head]

    # -- where the weights come from -------------------------------------------------------------------------

    def _find_owned(self, model: Any) -> dict[Any, dict[str, str]]:
        """For every module with parameters of its own: parameter name and name of the tensor on the disk."""
        owned = {module: {key: self._on_disk(f"{name}.{key}") for key in module._parameters
                          if module._parameters[key] is not None}
                 for name, module in model.named_modules()}
        return {module: names for module, names in owned.items() if names}

    def _on_disk(self, name: str) -> str:
        tied = f"{self._embedding_name}.weight" if name == f"{self._head_name}.weight" else name
        for candidate in (name, tied):
            if candidate in self._names.joined:
                return candidate
            if candidate in self._names.plain:
                return self._names.plain[candidate]
        raise NotStreamable(f"the model's files have no {name}")

    def _hide(self) -> None:
        """Put a single zero in the shape of each weight. Not torch's meta device: PEFT would send the adapter there."""
        for module, names in self._owned.items():
            for key in names:
                shape = module._parameters[key].shape
                module._parameters[key] = torch.nn.Parameter(torch.zeros(1).expand(shape), requires_grad=False)
        self._embedding.padding_idx = None  # its table will hold the rows that are needed, no other

    def _install(self) -> None:
        """Each module reads its weights before it works. DoRA asks for them one level further out."""
        outside = {}
        if self._model is not self._plain:
            from peft.tuners.tuners_utils import BaseTunerLayer

            outside = {id(layer.get_base_layer()): layer for layer in self._model.modules()
                       if isinstance(layer, BaseTunerLayer)}
        users = {id(child): parent for parent in self._model.modules() for child in parent.children()}
        for module, names in self._owned.items():
            outer = outside.get(id(module), module)
            if type(module) is torch.nn.Conv1d:
                outer = users[id(module)]  # LFM2 and Mamba compute with its weights without calling it
            if module is self._embedding and outer is module:
                self._stream_embedding(names["weight"])
            elif (module is self._head and type(module) is torch.nn.Linear
                  and not any(getattr(outer, "use_dora", {}).values())):
                module.forward = self._head_in_chunks(names)
            else:
                self._stream(module, outer, names)

    def _stream(self, module: Any, outer: Any, names: dict[str, str]) -> None:
        hidden = {key: module._parameters[key] for key in names}

        def load(*_: Any) -> None:
            for key, name in names.items():
                module._parameters[key] = torch.nn.Parameter(torch.from_numpy(self._whole(name)), requires_grad=False)

        def drop(*_: Any) -> None:
            if self._after is not None and type(module) is torch.nn.Linear:
                self._after(names["weight"], outer, module)
            module._parameters.update(hidden)

        outer.register_forward_pre_hook(load)
        outer.register_forward_hook(drop)

    def _stream_embedding(self, name: str) -> None:
        """Only the rows of the tokens that occur, and the ids as places among them."""
        hidden = self._embedding._parameters["weight"]

        def load(module: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
            used, places = torch.unique(given[0], return_inverse=True)
            rows = np.concatenate([self.weights.rows(name, row, row + 1) for row in used.tolist()])
            module._parameters["weight"] = torch.nn.Parameter(torch.from_numpy(rows), requires_grad=False)
            return (places, *given[1:])

        self._embedding.register_forward_pre_hook(load)
        self._embedding.register_forward_hook(lambda module, *_: module._parameters.update(weight=hidden))

    def _head_in_chunks(self, names: dict[str, str]) -> Callable[[torch.Tensor], torch.Tensor]:
        name = names["weight"]
        count, width = self.weights.shape(name)
        step = max(1, CHUNK_VALUES // width)

        def forward(hidden: torch.Tensor) -> torch.Tensor:
            out = torch.empty(*hidden.shape[:-1], count)
            for start in range(0, count, step):
                rows = torch.from_numpy(self.weights.rows(name, start, min(count, start + step)))
                out[..., start:start + len(rows)] = hidden @ rows.T
            if "bias" in names:
                out += torch.from_numpy(self.weights.whole(names["bias"]))
            return out

        return forward

    def _whole(self, name: str) -> Array:
        """A tensor in its own shape, read in parts: on the way to float32 it takes more than twice the room."""
        if name in self._names.joined:
            return self._names.join(name, lambda part: torch.from_numpy(self._whole(part))).numpy()
        shape = self.weights.shape(name)
        if len(shape) < 2 or name in self.weights.packed:
            return self.weights.whole(name)
        whole = np.empty(shape, np.float32)
        step = max(1, CHUNK_VALUES // max(1, int(np.prod(shape[1:]))))
        for start in range(0, shape[0], step):
            whole[start:start + step] = self.weights.rows(name, start, min(shape[0], start + step))
        return whole


def _with_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel, get_peft_model_state_dict

    need_loadable(adapter)
    try:
        tuned = PeftModel.from_pretrained(model, adapter, local_files_only=True, low_cpu_mem_usage=True,
                                          torch_device="cpu")
    except (RuntimeError, KeyError, ValueError) as error:
        raise of_another_base(tr("PEFT says: {message}", message=str(error)[:300])) from error
    # PEFT passes over what finds no place in the model.
    stored = {name for name in read_header(adapter / "adapter_model.safetensors") if ".lora_" in name}
    if lost := stored - get_peft_model_state_dict(tuned, save_embedding_layers=False).keys():
        raise of_another_base(tr("The base has no place for {tensor}.", tensor=min(lost)))
    return tuned
