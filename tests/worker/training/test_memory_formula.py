"""The memory estimate against the bytes that are alive while a step is made: on fake tensors for a GPU's layouts, on
real ones for the processor's own kernels. tests/bench/memory.py does the same for models of real sizes and whole runs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.live_bytes import LiveBytes
from support.memory_cases import Shape, build, run_case, sizes
from support.tiers import first_fast
from support.training_step import Phases, measure

from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory.formula import MemoryEstimate, estimate

LLAMA = Shape("llama", 4, 256, 704, 4, 2, 2000)
SHAPES = {"llama": LLAMA, "phi3": Shape("phi3", 4, 256, 704, 4, 4, 2000, tied=False),
          "qwen2": Shape("qwen2", 4, 256, 1216, 4, 1, 2000), "mistral": replace(LLAMA, model_type="mistral"),
          "qwen3": replace(LLAMA, model_type="qwen3", head_dim=128),
          "gemma3": replace(LLAMA, model_type="gemma3_text", head_dim=128)}
WITHIN = 0.06
FULL, RECOMPUTED = {"method": "full"}, {"gradient_checkpointing": True}


def config(**changes: Any) -> RunConfig:
    usual = {"micro_batch_size": 2, "max_length": 256, "precision": "bf16", "lora_rank": 8, "packing": True}
    return replace(RunConfig(name="n", model="m", train_file="t"), **{**usual, **changes})


def tensors(found: MemoryEstimate) -> int:
    """What is estimated, without what lies beside the tensors."""
    return found.total - found.overhead - found.fragmentation


def check(shape: Shape, device: str, **changes: Any) -> Phases:
    asked = config(**changes)
    lengths = [256, 250] if not asked.packing else None
    measured = measure(sizes(shape), asked, device, fake=device == "cuda", rows=lengths)
    found, peak = estimate(sizes(shape), asked, device), measured.peak
    if device == "cpu" and asked.has_adapter:
        # What the backward pass took stays with the process when the next step comes to the head (formula.STAYS).
        peak = max(peak, measured.backward + measured.forward - measured.held - measured.kept)
    assert tensors(found) == pytest.approx(peak, rel=WITHIN), (found, measured)
    assert measured.evaluation <= measured.peak
    return measured


@pytest.mark.parametrize("changes", first_fast([
    {}, FULL, {"method": "qlora", **RECOMPUTED}, RECOMPUTED, {"packing": False}, {"precision": "fp32"},
    {**FULL, **RECOMPUTED}, {**FULL, "gradient_accumulation_steps": 1}, {"method": "qlora"},
    {**FULL, "optimizer": "adamw_8bit"}, {"method": "qlora", "lora_dropout": 0.05}, {"lora_dropout": 0.05},
    {"method": "qlora", "packing": False}, {"use_dora": True},
    {"use_dora": True, "lora_dropout": 0.05}], 2), ids=str)
def test_on_a_gpu(changes: dict[str, Any]) -> None:
    check(LLAMA, "cuda", **changes)


@pytest.mark.full
@pytest.mark.parametrize("family", [name for name in SHAPES if name != "llama"])
@pytest.mark.parametrize("changes", [{}, FULL], ids=["lora", "full"])
def test_families_on_a_gpu(family: str, changes: dict[str, Any]) -> None:
    check(SHAPES[family], "cuda", **changes)


@pytest.mark.parametrize("changes", first_fast([FULL, {"packing": False}, {"precision": "fp32"}]), ids=str)
def test_on_the_processor(changes: dict[str, Any]) -> None:
    """LoRA, recomputed and not, is in the next but one."""
    check(LLAMA, "cpu", **changes)


@pytest.mark.full
@pytest.mark.parametrize("family", ["phi3", "qwen2", "qwen3", "gemma3"])
def test_families_on_the_processor(family: str) -> None:
    check(SHAPES[family], "cpu")


@pytest.mark.full
def test_recomputing_saves_on_the_processor_too() -> None:
    """The fast layers take the place of transformers' forward pass, where it recomputes."""
    kept, recomputed = (check(LLAMA, "cpu", gradient_checkpointing=asked).kept for asked in (False, True))
    assert recomputed < 0.3 * kept


def test_live_bytes_are_counted_from_the_first_to_the_last_use() -> None:
    with LiveBytes() as live:
        first = torch.zeros(1000)
        second = first + 1
        view = second[10:]
        assert live.live == live.peak == 8000
        del first, second
        assert (live.live, live.peak) == (4000, 8000)  # the view keeps its storage
        del view
        assert live.live == 0


@pytest.mark.full
def test_a_run_stays_below_the_upper_end(tmp_path: Path) -> None:
    """A worker's own process, from start to end."""
    from support.memory_cases import SMALL, Case, estimated

    case = Case(next(iter(SMALL)), "cpu", {"precision": "fp32", "max_length": 256})
    build(case.shape, tmp_path / "model")
    found = run_case(case, tmp_path)
    assert estimated(case).low <= found["measured"] <= estimated(case).high


@pytest.mark.gpu
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no NVIDIA card")
def test_the_table_on_a_card() -> None:
    """The table of tests/bench/memory.py, on the card that is here."""
    from bench import memory

    rows = memory.on_card(memory.Kept(None), print)
    found = memory.summarise(rows)
    assert found["false_fits"] == 0 and found["median"] <= memory.MEDIAN and found["worst"] <= memory.WORST, rows
