"""One training step as a run makes it, on fake tensors or real ones, with the bytes that are alive in each phase.

Fake tensors have shapes and storages and no numbers, so an 8-billion-parameter model takes seconds and no memory. They
lie on the device "cpu": without CUDA's libraries PyTorch can't differentiate on a fake "cuda". What a GPU does
otherwise is put in its place: FlashAttention's kernel in bf16 without a mask and the memory-efficient one otherwise,
with keys repeated to all heads, the chunks of the head's loss, AdamW's foreach form, and for QLoRA a layer that holds
half a byte a weight (and 1/64 + 1/4096 bytes for the constants) and unpacks the whole weight in its backward pass
only, as bitsandbytes' Linear4bit does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from support.live_bytes import LiveBytes
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.kernels import fast_layers, joined_linear, packed
from slmstudio.worker.kernels import head_loss as head_module
from slmstudio.worker.kernels.head_loss import head_loss
from slmstudio.worker.training import methods

CUDA_BLOCK = 512


@dataclasses.dataclass(frozen=True)
class Phases:
    """Bytes alive: held before the step, kept by the forward pass, and the most in each phase."""

    held: int
    kept: int
    forward: int
    backward: int
    step: int
    evaluation: int

    @property
    def peak(self) -> int:
        return max(self.forward, self.backward, self.step, self.evaluation)


def measure(facts: ModelFacts, config: RunConfig, device: str, fake: bool = True, learned: float = 1.0,
            rows: list[int] | None = None) -> Phases:
    """One step and an evaluation of a model with the sizes of `facts`.

    Args:
        device: "cuda" or "cpu": whose kernels run.
        fake: without numbers; the processor's own kernels need real tensors.
        learned: share of the tokens that are learned.
        rows: lengths of the rows; all of the full length by default.
    """
    with contextlib.ExitStack() as stack:
        if fake:
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        live = stack.enter_context(LiveBytes(CUDA_BLOCK if device == "cuda" else 1))
        model = build(facts, config, device)
        lengths = rows or [config.max_length] * config.micro_batch_size
        if device == "cuda":
            stack.enter_context(_as_on_a_gpu())
        stack.enter_context(_masks(model, config, lengths))
        return _step(model, config, device, lengths, learned, live)


def build(facts: ModelFacts, config: RunConfig, device: str) -> Any:
    """The model with its adapter as worker/training holds it, with random weights."""
    import transformers
    from peft import get_peft_model

    packed.register()
    name = packed.NAME if config.attention == "sdpa" else config.attention
    sizes = {"hidden_size": facts.hidden_size, "intermediate_size": facts.intermediate_size,
             "num_hidden_layers": facts.layers, "num_attention_heads": facts.heads, "head_dim": facts.head_dim,
             "num_key_value_heads": facts.kv_heads, "vocab_size": facts.vocabulary_size,
             "max_position_embeddings": facts.context_length, "tie_word_embeddings": facts.tied_embeddings,
             "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    # A dropout that drops nothing makes packed.py take the way that it takes on a GPU.
    about = transformers.AutoConfig.for_model(facts.model_type, **sizes,
                                              attention_dropout=1e-9 if device == "cuda" else 0.0)
    held = methods.DTYPES[config.precision] if config.has_adapter else torch.float32
    model = transformers.AutoModelForCausalLM.from_config(about, attn_implementation=name, dtype=held)
    if config.method == "qlora":
        _pack(model, held)
    if config.has_adapter:
        # Fake tensors can't change places, and new adapters are where and what they should be.
        with mock.patch.object(torch.nn.Module, "to", lambda module, *_, **__: module), \
                mock.patch.object(methods, "_class_of", lambda folder: (type(model), about)):  # there is no folder
            model = get_peft_model(model, methods.lora_config(config))
        methods.adapters_in_fp32(model)
        joined_linear.apply(model)
        if device == "cpu":
            fast_layers.apply(model)
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()
        if config.has_adapter:
            model.enable_input_require_grads()
    return model.train()


def _step(model: Any, config: RunConfig, device: str, lengths: list[int], learned: float, live: LiveBytes) -> Phases:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    learning = [p for p in model.parameters() if p.requires_grad]
    options = {"foreach": device == "cuda"} if config.optimizer == "adamw_torch" else {}
    kind = {"adamw_torch": torch.optim.AdamW, "sgd": torch.optim.SGD, "adamw_8bit": _EightBit}[config.optimizer]
    optimizer = kind(learning, lr=1e-4, **options)  # type: ignore[operator]
    for parameter in learning:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # makes its state, which is there from the second step on
    if config.gradient_accumulation_steps == 1:  # else these are the gradients of the micro-batch before
        optimizer.zero_grad()
    held = live.live
    live.reset()
    loss = _loss(base, config, device, lengths, learned)
    kept, forward = live.live - held, live.reset()
    loss.backward()
    del loss
    backward = live.reset()
    torch.nn.utils.clip_grad_norm_(learning, 1.0)
    optimizer.step()
    step = live.reset()
    optimizer.zero_grad()
    live.reset()
    model.eval()
    with torch.no_grad():
        _loss(base, config, device, lengths, learned)
    return Phases(held, kept, forward, backward, step, live.reset())


@contextlib.contextmanager
def _autocast(config: RunConfig, device: str) -> Iterator[None]:
    """As accelerate does; PEFT asks for that of CUDA, whatever it computes on."""
    enabled = methods.autocasts(config, device == "cuda")
    torch.set_autocast_enabled("cuda", enabled and device == "cuda")
    try:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            yield
    finally:
        torch.set_autocast_enabled("cuda", False)


class _EightBit(torch.optim.Optimizer):
    """AdamW with its moments in 8 bits, as bitsandbytes holds them."""

    def __init__(self, parameters: list[Any], lr: float):
        super().__init__(parameters, {"lr": lr})

    def step(self, closure: Any = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            count = parameter.numel()
            self.state[parameter] = {"moments": torch.empty(2, count, dtype=torch.uint8),
                                     "constants": torch.empty(2, -(-count // 256))}


def _loss(base: Any, config: RunConfig, device: str, lengths: list[int], learned: float) -> Any:
    with _autocast(config, device):
        if config.packing:
            layout: dict[str, Any] = {"position_ids": torch.cat([torch.arange(n) for n in lengths])[None]}
            ids = torch.zeros(1, sum(lengths), dtype=torch.long)
        else:
            layout = {}
            ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
        if config.attention == "sdpa":
            layout["row_lengths"] = packed.RowLengths(lengths)
        decoder, weight = base.get_decoder(), base.get_output_embeddings().weight
        index = torch.arange(int(learned * ids.numel()))
        selects = getattr(decoder.layers[-1], "selects_positions", False)
        if selects:
            layout["selected"] = index
        hidden = decoder(input_ids=ids, use_cache=False, **layout).last_hidden_state
        positions = hidden[0] if selects else hidden.flatten(0, 1)[index]
        return head_loss(positions.to(weight.dtype), weight, torch.zeros_like(index)) / len(index)


# -- what a GPU does otherwise ----------------------------------------------------------------


class _Packed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: Any, shape: tuple[int, int]) -> torch.Tensor:
        ctx.shape = shape
        return x.new_empty(*x.shape[:-1], shape[0])

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return grad @ grad.new_empty(ctx.shape), None, None, None


def _pack(model: Any, held: torch.dtype) -> None:
    """Put layers that hold 4 bits a weight in the place of all linear layers but the head."""
    import bitsandbytes

    class Stand(bitsandbytes.nn.Linear4bit):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return _Packed.apply(x, self.weight, self.bias, (self.out_features, self.in_features))  # type: ignore

    head = model.get_output_embeddings()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is torch.nn.Linear and child is not head:
                stand = Stand.__new__(Stand)
                torch.nn.Module.__init__(stand)
                count = child.weight.numel()
                stand.in_features, stand.out_features = child.in_features, child.out_features
                stand.compute_dtype, stand.bias = held, child.bias
                stand.weight = torch.nn.Parameter(torch.empty(count // 2, dtype=torch.uint8), requires_grad=False)
                stand.weight.quant_type, stand.weight.compress_statistics = "nf4", True
                stand.constants = torch.empty(count // 64, dtype=torch.uint8), torch.empty(-(-count // 16384))
                setattr(module, name, stand)
    model.is_loaded_in_4bit = True


@contextlib.contextmanager
def _as_on_a_gpu() -> Iterator[None]:
    def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_mask: Any = None,
               dropout_p: float = 0.0, is_causal: bool = False, scale: Any = None, enable_gqa: bool = False) -> Any:
        if torch.is_autocast_enabled("cpu"):
            query, key, value = (x.to(torch.get_autocast_dtype("cpu")) for x in (query, key, value))
        if attn_mask is None and query.dtype == torch.bfloat16:
            return torch.ops.aten._scaled_dot_product_flash_attention(
                query, key, value, dropout_p, is_causal, scale=scale)[0]
        assert query.shape[1] == key.shape[1], "the memory-efficient kernel refuses shared heads"
        if attn_mask is not None and attn_mask.dtype == torch.bool:  # as ATen turns it into numbers, in each layer
            attn_mask = torch.zeros(attn_mask.shape, dtype=query.dtype)
        if attn_mask is not None:
            attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
        return torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale)[0]

    def for_fused(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, dropout: float) -> Any:
        if mask is None and query.dtype == torch.bfloat16:
            return key, value
        groups = query.shape[1] // key.shape[1]
        return key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)

    def dropout(x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        return torch.ops.aten.native_dropout(x, p, training)[0]  # type: ignore[no-any-return]

    with mock.patch.object(functional, "scaled_dot_product_attention", attend), \
            mock.patch.object(functional, "dropout", dropout), \
            mock.patch.object(packed, "_for_fused", for_fused), \
            mock.patch.dict(head_module.CHUNK_ELEMENTS, {"cpu": head_module.CHUNK_ELEMENTS["cuda"]}):
        yield


@contextlib.contextmanager
def _masks(model: Any, config: RunConfig, lengths: list[int]) -> Iterator[None]:
    """The mask that transformers makes once a pass. Whether there is padding is known here; fake tensors can't be
    asked."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    module = sys.modules[type(base).__module__]

    def mask(*args: Any, **kwargs: Any) -> Any:
        if config.attention == "eager":
            return torch.zeros(len(lengths), 1, max(lengths), max(lengths), dtype=base.dtype)
        padded = len(set(lengths)) > 1 and not config.packing
        return torch.zeros(len(lengths), 1, max(lengths), max(lengths), dtype=torch.bool) if padded else None

    with contextlib.ExitStack() as stack:
        for name in ("create_causal_mask", "create_sliding_window_causal_mask"):
            if hasattr(module, name):
                stack.enter_context(mock.patch.object(module, name, mask))
        yield


__all__ = ["Phases", "build", "measure"]
