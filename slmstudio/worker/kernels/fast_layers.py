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
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from slmstudio.worker.kernels import norms
from slmstudio.worker.kernels.joined_linear import JoinedLinear, Saved

# -- Rotary positions (arXiv 2104.09864, eq. 34), in place.


def _swap(x: torch.Tensor) -> torch.Tensor:
    """Second half of the last dimension before the first."""
    half = x.shape[-1] // 2
    return torch.cat((x[..., half:], x[..., :half]), dim=-1)


def rotate(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
    """Turn heads [tokens, heads, head size] by their positions, in place.

    Args:
        cos, sin: [tokens, 1, rotated size]; the first half of `sin` is negative (`signed`).
    """
    part = heads[..., : cos.shape[-1]]
    swapped = _swap(part)
    part.mul_(cos).addcmul_(swapped, sin)


def rotate_back(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
    part = heads[..., : cos.shape[-1]]
    swapped = _swap(part * sin)
    part.mul_(cos).add_(swapped)


def signed(sin: torch.Tensor) -> torch.Tensor:
    """sin [rows, tokens, size] with its first half negative: x cos + swap(x) sin is then the rotation."""
    half = sin.shape[-1] // 2
    return torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)


LAYERS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer", "Phi3DecoderLayer",
          "Gemma3DecoderLayer")
"""Classes of transformers whose forward pass is known to be what is computed here."""


class Activation(NamedTuple):
    """An activation function, and its gradient: of (gradient, input), into `grad_input`."""

    forward: Callable[[torch.Tensor], torch.Tensor]
    backward: Callable[..., torch.Tensor]


_SILU = Activation(functional.silu, torch.ops.aten.silu_backward.grad_input)
_GELU = Activation(functools.partial(functional.gelu, approximate="tanh"),
                   functools.partial(torch.ops.aten.gelu_backward.grad_input, approximate="tanh"))
ACTIVATIONS = {"SiLU": _SILU, "SiLUActivation": _SILU, "GELUTanh": _GELU}


# -- the three steps --------------------------------------------------------------------------


class _Projections(torch.autograd.Function):
    """x [rows, tokens, size] → queries, keys, values [rows, tokens, heads, head size], rotated.

    Qwen 3 and Gemma 3 have a norm of each query and key before the rotation: `head_norms` holds the factors of both.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, norm_weight: torch.Tensor, eps: float,
                linear: JoinedLinear, heads: tuple[int, int, int], head_norms: tuple[torch.Tensor, ...],
                *adapter: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows = x.reshape(-1, x.shape[-1])
        cos, sin = (t.expand(x.shape[0], -1, -1).reshape(len(rows), 1, -1) for t in (cos, sin))
        normed, inverse = norms.forward(rows, norm_weight, eps)
        out, saved = linear.forward(normed, adapter)
        queries, keys, size = heads
        parts, raw = list(out.split([queries * size, keys * size, keys * size], dim=1)), []
        for i, factors in enumerate(head_norms):
            each = parts[i].reshape(-1, size)
            turned, head_inverse = norms.forward(each, factors, eps)
            parts[i] = turned.view(len(rows), -1)
            raw += [each, head_inverse]
        if head_norms:
            parts[2] = parts[2].contiguous()  # else it keeps the whole product
            for part in parts[:2]:
                rotate(part.view(len(rows), -1, size), cos, sin)
        else:
            rotate(out[:, : (queries + keys) * size].view(len(rows), -1, size), cos, sin)
        ctx.save_for_backward(rows, inverse, cos, sin, norm_weight, *head_norms, *raw, *saved)
        ctx.linear, ctx.heads, ctx.shape, ctx.head_norms = linear, heads, x.shape, len(head_norms)
        return tuple(part.view(*x.shape[:-1], -1, size) for part in parts)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        rows, inverse, cos, sin, norm_weight, *rest = ctx.saved_tensors
        count, size = ctx.head_norms, ctx.heads[2]
        head_norms, raw, saved = rest[:count], rest[count : 3 * count], rest[3 * count :]
        grad = torch.cat([part.reshape(len(rows), -1) for part in grads], dim=1)
        rotate_back(grad[:, : sum(ctx.heads[:2]) * size].view(len(rows), -1, size), cos, sin)
        for part, factors, each, head_inverse in zip(
                grad.split([heads * size for heads in ctx.heads[:2]] + [ctx.heads[1] * size], dim=1),
                head_norms, raw[::2], raw[1::2], strict=False):
            part.copy_(norms.backward(part.reshape(-1, size), each, factors, head_inverse).view(len(rows), -1))
        normed = norms.again(rows, norm_weight, inverse)
        grad_normed, adapter = ctx.linear.backward(grad, normed, Saved(*saved), ctx.needs_input_grad[0])
        grad_x = None
        if grad_normed is not None:
            grad_x = norms.backward(grad_normed, rows, norm_weight, inverse).view(ctx.shape)
        return grad_x, *(None,) * 7, *adapter


class _Output(torch.autograd.Function):
    """residual + linear(x); with `norm_weight`, as in Gemma 3, residual + norm(linear(x))."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, residual: torch.Tensor, norm_weight: torch.Tensor | None, eps: float,
                linear: JoinedLinear, *adapter: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out, saved = linear.forward(rows, adapter)
        out, after = _norm_after(out, norm_weight, eps)
        ctx.save_for_backward(rows, *saved, *after)
        ctx.linear, ctx.shape = linear, x.shape
        return out.view(residual.shape).add_(residual)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        rows, a, b, projected, *after = ctx.saved_tensors
        grad_out = _norm_after_backward(grad.reshape(len(rows), -1), after)
        grad_x, adapter = ctx.linear.backward(grad_out, rows, Saved(a, b, projected), True)
        return grad_x.view(ctx.shape), grad, None, None, None, *adapter


