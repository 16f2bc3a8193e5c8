"""Decoder layers of Llama's shape in three autograd steps, on the processor, for adapters on a frozen base.

The stock layer is some forty small operations, most of which read and write every token's vector once more and keep it
for the backward pass. Here one step is the norm with all projections of it (their weights and their LoRA matrices laid
together), one is the attention's output projection, one is the whole MLP; between the first two runs the attention that
the model is configured with. What is cheap is computed again in the backward pass instead of kept: per token, the
residual, its norm, gate and up, queries, keys and values, the attention's output, and the projections to rank r.

Values and gradients are those of the stock layer within rounding. Formulae: RMSNorm (arXiv 1910.07467, eq. 4), SwiGLU
(arXiv 2002.05202, eq. 6), rotary positions (arXiv 2104.09864, eq. 34), LoRA (fast_lora.py).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from slmstudio.worker.kernels.joined_linear import JoinedLinear, Saved, scale_rows

LAYERS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Phi3DecoderLayer")
NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Phi3RMSNorm")
"""Classes of transformers whose forward pass is known to be what is computed here."""


# -- the norm ---------------------------------------------------------------------------------


def _norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
    """RMSNorm of x [tokens, size], and 1 / RMS [tokens] in fp32."""
    length = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
    inverse = length.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
    return scale_rows(x, inverse).mul_(weight), inverse


def _norm_backward(grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Gradient with respect to x; `grad` is with respect to the norm's output, and is used up."""
    straight = scale_rows(x, inverse)
    scaled = grad.mul_(weight)
    share = torch.mul(scaled, straight).sum(-1, dtype=torch.float32).div_(x.shape[-1])
    return scale_rows(scaled, inverse).add_(scale_rows(straight, share.mul_(inverse).neg_()))


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out, inverse = _norm(rows, weight, eps)
        ctx.save_for_backward(rows, weight, inverse)
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, inverse = ctx.saved_tensors
        own = grad.reshape(rows.shape).clone()
        grad_weight = (own * scale_rows(rows, inverse)).sum(0) if ctx.needs_input_grad[1] else None
        return _norm_backward(own, rows, weight, inverse).view(grad.shape), grad_weight, None


# -- rotary positions -------------------------------------------------------------------------


def _swap(x: torch.Tensor) -> torch.Tensor:
    """Second half of the last dimension before the first."""
    half = x.shape[-1] // 2
    return torch.cat((x[..., half:], x[..., :half]), dim=-1)


