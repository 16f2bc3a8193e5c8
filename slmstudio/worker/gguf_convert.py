"""Child process of the export: base model, with or without an adapter, into one GGUF file, tensor by tensor.

`python -P -m slmstudio.worker.gguf_convert REQUEST.json`, with the converter's folder first on PYTHONPATH. The request
holds base, adapter (or null), target, ftype ("f16" or "bf16") and name; the report goes to REQUEST's "report" path.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.worker import child


def convert(request: dict[str, Any], report: Callable[..., None]) -> None:
    """Write the GGUF; `report(total_bytes=n)` comes before the first byte is written."""
    import gguf
    import torch
    import transformers
    from conversion import LazyTorchTensor, ModelBase, get_model_architecture, get_model_class
    from conversion.base import ModelType

    from slmstudio.worker import gguf_vocabulary
    from slmstudio.worker.adapter import Adapter

    base = Path(request["base"])
    # The converter asks AutoTokenizer, which gives some models other pre-tokenizers than their tokenizer.json has.
    transformers.AutoTokenizer = transformers.PreTrainedTokenizerFast
    if request["adapter"]:
        _stream_through(Adapter(Path(request["adapter"])), ModelBase, LazyTorchTensor)
    vocabulary = gguf_vocabulary.Vocabulary.of(base)
    _know_more_pre_tokenizers(vocabulary.state)
    ftype = {"f16": gguf.LlamaFileType.MOSTLY_F16, "bf16": gguf.LlamaFileType.MOSTLY_BF16}[request["ftype"]]
    architecture = get_model_architecture(ModelBase.load_hparams(base, False), ModelType.TEXT)
    try:
        model_class = get_model_class(architecture)
    except NotImplementedError as error:
        raise UserError("This model cannot become a GGUF file.", f"llama.cpp's converter does not know {architecture}.",
                        "Serve the Hugging Face folder instead, or choose another base model.") from error
    if architecture.startswith("Phi3") and not vocabulary.has_sentencepiece:
        _read_tokenizer_json(model_class, vocabulary.state["model"])
    with torch.inference_mode():
        model = model_class(base, ftype, Path(request["target"]), model_name=vocabulary.model_name(request["name"]))
        model.prepare_tensors()
        model.prepare_metadata(vocab_only=False)
        values = model.gguf_writer.kv_data[0]
        values.update(vocabulary.corrections(values, gguf))
        tensors = [info for shard in model.gguf_writer.tensors for info in shard.values()]
        report(total_bytes=sum(info.nbytes for info in tensors))
        model.gguf_writer.write_header_to_file(path=model.fname_out)
        model.gguf_writer.write_kv_data_to_file()
        model.gguf_writer.write_tensors_to_file(progress=False)
        model.gguf_writer.close()


def _stream_through(adapter: Any, model_base: Any, lazy: Any) -> None:
    """Let every tensor that the converter reads pass through the adapter, when its turn to be written comes."""
    import torch

    original = model_base.index_tensors

    def index_tensors(self: Any, remote_hf_model_id: str | None = None) -> dict[str, Callable[[], Any]]:
        tensors: dict[str, Callable[[], Any]] = original(self, remote_hf_model_id)
        for name in adapter.targets - tensors.keys():
            if (whole := adapter.replacement(name)) is None:
                raise UserError("The adapter does not belong to this base model.", f"The base has no {name}.",
                                "Choose the base model that the adapter was trained on.")
            tensors[name] = lambda whole=whole: lazy.from_eager(whole)
        return {name: merged(name, load) if name in adapter.targets else load for name, load in tensors.items()}

    def merged(name: str, load: Callable[[], Any]) -> Callable[[], Any]:
        def later() -> Any:
            weight = load()
            meta = lazy.meta_with_dtype_and_shape(torch.float32, tuple(weight.shape))
            return lazy(meta=meta, args=(weight,), func=lambda eager: adapter.apply(name, eager))

        return later

    model_base.index_tensors = index_tensors


def _read_tokenizer_json(model_class: Any, tokenizer_model: dict[str, Any]) -> None:
    """The converter wants Phi-3's tokenizer.model, which transformers 5 no longer writes; tokenizer.json has it all."""
    plain = "_set_vocab_llama_hf" if tokenizer_model.get("byte_fallback") else "_set_vocab_gpt2"
    model_class.set_vocab = getattr(model_class, plain)


def _know_more_pre_tokenizers(tokenizer_state: dict[str, Any]) -> None:
    """The converter knows pre-tokenizers by a hash of one encoded text, so a changed vocabulary is unknown to it.

    Where it gives up, the pre-tokenizer's own spelling decides.
    """
    from conversion import TextModel

    from slmstudio.worker.pre_tokenizers import name_of

    original = TextModel.get_vocab_base_pre

    def get_vocab_base_pre(self: Any, tokenizer: Any) -> str:
        try:
            return str(original(self, tokenizer))
        except NotImplementedError:
            if name := name_of(tokenizer_state["pre_tokenizer"]):
                return name
        raise UserError("This model cannot become a GGUF file.", "llama.cpp has no equal of its pre-tokenizer, so it "
                        "would cut text differently than in training.", "Serve the Hugging Face folder instead.")

    TextModel.get_vocab_base_pre = get_vocab_base_pre


def main(request_file: str) -> int:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    return child.serve(Path(request_file), convert)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
