"""What goes into a GGUF file of a model: its key-value pairs and its tensors' rows, as llama.cpp's converter sees them.

Runs in the converter's own process: its packages `conversion` and `gguf` are on no other path.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.model.export_source import MergedWeights, row_ranges

# -- What is put right in llama.cpp's converter: for what transformers 5 writes otherwise, and for later models.

_INSTEAD = noop("Export a merged folder instead (MERGED), which vLLM serves, or choose another base model.")


def say_as_before(model: Any) -> None:
    """Put values of config.json where the converter looks for them: transformers 5 has moved or renamed them, or writes
    one out that older files left away."""
    config = model.hparams
    rope = model.rope_parameters.get("full_attention", model.rope_parameters)
    config.setdefault("rotary_pct", rope.get("partial_rotary_factor", 1.0))
    config.setdefault("n_ctx", config.get("n_positions"))
    config.setdefault("layernorm_epsilon", config.get("rms_norm_eps", 1e-5))  # GLM
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        config["num_kv_heads"] = 1  # Falcon 7B


def cannot(sentence: str, error: Exception, **values: str) -> UserError:
    traceback.print_exc()
    return UserError(tr("This model can't become a GGUF file."),
                     tr(sentence, reason=f"{type(error).__name__}: {error}", **values), tr(_INSTEAD))


def model_class_of(base: Path, vocabulary: Any) -> Any:
    from conversion import ModelBase, get_model_architecture, get_model_class
    from conversion.base import ModelType

    architecture = get_model_architecture(ModelBase.load_hparams(base, False), ModelType.TEXT)
    try:
        found = _whatever_gguf_lacks(lambda: get_model_class(architecture))
    except NotImplementedError as error:
        raise UserError(tr("This model can't become a GGUF file."),
                        tr("llama.cpp's converter doesn't know {architecture}.", architecture=architecture),
                        tr(_INSTEAD)) from error
    except AttributeError as error:
        raise cannot(noop("llama.cpp's converter can't be used for {architecture}: {reason}."), error,
                     architecture=architecture) from error
    # A class of our own, so that what is changed in it stays out of the converter's.
    model_class = type(found.__name__, (found,), {"model_arch": found.model_arch})
    if architecture == "GraniteMoeHybridForCausalLM":
        _find_attention(model_class, found)
    if architecture.startswith("Gemma3"):
        _keep_all_rows(model_class, found)
    if not vocabulary.has_sentencepiece:
        _read_tokenizer_json(model_class, vocabulary.state["model"], architecture.startswith(("Phi3", "Gemma")))
    return model_class


def _whatever_gguf_lacks(load: Callable[[], Any]) -> Any:
    """Load a module of the converter. Some, such as GLM-4's and Hunyuan's, hold a newer model too, whose architecture
    the converter's own gguf package doesn't have yet; that newer model remains unknown."""
    import gguf

    while True:
        try:
            return load()
        except AttributeError as error:
            kind = error.obj
            if kind not in (gguf.MODEL_ARCH, gguf.MODEL_TENSOR, gguf.MODEL_TENSORS) or error.name is None:
                raise
            setattr(kind, error.name, None)


def _find_attention(model_class: Any, granite: Any) -> None:
    """The converter knows Granite 4's layers of attention by the name that they have on the hub; transformers 5 writes
    another."""
    def get_attn_layers(self: Any) -> Any:
        kinds = self.hparams.get("layer_types") or []
        self.hparams["layer_types"] = ["attention" if kind == "full_attention" else kind for kind in kinds]
        return granite.get_attn_layers(self)

    model_class.get_attn_layers = get_attn_layers


def _keep_all_rows(model_class: Any, gemma3: Any) -> None:
    """The converter cuts Gemma 3's embeddings after the last token; here the vocabulary is filled up to their rows, so
    that they can be passed on a few rows at a time: of 262,144 tokens they are most of a small model."""
    def modify_tensors(self: Any, data_torch: Any, name: str, bid: int | None) -> Iterable[tuple[str, Any]]:
        is_table = name.endswith("embed_tokens.weight")
        return (super(gemma3, self) if is_table else super(model_class, self)).modify_tensors(data_torch, name, bid)

    model_class.modify_tensors = modify_tensors


def _read_tokenizer_json(model_class: Any, tokenizer_model: dict[str, Any], always: bool) -> None:
    """For some families the converter wants tokenizer.model, which transformers 5 no longer writes; tokenizer.json has
    all of it.

    Args:
        always: whether the family's own way doesn't even ask whether the file is there.
    """
    plain = getattr(model_class, "_set_vocab_llama_hf" if tokenizer_model.get("byte_fallback") else "_set_vocab_gpt2")
    own = model_class.set_vocab

    def set_vocab(self: Any) -> None:
        try:
            own(self)
        except FileNotFoundError:
            plain(self)

    model_class.set_vocab = plain if always else set_vocab


def know_more_pre_tokenizers(tokenizer_state: dict[str, Any]) -> None:
    """The converter knows pre-tokenizers by a hash of one encoded text, so a changed vocabulary is unknown to it.

    Where it gives up, the pre-tokenizer's own spelling decides; and where what it names cuts words in Indian scripts
    otherwise, as its "gpt-4o" does for Phi-4 mini, and another doesn't.
    """
    from conversion import TextModel

    from slmstudio.worker.model.gguf_vocabulary import PRE_TOKENIZERS, cuts_alike, name_of, nearest_to

    original = TextModel.get_vocab_base_pre
    own = tokenizer_state["pre_tokenizer"]

    def get_vocab_base_pre(self: Any, tokenizer: Any) -> str:
        try:
            named = str(original(self, tokenizer))
        except NotImplementedError:
            named = ""
        if named and (named not in PRE_TOKENIZERS or cuts_alike(named, own)):
            return named
        model = tokenizer_state["model"]
        if found := name_of(own, bool(model.get("ignore_merges"))) or nearest_to(own, model) or named:
            return found
        raise UserError(tr("This model can't become a GGUF file."),
                        tr("llama.cpp has no equivalent of its pre-tokenizer, so it would split text differently from "
                           "training."), tr("Serve the Hugging Face folder instead."))

    TextModel.get_vocab_base_pre = get_vocab_base_pre


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
