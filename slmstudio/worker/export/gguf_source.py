"""What goes into a GGUF file of a model: its key-value pairs and its tensors' rows, as llama.cpp's converter sees them.

Runs in the converter's own process: its packages `conversion` and `gguf` are on no other path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core.i18n import noop
from slmstudio.worker.export.converter_fixes import cannot, know_more_pre_tokenizers, model_class_of, say_as_before
from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.model.merged_weights import MergedWeights, row_ranges

_OF_THE_CONVERTER = (KeyError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError, FileNotFoundError)
"""What the converter raises where a configuration or a tensor isn't as it expects."""


@dataclass
class GgufTensor:
    """One tensor of the file.

    Attributes:
        shape: rows first, as in torch.
        plain: the base tensor's name where its rows are taken as they are; None if the converter rearranges them.
        origin: the base tensor that it is made of; None if the converter made it up.
        load: the whole tensor, where it isn't plain; it can be asked for once.
    """

    name: str
    shape: tuple[int, ...]
    plain: str | None
    origin: str | None
    load: Callable[[], Array] = field(repr=False)

    @property
    def width(self) -> int:
        return self.shape[-1]

    @property
    def row_count(self) -> int:
        return math.prod(self.shape[:-1])

    def chunks(self, weights: MergedWeights) -> Iterator[Callable[[], Array]]:
        """Calls that each give the next rows, float32 (rows, width); they may run in any thread."""
        if self.plain is not None:
            # A tensor of experts has three dimensions, and is read expert by expert.
            count = self.shape[0] if len(self.shape) > 2 else self.row_count
            for start, stop in row_ranges(count, math.prod(self.shape) // count):
                yield lambda start=start, stop=stop: weights.rows(  # type: ignore[misc]
                    self.plain or "", start, stop).reshape(-1, self.width)
            return
        whole = self.load().reshape(self.row_count, self.width)
        for start, stop in row_ranges(self.row_count, self.width):
            yield lambda start=start, stop=stop: whole[start:stop]  # type: ignore[misc]


@dataclass
class GgufSource:
    """A model as the converter sees it.

    Attributes:
        values: key-value pairs of the file, as the converter's `gguf` package holds them.
        lora: `modify(name, B) -> (GGUF name, B)` rearranges an adapter's B as its tensor's rows are.
    """

    architecture: str
    values: dict[str, Any]
    tensors: list[GgufTensor]
    weights: MergedWeights
    modify: Callable[[str, Any], tuple[str, Any]]


def read(base: Path, adapter: Path | None, name: str) -> GgufSource:
    """
    Args:
        name: the model's, written into the file.

    Raises:
        UserError: llama.cpp has no equal of the architecture or of the pre-tokenizer, or the adapter doesn't fit.
    """
    import gguf
    import torch
    import transformers

    from slmstudio.worker.model import gguf_vocabulary

    # The converter asks AutoTokenizer, which gives some models a pre-tokenizer that isn't tokenizer.json's.
    transformers.AutoTokenizer = transformers.PreTrainedTokenizerFast
    weights = MergedWeights(base, adapter)
    vocabulary = gguf_vocabulary.Vocabulary.of(base, adapter)
    know_more_pre_tokenizers(vocabulary.state)
    model_class = model_class_of(base, vocabulary)
    plain, origins = _through(model_class, weights)
    try:
        with torch.inference_mode():
            model = model_class(base, gguf.LlamaFileType.ALL_F32, Path("none"), model_name=vocabulary.model_name(name))
            model.hparams.pop("quantization_config", None)  # the weights come unpacked
            say_as_before(model)
            model.prepare_tensors()
            model.prepare_metadata(vocab_only=False)
    except _OF_THE_CONVERTER as error:
        raise cannot(noop("llama.cpp's converter can't read this variant of the architecture: {reason}."),
                     error) from error
    values = dict(model.gguf_writer.kv_data[0])
    tensors = [GgufTensor(key, tuple(info.shape), plain.get(key), origins.get(key),
                          _loader(info.tensor))
               for shard in model.gguf_writer.tensors for key, info in shard.items()]
    rows = next((tensor.shape[0] for tensor in tensors if tensor.name == "token_embd.weight"), 0)
    values.update(vocabulary.corrections(values, gguf, rows))
    return GgufSource(model.gguf_writer.arch, values, tensors, weights, _modifier(model))


def _through(model_class: Any, weights: MergedWeights) -> tuple[dict[str, str], dict[str, str]]:
    """Let every tensor that the converter reads come from `weights`, when its turn to be written comes.

    Returns:
        GGUF name: base name, of the tensors that the converter passes on as they are, and of all of them. Filled while
        it works.
    """
    import torch
    from conversion import LazyTorchTensor, ModelBase

    plain: dict[str, str] = {}
    origins: dict[str, str] = {}
    original = model_class.modify_tensors

    def lazy(name: str) -> Any:
        meta = LazyTorchTensor.meta_with_dtype_and_shape(torch.float32, weights.shape(name))
        tensor = LazyTorchTensor(meta=meta, args=(name,), func=lambda key: torch.from_numpy(weights.whole(key)))
        tensor.base_name = name
        return tensor

    def index_tensors(self: Any, remote_hf_model_id: str | None = None) -> dict[str, Callable[[], Any]]:
        found = (self.filter_tensors((name, lambda name=name: lazy(name))) for name in weights.names)
        return dict(item for item in found if item is not None)

    def modify_tensors(self: Any, data_torch: Any, name: str, bid: int | None) -> Iterable[tuple[str, Any]]:
        base_name = getattr(data_torch, "base_name", None)
        for new_name, tensor in original(self, data_torch, name, bid):
            if base_name is not None:
                origins[new_name] = base_name
                if tensor is data_torch:
                    plain[new_name] = base_name
            yield new_name, tensor

    ModelBase.index_tensors = index_tensors  # some families' own, as Qwen 3.5's, do more around it
    ModelBase.no_mtp = True  # layers that draft several tokens at once: nothing trains them here
    model_class.modify_tensors = modify_tensors
    return plain, origins


def _loader(tensor: Any) -> Callable[[], Array]:
    """The whole tensor, once: the converter's lazy tensors keep what they computed, so it is released."""
    import gguf

    held = [tensor]
    return lambda: np.asarray(gguf.LazyNumpyTensor.to_eager(held.pop()), np.float32)


def _modifier(model: Any) -> Callable[[str, Any], tuple[str, Any]]:
    def modify(name: str, tensor: Any) -> tuple[str, Any]:
        if item := model.filter_tensors((name, lambda: tensor)):  # takes away what a model that also sees has in front
            name = item[0]
        block = next((int(part) for part in name.split(".") if part.isdecimal()), None)
        [(new_name, changed)] = list(model.modify_tensors(tensor, name, block))
        return new_name, changed

    return modify
