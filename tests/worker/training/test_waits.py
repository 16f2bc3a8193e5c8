"""What a micro-batch would make a card wait for: operations whose result, or whose shape, must reach the processor."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from support.small_models import build, examples
from torch.utils._python_dispatch import TorchDispatchMode

from slmstudio.worker.kernels import packed
from slmstudio.worker.training.batches import PackedCollator, PaddedCollator
from slmstudio.worker.training.trainer import summed_loss, token_count

aten = torch.ops.aten
WAITING = {aten.nonzero.default, aten._local_scalar_dense.default, aten.masked_select.default, aten.is_nonzero.default,
           aten.lift_fresh.default, aten.repeat_interleave.Tensor, aten._unique2.default}
"""`lift_fresh` is `torch.tensor(…)`: on a card, a copy from ordinary memory."""


class Waits(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        by_mask = func is aten.index.Tensor and any(each is not None and each.dtype == torch.bool for each in args[1])
        if func in WAITING or by_mask:
            self.found[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("collator", [PackedCollator(), PaddedCollator(0)], ids=["packed", "padded"])
def test_a_micro_batch_waits_for_nothing(collator):
    model = build("llama", packed.NAME)
    causal_lm = model.get_base_model()
    causal_lm.config.attention_dropout = 1e-9  # drops nothing, and takes the way of a card
    for layer in causal_lm.get_decoder().layers:
        layer.self_attn.attention_dropout = 1e-9
    batch = collator(examples())
    with Waits() as waits:
        loss, count = summed_loss(causal_lm, batch)
        (loss / count).backward()
        assert token_count(batch) == sum(batch["row_lengths"])
    assert not waits.found
