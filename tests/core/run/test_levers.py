"""What makes a run need less, and what fits on which card."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.memory_cases import LARGE, sizes

from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory import fit_badge
from slmstudio.core.run.memory.fit_badge import what_fits
from slmstudio.core.run.memory.formula import estimate
from slmstudio.core.run.memory.outlook import levers, to_fit

GB = 2**30
QWEN, PHI3, LLAMA = (sizes(LARGE[name]) for name in ("qwen2.5-1.5b", "phi-3-mini", "llama-3-8b"))


def config(**changes: object) -> RunConfig:
    base = RunConfig(name="n", model="m", train_file="t", micro_batch_size=4, max_length=1024, precision="bf16")
    return replace(base, **changes)  # type: ignore[arg-type]


def test_each_lever_saves_what_it_says_and_the_largest_comes_first() -> None:
    asked = config(method="full", precision="bf16", micro_batch_size=4)
    found = levers(QWEN, asked, 24 * GB, "cuda")
    assert {lever.name for lever in found} == {"checkpointing", "micro_batch", "lora", "length", "optimizer"}
    assert [lever.saves for lever in found] == sorted((lever.saves for lever in found), reverse=True)
    now = estimate(QWEN, asked, "cuda").high
    for lever in found:
        then = estimate(QWEN, replace(asked, **lever.change), "cuda").high
        assert lever.saves == now - then > 0
        assert lever.enough == (then <= 24 * GB)
        assert lever.cost


def test_the_effective_batch_stays() -> None:
    asked = config(micro_batch_size=6, gradient_accumulation_steps=5)
    change = next(lever for lever in levers(PHI3, asked, GB, "cuda") if lever.name == "micro_batch").change
    assert change == {"micro_batch_size": 3, "gradient_accumulation_steps": 10}
    kto = config(objective="kto", micro_batch_size=2)
    assert "micro_batch" not in {lever.name for lever in levers(PHI3, kto, GB, "cuda")}


def test_nothing_is_offered_twice() -> None:
    asked = config(method="qlora", micro_batch_size=1, gradient_checkpointing=True, max_length=128, lora_rank=8,
                   optimizer="adamw_8bit")
    assert levers(LLAMA, asked, GB, "cuda") == []


@pytest.mark.parametrize(("lengths", "cost"), [
    ((), "longer rows are cut at the end"), ((100, 512), "cuts no row"),
    ((100, 513, 600), "cuts 2 of 3 rows at the end")])
def test_a_shorter_length_says_what_it_cuts(lengths: tuple[int, ...], cost: str) -> None:
    found = levers(QWEN, config(), GB, "cuda", lengths)
    assert next(lever for lever in found if lever.name == "length").cost == cost


def test_the_fewest_changes_that_make_it_fit() -> None:
    asked = config(micro_batch_size=8, max_length=2048)
    assert to_fit(LLAMA, asked, 160 * GB, "cuda") == []
    assert to_fit(LLAMA, asked, 2 * GB, "cuda") is None
    for free in (60 * GB, 40 * GB, 24 * GB, 12 * GB):
        some = to_fit(LLAMA, asked, free, "cuda")
        assert some, free
        changed = replace(asked, **{field: value for lever in some for field, value in lever.change.items()})
        assert estimate(LLAMA, changed, "cuda").high <= free
        assert changed.effective_batch_size == asked.effective_batch_size
        for lever in some if len(some) > 1 else ():  # none of them can be spared
            without = {field: getattr(asked, field) for field in lever.change}
            assert estimate(LLAMA, replace(changed, **without), "cuda").high > free


def test_of_as_few_changes_the_gentlest() -> None:
    """A micro-batch or recomputing changes nothing of what is learned; a shorter length does."""
    asked = config(micro_batch_size=4, max_length=2048)
    now = estimate(QWEN, asked, "cuda").high
    half, quarter = (estimate(QWEN, config(micro_batch_size=n, gradient_accumulation_steps=16 // n, max_length=2048),
                              "cuda").high for n in (2, 1))
    for free, rows in ((now - 1, 2), (half, 2), (half - 1, 1), (quarter, 1)):
        assert [lever.change for lever in to_fit(QWEN, asked, free, "cuda") or []] == [
            {"micro_batch_size": rows, "gradient_accumulation_steps": 16 // rows}]
    names = [lever.name for lever in to_fit(QWEN, asked, quarter - 2**20, "cuda") or []]
    assert names == ["checkpointing"]


def test_what_fits_on_which_card() -> None:
    rows = what_fits(LLAMA, config())
    assert [row.card for row in rows] == ["8 GB", "12 GB", "16 GB", "24 GB", "48 GB", "2 × 24 GB"]
    assert rows[3].longest == rows[5].longest and rows[3].usable == rows[5].usable  # two cards share the rows
    for row in rows:
        assert row.usable == row.memory - fit_badge.TAKEN
        assert (row.longest["qlora"] or 0) >= (row.longest["lora"] or 0) >= (row.longest["full"] or 0)
    for method in fit_badge.METHODS:
        found = [row.longest[method] or 0 for row in rows[:5]]
        assert found == sorted(found)
    assert rows[0].longest["lora"] is None  # 16 GB of weights
    assert (rows[1].longest["qlora"] or 0) >= 1024
    assert rows[3].longest["full"] is None


@pytest.mark.parametrize(("method", "free"), [("lora", 5 * GB), ("qlora", 3 * GB)])
def test_the_next_length_does_not_fit(method: str, free: int) -> None:
    found, steps = fit_badge.longest(QWEN, config(), method, free), list(fit_badge.lengths(QWEN.context_length))
    assert found is not None and found != steps[-1]
    asked = config(method=method, micro_batch_size=1, gradient_checkpointing=True, gradient_accumulation_steps=16)
    needed = [estimate(QWEN, replace(asked, max_length=length), "cuda").high
              for length in (found, steps[steps.index(found) + 1])]
    assert needed[0] <= free < needed[1]
    assert fit_badge.longest(QWEN, config(), method, 0) is None


def test_lengths_are_powers_of_two_and_one_and_a_half_times_those() -> None:
    assert list(fit_badge.lengths(2048)) == [256, 384, 512, 768, 1024, 1536, 2048]
    assert list(fit_badge.lengths(1000)) == [256, 384, 512, 768, 1000]
