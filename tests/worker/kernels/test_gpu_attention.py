"""All packed rows in one call: the same values and gradients as row by row."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import varlen
from torch.nn.attention.flex_attention import create_block_mask

from slmstudio.core.hardware.guidance import FLEX, PER_ROW, VARLEN
from slmstudio.worker.kernels import gpu_attention, packed

LENGTHS, HEADS, KEY_HEADS, SIZE, SCALING = [7, 1, 12], 4, 2, 16, 0.3


def inputs(dtype: torch.dtype = torch.float32, device: str = "cpu") -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, heads, sum(LENGTHS), SIZE, dtype=dtype, device=device, requires_grad=True)
            for heads in (HEADS, KEY_HEADS, KEY_HEADS)]


def row_by_row(query, key, value, window: int) -> torch.Tensor:
    """The formula, written out."""
    found = []
    for q, k, v in zip(*(x[0].split(LENGTHS, dim=1) for x in (query, key, value)), strict=True):
        k, v = (x.repeat_interleave(HEADS // KEY_HEADS, dim=0) for x in (k, v))
        away = torch.arange(q.shape[1])[:, None] - torch.arange(q.shape[1])[None]
        scores = (q.float() @ k.float().transpose(1, 2)) * SCALING
        hidden = ((away < 0) | (away >= window)).to(scores.device)
        found.append(torch.softmax(scores.masked_fill(hidden, -torch.inf), -1) @ v.float())
    return torch.cat(found, dim=1)[None].transpose(1, 2)


def compare(way: str, window: int, dtype: torch.dtype = torch.float32, device: str = "cpu", within: float = 1e-5):
    given = inputs(dtype, device)
    if way == FLEX and device == "cpu":  # PyTorch has no backward pass of it there
        given = [x.detach() for x in given]
    found = gpu_attention.attend(*given, LENGTHS, SCALING, window, way)
    wanted = row_by_row(*given, window)
    assert found.shape == wanted.shape == (1, sum(LENGTHS), HEADS, SIZE)
    torch.testing.assert_close(found.float(), wanted, atol=within, rtol=within)
    if not given[0].requires_grad:
        return
    weights = torch.randn_like(wanted)
    grads, wanted_grads = (torch.autograd.grad((out.float() * weights).sum(), given) for out in (found, wanted))
    for one, other in zip(grads, wanted_grads, strict=True):
        torch.testing.assert_close(one.float(), other.float(), atol=within, rtol=within)


@pytest.mark.parametrize("window", [100, 4, 1])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_keeps_rows_apart(window):
    compare(FLEX, window)


@pytest.mark.parametrize("window", [100, 4, 1])
def test_varying_lengths_are_told_where_rows_begin_and_how_far_they_see(window, monkeypatch):
    """PyTorch's function needs a card; in its place stands what its documentation says of its arguments."""

    def documented(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size, enable_gqa):
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32 and max_q == max_k == max(LENGTHS) and enable_gqa
        left, right = window_size
        assert right == 0 and cu_seq_q.diff().tolist() == LENGTHS
        packed = [x.transpose(0, 1)[None] for x in (query, key, value)]
        return row_by_row(*packed, left + 1 if left >= 0 else 100)[0]

    monkeypatch.setattr(varlen, "varlen_attn", documented)
    compare(VARLEN, window)


@pytest.mark.parametrize("window", [None, 300, 40])
@pytest.mark.parametrize("lengths", [(200, 70, 300, 1), (640,), (128, 128), (1,) * 130])
def test_blocks_of_the_mask_are_those_of_pytorch(lengths, window):
    """Found from the lengths alone; PyTorch's own function tries each pair of tokens."""
    found = gpu_attention._block_mask(lengths, window, torch.device("cpu"))
    wanted = create_block_mask(found.mask_mod, None, None, sum(lengths), sum(lengths), device="cpu")
    assert torch.equal(found.to_dense(), wanted.to_dense())
    assert torch.equal(found.full_kv_num_blocks, wanted.full_kv_num_blocks)


@pytest.mark.parametrize("window", [10**6, 40])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_over_several_blocks(window, monkeypatch):
    monkeypatch.setitem(globals(), "LENGTHS", [200, 70, 150, 1])
    compare(FLEX, window)


def test_what_does_not_start_is_named_in_the_librarys_words():
    assert gpu_attention.why_not(PER_ROW, torch.float32, gpu_attention.Heads()) is None
    reason = gpu_attention.why_not(VARLEN, torch.float32, gpu_attention.Heads(), "cpu")
    assert reason is not None and "Error: " in reason and "\n" not in reason


def test_nothing_changes_on_the_processor():
    gpu_attention.use(VARLEN)
    try:
        assert not gpu_attention.serves(*inputs()[1:], 0.0)
    finally:
        gpu_attention.use(PER_ROW)


@pytest.mark.parametrize(("size", "value_size", "fits"), [
    (64, 64, True), (256, 256, True), (96, 64, False), (60, 60, False), (264, 264, False)])
def test_heads_that_the_kernels_do_not_take_are_left_out(size, value_size, fits):
    """Values are narrower than keys in MiniCPM 3 and DeepSeek V3."""
    assert gpu_attention.fits(size, value_size) == fits


def under_autocast(device: str, dropout: float = 0.0) -> torch.Tensor:
    """Packed rows, as full fine-tuning attends to them: the rotated queries and keys are fp32, and the values bf16."""
    query, key, value = inputs(device=device)
    with torch.autocast(device, torch.bfloat16):
        found, _ = packed._attention(torch.nn.Module(), query, key, value.bfloat16(), None,
                                     packed.RowLengths(LENGTHS), dropout, SCALING)
    return found


def test_under_autocast_all_inputs_have_one_format(monkeypatch):
    """The card's kernel is stood in for. With dropout the processor has none of its own."""
    formats = []
    monkeypatch.setattr(gpu_attention, "serves", lambda *asked: True)
    monkeypatch.setattr(gpu_attention, "attend", lambda *given: formats.extend(x.dtype for x in given[:3]))
    under_autocast("cpu", dropout=0.1)
    assert formats == [torch.bfloat16] * 3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
@pytest.mark.parametrize("way", [VARLEN, FLEX])
def test_under_autocast_on_a_card(way):
    gpu_attention.use(way)
    try:
        found = under_autocast("cuda")
        found.float().sum().backward()
    finally:
        gpu_attention.use(PER_ROW)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), row_by_row(*inputs(device="cuda"), 100), atol=3e-2, rtol=3e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
@pytest.mark.parametrize("way", [VARLEN, FLEX])
@pytest.mark.parametrize("window", [100, 4])
def test_on_a_card(way, window):
    assert gpu_attention.why_not(way, torch.bfloat16, gpu_attention.Heads(window=20)) is None
    compare(way, window, torch.bfloat16, "cuda", within=3e-2)