def _rotate(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
    """Turn heads [tokens, heads, head size] by their positions, in place.

    Args:
        cos, sin: [tokens, 1, rotated size]; the first half of `sin` is negative (`_signed`).
    """
    part = heads[..., : cos.shape[-1]]
    swapped = _swap(part)
    part.mul_(cos).addcmul_(swapped, sin)


def _rotate_back(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
    """The transpose of `_rotate`, in place."""
    part = heads[..., : cos.shape[-1]]
    swapped = _swap(part * sin)
    part.mul_(cos).add_(swapped)


def signed(sin: torch.Tensor) -> torch.Tensor:
    """sin [rows, tokens, size] with its first half negative: x cos + swap(x) sin is then the rotation."""
    half = sin.shape[-1] // 2
    return torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)


# -- the three steps --------------------------------------------------------------------------


class _Projections(torch.autograd.Function):
    """x [rows, tokens, size] → queries, keys, values [rows, tokens, heads, head size], rotated."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, norm_weight: torch.Tensor, eps: float,
                linear: JoinedLinear, heads: tuple[int, int, int], *adapter: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = x.reshape(-1, x.shape[-1])
        cos, sin = (t.expand(x.shape[0], -1, -1).reshape(len(rows), 1, -1) for t in (cos, sin))
        normed, inverse = _norm(rows, norm_weight, eps)
        out, saved = linear.forward(normed, adapter)
        queries, keys, size = heads
        turned = (queries + keys) * size
        _rotate(out[:, :turned].view(len(rows), -1, size), cos, sin)
        ctx.save_for_backward(rows, inverse, normed, cos, sin, norm_weight, *saved)
        ctx.linear, ctx.heads, ctx.shape = linear, heads, x.shape
        shape = (*x.shape[:-1], -1, size)
        return out[:, : queries * size].view(shape), out[:, queries * size : turned].view(shape), out[
            :, turned:].view(shape)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        rows, inverse, normed, cos, sin, norm_weight, *saved = ctx.saved_tensors
        queries, keys, size = ctx.heads
        grad = torch.cat([part.reshape(len(rows), -1) for part in grads], dim=1)
        _rotate_back(grad[:, : (queries + keys) * size].view(len(rows), -1, size), cos, sin)
        grad_normed, adapter = ctx.linear.backward(grad, normed, Saved(*saved), ctx.needs_input_grad[0])
        grad_x = None
        if grad_normed is not None:
            grad_x = _norm_backward(grad_normed, rows, norm_weight, inverse).view(ctx.shape)
        return grad_x, None, None, None, None, None, None, *adapter


class _Output(torch.autograd.Function):
    """residual + linear(x)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, residual: torch.Tensor, linear: JoinedLinear,
                *adapter: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out, saved = linear.forward(rows, adapter)
        ctx.save_for_backward(rows, *saved)
        ctx.linear, ctx.shape = linear, x.shape
        return out.view(residual.shape).add_(residual)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        rows, *saved = ctx.saved_tensors
        grad_x, adapter = ctx.linear.backward(grad.reshape(len(rows), -1), rows, Saved(*saved), True)
        return grad_x.view(ctx.shape), grad, None, *adapter


class _Mlp(torch.autograd.Function):
    """x + down(silu(gate(norm(x))) * up(norm(x)))."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, norm_weight: torch.Tensor, eps: float, gate_up: JoinedLinear,
                down: JoinedLinear, *adapter: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        normed, inverse = _norm(rows, norm_weight, eps)
        both, saved = gate_up.forward(normed, adapter[: gate_up.matrices])
        gate, up = both.chunk(2, dim=-1)
        out, saved_down = down.forward(functional.silu(gate).mul_(up), adapter[gate_up.matrices :])
        ctx.save_for_backward(rows, inverse, normed, both, norm_weight, *saved, *saved_down)
        ctx.gate_up, ctx.down = gate_up, down
        return out.add_(rows).view(x.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        rows, inverse, normed, both, norm_weight, *saved = ctx.saved_tensors
        grad_rows = grad.reshape(rows.shape)
        gate, up = both.chunk(2, dim=-1)
        active = functional.silu(gate)
        grad_inner, adapter_down = ctx.down.backward(grad_rows, active * up, Saved(*saved[3:]), True)
        grad_both = torch.empty_like(both)
        torch.mul(grad_inner, active, out=grad_both[:, up.shape[1] :])
        torch.ops.aten.silu_backward.grad_input(grad_inner.mul_(up), gate, grad_input=grad_both[:, : up.shape[1]])
        grad_normed, adapter = ctx.gate_up.backward(grad_both, normed, Saved(*saved[:3]), ctx.needs_input_grad[0])
        grad_x = None
        if grad_normed is not None:
            grad_x = _norm_backward(grad_normed, rows, norm_weight, inverse).add_(grad_rows).view(grad.shape)
        return grad_x, None, None, None, None, *adapter, *adapter_down


# -- putting them in --------------------------------------------------------------------------


def apply(model: torch.nn.Module) -> int:
    """Give the decoder layers and norms of `model` that are known their fast forward; returns how many layers.

    To be called when the model is on its device and has its adapter. Layers with dropout, DoRA, a quantized or a
    learning base, and models on a GPU, keep their own.
    """
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        return 0
    layers = [module for module in model.modules() if type(module).__name__ in LAYERS]
    fast = [layer for layer in layers if _make_fast(layer)]
    for norm in model.modules():
        if type(norm).__name__ in NORMS:
            norm.forward = _norm_forward(norm)  # type: ignore[method-assign]
    if fast and fast[-1] is layers[-1]:
        fast[-1].selects_positions = True  # type: ignore[assignment]
    return len(fast)


def _make_fast(layer: Any) -> bool:
    attention, mlp = layer.self_attn, layer.mlp
    fused = hasattr(attention, "qkv_proj")
    groups = {
        "projections": [attention.qkv_proj] if fused else [attention.q_proj, attention.k_proj, attention.v_proj],
        "output": [attention.o_proj],
        "gate_up": [mlp.gate_up_proj] if hasattr(mlp, "gate_up_proj") else [mlp.gate_proj, mlp.up_proj],
        "down": [mlp.down_proj],
    }
    dropouts = [module.p for module in layer.modules() if isinstance(module, torch.nn.Dropout)]
    norms = (layer.input_layernorm.weight, layer.post_attention_layernorm.weight)
    activation = getattr(mlp, "act_fn", None) or mlp.activation_fn
    if (any(dropouts) or any(weight.requires_grad for weight in norms) 
            or type(activation).__name__ not in ("SiLU", "SiLUActivation")
            or not all(JoinedLinear.covers(group) for group in groups.values())):
        return False
    layer.forward = _Layer(layer, **{name: JoinedLinear(group) for name, group in groups.items()}).forward
    return True


class _Layer:
    """The fast forward of one decoder layer."""

    def __init__(self, layer: Any, projections: JoinedLinear, output: JoinedLinear, gate_up: JoinedLinear,
                 down: JoinedLinear):
        self.layer, self.stock = layer, layer.forward
        self.projections, self.output, self.gate_up, self.down = projections, output, gate_up, down
        attention = layer.self_attn
        config = attention.config
        self.heads = (config.num_attention_heads, config.num_key_value_heads, attention.head_dim)
        self.window = (attention.sliding_window if hasattr(attention, "sliding_window")
                       else getattr(config, "sliding_window", None))

    def usable(self, x: torch.Tensor, cache: Any) -> bool:
        joined = (self.projections, self.output, self.gate_up, self.down)
        return (cache is None and not torch.is_autocast_enabled(x.device.type)
                and x.dtype == self.layer.input_layernorm.weight.dtype and all(linear.ready(x) for linear in joined))

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, cache: Any = None,
                position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
                selected: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """
        Args:
            selected: indices of the tokens that matter in the last layer; the others are left out of its result,
                [1, selected, size].
        """
        if not getattr(self.layer, "selects_positions", False):
            selected = None
        if not self.usable(hidden_states, cache) or position_embeddings is None:
            out = self.stock(hidden_states, attention_mask=attention_mask, cache=cache,
                             position_embeddings=position_embeddings, **kwargs)
            return out if selected is None else out.flatten(0, 1)[selected][None]
        compute = functools.partial(self.compute, attention_mask=attention_mask,
                                    position_embeddings=position_embeddings, selected=selected, **kwargs)
        if self.layer.gradient_checkpointing and self.layer.training and torch.is_grad_enabled():
            # transformers recomputes in the class's own forward, whose place this one takes.
            return self.layer._gradient_checkpointing_func(compute, hidden_states)  # type: ignore[no-any-return]
        return compute(hidden_states)

    def compute(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None,
                position_embeddings: tuple[torch.Tensor, torch.Tensor], selected: torch.Tensor | None,
                **kwargs: Any) -> torch.Tensor:
        """The three steps, with the attention between them."""
        layer, attention = self.layer, self.layer.self_attn
        cos, sin = position_embeddings
        norm = layer.input_layernorm
        heads = _Projections.apply(hidden_states, cos, signed(sin), norm.weight, norm.variance_epsilon,
                                   self.projections, self.heads, *self.projections.adapter())
        interface = ALL_ATTENTION_FUNCTIONS.get_interface(attention.config._attn_implementation, _no_eager)
        mixed, _ = interface(
            attention, *(part.transpose(1, 2) for part in heads), attention_mask,
            dropout=attention.attention_dropout if attention.training else 0.0, scaling=attention.scaling,
            sliding_window=self.window, **kwargs)
        mixed = mixed.reshape(*hidden_states.shape[:-1], -1)
        if selected is not None:
            mixed, hidden_states = (x.flatten(0, 1)[selected][None] for x in (mixed, hidden_states))
        middle = _Output.apply(mixed, hidden_states, self.output, *self.output.adapter())
        norm = layer.post_attention_layernorm
        return _Mlp.apply(middle, norm.weight, norm.variance_epsilon, self.gate_up, self.down,  # type: ignore[no-any-return]
                          *self.gate_up.adapter(), *self.down.adapter())


def _no_eager(*args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError


def _norm_forward(norm: Any) -> Any:
    stock = norm.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if x.dtype != norm.weight.dtype or torch.is_autocast_enabled(x.device.type):
            return stock(x)  # type: ignore[no-any-return]
        return _Norm.apply(x, norm.weight, norm.variance_epsilon)  # type: ignore[no-any-return]

    return forward
