"""A model with an adapter in it does the same work for its answers as its base does: the head isn't copied a row."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import gguf_models
from support import tiny_model as tiny
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

from slmstudio.worker.answering import model_loader
from slmstudio.worker.answering.rows import Ask
from slmstudio.worker.answering.torch_model import TorchModel
from slmstudio.worker.training.samples import Samples

VOCABULARY, HIDDEN = 512, 32


@pytest.fixture(scope="module")
def gemma(tmp_path_factory) -> Path:
    """A small Gemma 3: sliding and full attention by turns, head tied to the embeddings."""
    folder = tiny.build(tmp_path_factory.mktemp("gemma") / "gemma3")
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "gemma3_text", vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, sliding_window=16, max_position_embeddings=256,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"], bos_token_id=1, eos_token_id=2,
        pad_token_id=0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


class Work(TorchDispatchMode):
    """Counts what is multiplied with a copy of the head's weight for each row, and all products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.copied, self.products = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in ("linear", "matmul"):  # in inference mode they come whole; what they are made of is looked at
            with self:
                return func.decompose(*args, **(kwargs or {}))
        if name in ("mm", "addmm", "bmm"):
            shapes = [tuple(each.shape) for each in args if isinstance(each, torch.Tensor)]
            self.products.append((name, *shapes))
            self.copied += name == "bmm" and shapes[1][1:] in ((HIDDEN, VOCABULARY), (VOCABULARY, HIDDEN))
        return func(*args, **(kwargs or {}))


def work_of(model: TorchModel) -> Work:
    asks = [Ask(model.encode(text), most=3) for text in ("Who issues the ration card?", "Where?", "How long?")]
    with Work() as work:
        replies = model.run(asks, lambda share: None)
    assert max(len(reply.ids) for reply in replies) == 3 and work.products
    return work


@pytest.mark.parametrize("packed", [False, True], ids=["merged", "beside 4 bits"])
def test_an_adapter_costs_no_more_than_its_base(gemma, tmp_path, packed):
    adapter = gguf_models.adapter_on(gemma, tmp_path / "adapter")
    base = model_loader.load(gemma, torch.float32)
    plain = work_of(TorchModel(base, gemma, 2**28))
    loaded = model_loader.load(gemma, torch.float32, packed=packed)
    held = model_loader.with_adapter(loaded, adapter, merged=not packed)
    assert not any(parameter.requires_grad for parameter in held.get_output_embeddings().parameters())
    tuned = work_of(TorchModel(held, gemma, 2**28))
    assert (plain.copied, tuned.copied) == (0, 0)
    if not packed:
        assert tuned.products == plain.products


def test_a_frozen_base_answers_samples_without_copies_of_its_head(gemma):
    from slmstudio.core.model.chat_template import ChatTemplate
    from slmstudio.core.run.config import RunConfig
    from slmstudio.worker.training.methods import load_tokenizer

    config = RunConfig(name="x", model=str(gemma), train_file="x", sample_prompts=["Where?", "Who is it?"],
                       sample_max_tokens=2)
    model = model_loader.load(gemma, torch.float32).requires_grad_(False)
    samples = Samples(config, load_tokenizer(gemma), ChatTemplate.from_folder(gemma), [])
    with Work() as work:
        samples.take(model)
    assert work.copied == 0 and work.products
    assert not model.get_output_embeddings()._forward_pre_hooks


def test_a_base_that_is_opened_again_has_one_hook(gemma):
    base = model_loader.load(gemma, torch.float32)
    for _ in range(3):
        model = TorchModel(base, gemma, 2**28)
        assert len(base.get_output_embeddings()._forward_pre_hooks) == 1
        model.close()
    assert not base.get_output_embeddings()._forward_pre_hooks
