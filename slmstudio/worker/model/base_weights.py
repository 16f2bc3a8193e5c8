"""Weights of a model folder, read a few rows at a time: no tensor is ever whole in memory unless it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModelForCausalLM

from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.architecture import summed_up
from slmstudio.core.model.json_files import printable
from slmstudio.core.model.weights import Tensor, read_weights

# -- Loads a base model with all of its weights, or not at all.

REPORT: dict[str, Any] = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""What `from_pretrained` is given so that it reports everything that doesn't fit, instead of raising at the first."""


def load(folder: Path | str, **options: Any) -> Any:
    """A model folder in memory. Safetensors only, and no code from the folder.

    Raises:
        UserError: weights are missing, or have shapes that differ from config.json; or transformers can't make a model
            of the folder.
    """
    with in_words(folder):
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, local_files_only=True, **REPORT, **options)
    need_all(report, Path(folder).name)
    return model


@contextmanager
def in_words(folder: Path | str) -> Iterator[None]:
    """Whatever transformers finds wrong with a folder's settings becomes a sentence: the folder may be anybody's.

    Raises:
        UserError: it found something.
    """
    try:
        yield
    except (StrictDataclassError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
            AssertionError) as error:
        said = printable(" ".join(str(error).split()).rstrip("."), 300)
        raise UserError(tr("{name} can't be loaded.", name=Path(folder).name),
                        tr("transformers says: {message}",
                           message=f"{type(error).__name__}: {said}." if said else f"{type(error).__name__}."),
                        tr("Put the model's own files in their place, or choose another model.")) from error


def need_numbers(model: Any, name: str) -> None:
    """Refuse weights with NaN or infinity among them, which make a loss of NaN. A sum has them where a part has.

    Raises:
        UserError: naming all tensors concerned.
    """
    with torch.no_grad():
        broken = [key for key, tensor in model.named_parameters() if tensor.is_floating_point()
                  and tensor.device.type != "meta" and not torch.isfinite(tensor.sum(dtype=torch.float32))]
    if broken:
        raise UserError(tr("{name} can't be used: some of its weights aren't numbers.", name=name),
                        tr("NaN or infinity was found in {names}.", names=summed_up(broken)),
                        tr("Download the model again."))


def need_all(report: Mapping[str, Any], name: str) -> None:
    """Refuse a model that isn't wholly what its files hold.

    Args:
        report: what `from_pretrained` returns beside the model when it is given `REPORT`.

    Raises:
        UserError: naming all tensors concerned.
    """
    missing, unknown = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    other = sorted(key for key, *_ in report["mismatched_keys"])
    why = []
    if missing:
        why.append(tr("Tensors missing from its weights: {names}. Random numbers would be used instead.",
                      names=summed_up(missing)))
    if other:
        why.append(tr("Tensors that don't have the shape that config.json says: {names}.", names=summed_up(other)))
    if why and unknown:
        why.append(tr("Its files contain tensors that the model doesn't have: {names}.", names=summed_up(unknown)))
    if why:
        raise UserError(tr("{name} can't be used: its weights aren't complete.", name=name), " ".join(why),
                        tr("Put the model's own files in their place, or choose another model."))


# -- Which tensor on the disk is which of the model's, as transformers itself tells it when it loads a folder.


class DiskNames:
    """The tensors on the disk by the names of the model's parameters.

    Attributes:
        plain: parameter: name on the disk, of those that are stored unchanged.
        joined: parameter: names on the disk, of those that transformers joins when it loads them.
    """

    def __init__(self, model: Any, on_disk: Iterable[str]):
        """
        Args:
            model: transformers' model; its weights aren't looked at.
            on_disk: names of the tensors in the folder.
        """
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

        steps = get_model_conversion_mapping(model)
        renamings = [step for step in steps if isinstance(step, WeightRenaming)]
        self._model = model
        self._converters = {pattern: step for step in steps if isinstance(step, WeightConverter)
                            for pattern in step.source_patterns}
        converters = list(dict.fromkeys(self._converters.values()))
        known = model.state_dict()
        self.plain: dict[str, str] = {}
        self.joined: dict[str, list[str]] = {}
        self._patterns: dict[str, str] = {}
        for name in on_disk:
            parameter, pattern = rename_source_key(name, renamings, converters, model.base_model_prefix, known)
            if pattern is None or parameter == name:
                self.plain[parameter] = name
            else:
                self.joined.setdefault(parameter, []).append(name)
                self._patterns[name] = pattern

    def join(self, parameter: str, read: Callable[[str], torch.Tensor]) -> torch.Tensor:
        """Put one of `joined` together from its parts, in transformers' own way."""
        from transformers.core_model_loading import dot_natural_key

        names = sorted(self.joined[parameter], key=dot_natural_key)
        converter = deepcopy(self._converters[self._patterns[names[0]]])
        for name in names:
            converter.add_tensor(parameter, name, self._patterns[name], read(name))  # type: ignore[arg-type]
        made = converter.convert(parameter, model=self._model, config=self._model.config)[parameter]
        return made[0] if isinstance(made, list) else made


