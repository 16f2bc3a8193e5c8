"""What is put right in llama.cpp's converter: for what transformers 5 writes otherwise, and for later models.

Runs in the converter's own process, as gguf_source does.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, tr

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

    from slmstudio.worker.model.pre_tokenizers import PRE_TOKENIZERS, cuts_alike, name_of, nearest_to

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