class _Mlp(torch.autograd.Function):
    """x + down(active(gate(norm(x))) * up(norm(x))); with `norm_after`, as in Gemma 3, x + norm(down(…))."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, norm_weight: torch.Tensor, norm_after: torch.Tensor | None, eps: float,
                activation: Activation, gate_up: JoinedLinear, down: JoinedLinear,
                *adapter: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        normed, inverse = norms.forward(rows, norm_weight, eps)
        both, saved = gate_up.forward(normed, adapter[: gate_up.matrices])
        gate, up = both.chunk(2, dim=-1)
        out, saved_down = down.forward(activation.forward(gate).mul_(up), adapter[gate_up.matrices :])
        out, after = _norm_after(out, norm_after, eps)
        ctx.save_for_backward(rows, inverse, both, norm_weight, *saved, *saved_down, *after)
        ctx.activation, ctx.gate_up, ctx.down = activation, gate_up, down
        return out.add_(rows).view(x.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        rows, inverse, both, norm_weight, *saved = ctx.saved_tensors
        grad_rows = grad.reshape(rows.shape)
        gate, up = both.chunk(2, dim=-1)
        active = ctx.activation.forward(gate)
        grad_out = _norm_after_backward(grad_rows, saved[6:])
        grad_inner, adapter_down = ctx.down.backward(grad_out, active * up, Saved(*saved[3:6]), True)
        grad_both = torch.empty_like(both)
        torch.mul(grad_inner, active, out=grad_both[:, up.shape[1] :])
        ctx.activation.backward(grad_inner.mul_(up), gate, grad_input=grad_both[:, : up.shape[1]])
        normed = norms.again(rows, norm_weight, inverse)
        grad_normed, adapter = ctx.gate_up.backward(grad_both, normed, Saved(*saved[:3]), ctx.needs_input_grad[0])
        grad_x = None
        if grad_normed is not None:
            grad_x = norms.backward(grad_normed, rows, norm_weight, inverse).add_(grad_rows).view(grad.shape)
        return grad_x, *(None,) * 6, *adapter, *adapter_down


def _norm_after(out: torch.Tensor, weight: torch.Tensor | None, eps: float) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The norm of a step's result, where there is one, and what its backward pass needs."""
    if weight is None:
        return out, []
    normed, inverse = norms.forward(out, weight, eps)
    return normed, [out, weight, inverse]


def _norm_after_backward(grad: torch.Tensor, saved: list[torch.Tensor]) -> torch.Tensor:
    return norms.backward(grad.clone(), *saved) if saved else grad


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
    norms.apply(model)
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
    activation = ACTIVATIONS.get(type(getattr(mlp, "act_fn", None) or mlp.activation_fn).__name__)
    learning = any(weight.requires_grad for name, weight in layer.named_parameters() if "norm" in name)
    # Without a mask, rows look back only; Gemma's embedding models look both ways.
    both_ways = not getattr(attention, "is_causal", True)
    # Eager attention is written out in each model's own file.
    eager = attention.config._attn_implementation not in ALL_ATTENTION_FUNCTIONS
    if (activation is None or any(dropouts) or learning or both_ways or eager
            or not all(JoinedLinear.covers(group) for group in groups.values())):
        return False
    joined = {name: JoinedLinear(group) for name, group in groups.items()}
    layer.forward = _Layer(layer, activation, **joined).forward
    return True


class _Layer:
    def __init__(self, layer: Any, activation: Activation, projections: JoinedLinear, output: JoinedLinear,
                 gate_up: JoinedLinear, down: JoinedLinear):
        self.layer, self.stock, self.activation = layer, layer.forward, activation
        self.projections, self.output, self.gate_up, self.down = projections, output, gate_up, down
        attention = layer.self_attn
        config = attention.config
        self.heads = (config.num_attention_heads, config.num_key_value_heads, attention.head_dim)
        self.window = (attention.sliding_window if hasattr(attention, "sliding_window")
                       else getattr(config, "sliding_window", None))
        self.head_norms = [getattr(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]
        if hasattr(layer, "pre_feedforward_layernorm"):
            self.before_mlp = layer.pre_feedforward_layernorm
            self.after = [layer.post_attention_layernorm, layer.post_feedforward_layernorm]
        else:
            self.before_mlp, self.after = layer.post_attention_layernorm, []

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
        attention = self.layer.self_attn
        cos, sin = position_embeddings
        factors, eps = norms.factors(self.layer.input_layernorm)
        head_norms = tuple(norms.factors(norm)[0] for norm in self.head_norms)
        heads = _Projections.apply(hidden_states, cos, signed(sin), factors, eps, self.projections, self.heads,
                                   head_norms, *self.projections.adapter())
        mixed, _ = ALL_ATTENTION_FUNCTIONS[attention.config._attn_implementation](
            attention, *(part.transpose(1, 2) for part in heads), attention_mask,
            dropout=attention.attention_dropout if attention.training else 0.0, scaling=attention.scaling,
            sliding_window=self.window, **kwargs)
        mixed = mixed.reshape(*hidden_states.shape[:-1], -1)
        if selected is not None:
            mixed, hidden_states = (x.flatten(0, 1)[selected][None] for x in (mixed, hidden_states))
        after = [norms.factors(norm)[0] for norm in self.after] or [None, None]
        middle = _Output.apply(mixed, hidden_states, after[0], eps, self.output, *self.output.adapter())
        return _Mlp.apply(middle, norms.factors(self.before_mlp)[0], after[1], eps,  # type: ignore[no-any-return]
                          self.activation, self.gate_up, self.down, *self.gate_up.adapter(), *self.down.adapter())