def names_on_disk(base: Path, on_disk: Iterable[str]) -> dict[str, str]:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return DiskNames(model, on_disk).plain


Array = np.ndarray[Any, np.dtype[np.float32]]
_NUMPY = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
_STATE = "quant_state.bitsandbytes__"
_BESIDE = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")


class BaseWeights:
    """All tensors of a folder of safetensors, as float32.

    Files are read, not mapped: mapped pages count as this process's memory. A tensor that bitsandbytes packed in 4 bits
    has its plain name and shape here, and is unpacked as a whole when its first row is asked for.

    Attributes:
        tensors: name: number format and shape on the disk, without what is beside packed tensors.
        packed: names of the 4-bit tensors.

    Raises:
        UserError: a file is missing or damaged.
    """

    def __init__(self, folder: Path):
        problems: list[Problem] = []
        found = read_weights(folder, problems)
        if found is None:
            raise UserError(tr("The weights of {folder} can't be read.", folder=folder.name), problems=tuple(problems))
        self._every = every = found.tensors
        self.packed = {name: shape for name in every if (shape := self._packed_shape(name)) is not None}
        self._latest: tuple[str, Array] = ("", np.empty(0, np.float32))
        beside = tuple(f"{name}." for name in self.packed)
        self.tensors = {name: tensor for name, tensor in every.items() if not (beside and name.startswith(beside))}

    def shape(self, name: str) -> tuple[int, ...]:
        return self.packed.get(name) or self.tensors[name].shape

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Rows of a tensor, float32 (stop - start, ...). A vector is one row of itself."""
        if name in self.packed:
            return self._unpacked(name)[start:stop]
        tensor = self.tensors[name]
        shape = tensor.shape if len(tensor.shape) > 1 else (1, *tensor.shape)
        row = int(np.prod(shape[1:]))
        values = self._values(name, tensor, start * row, (stop - start) * row)
        return values.reshape((stop - start, *shape[1:]))

    def whole(self, name: str) -> Array:
        """A tensor in its own shape, float32."""
        shape = self.shape(name)
        return self.rows(name, 0, shape[0] if len(shape) > 1 else 1).reshape(shape)

    def _values(self, name: str, tensor: Tensor, first: int, count: int) -> Array:
        if tensor.dtype == "BF16":
            raw = self._raw(tensor, np.uint16, first, count)
            return (raw.astype(np.uint32) << 16).view(np.float32)
        if tensor.dtype not in _NUMPY:
            raise UserError(tr("The tensor {tensor} can't be read.", tensor=name),
                            tr("Its number format is {format}.", format=tensor.dtype),
                            tr("Use the same model with plain bf16, fp16 or fp32 weights."))
        return self._raw(tensor, _NUMPY[tensor.dtype], first, count).astype(np.float32, copy=False)

    def _raw(self, tensor: Tensor, dtype: Any, first: int, count: int) -> np.ndarray[Any, Any]:
        size = np.dtype(dtype).itemsize
        values = np.fromfile(tensor.file, dtype, count, offset=tensor.offset + first * size)
        if values.size != count:
            raise UserError(tr("{file} ends before its last tensor.", file=tensor.file.name),
                            tr("It changed while it was read."), tr("Download or copy the model again."))
        return values

    def _packed_shape(self, name: str) -> tuple[int, ...] | None:
        if self._every[name].dtype != "U8" or f"{name}.absmax" not in self._every:
            return None
        return tuple(self._state(name)["shape"])

    def _state(self, name: str) -> dict[str, Any]:
        """The JSON that bitsandbytes stores as bytes beside a packed tensor."""
        key = next(key for key in self._every if key.startswith(f"{name}.{_STATE}"))
        tensor = self._every[key]
        state: dict[str, Any] = json.loads(self._raw(tensor, np.uint8, 0, tensor.values).tobytes())
        return state

    def _unpacked(self, name: str) -> Array:
        """The latest one is kept: its rows are asked for in parts."""
        if self._latest[0] != name:
            self._latest = name, self._unpack(name)
        return self._latest[1]

    def _unpack(self, name: str) -> Array:
        import torch
        from bitsandbytes import functional

        parts: dict[str, torch.Tensor] = {}
        formats = {"U8": np.uint8, "F32": np.float32, "F16": np.float16}
        for key, tensor in self._every.items():
            ending = key.removeprefix(f"{name}.")
            if key.startswith(f"{name}.") and (ending in _BESIDE or ending.startswith("quant_state.")):
                raw = self._raw(tensor, formats[tensor.dtype], 0, tensor.values)
                parts[ending] = torch.from_numpy(raw).reshape(tensor.shape)
        state = functional.QuantState.from_dict(parts, device=torch.device("cpu"))
        data = torch.from_numpy(self._raw(self._every[name], np.uint8, 0, self._every[name].values))
        weight: Array = functional.dequantize_4bit(data.reshape(-1, 1), state).float().numpy()
        return weight
