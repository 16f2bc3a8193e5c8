"""The badge beside a model: the most that the planner would make fit, on cards that aren't here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.machines import GB, machine

from slmstudio.core.hardware.guidance import EVENING, LONG, SIZES, USUAL_TOKENS, largest_here, rough_seconds
from slmstudio.core.model import catalogue
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory.fit_badge import Badge, badge
from slmstudio.core.run.memory.formula import COMFORTABLE, Judgement, estimate, judge

ORDER = ("too_little", "little_room", "slow", "qlora", "lora", "full")


def facts(title: str) -> ModelFacts:
    entry = catalogue.find(title)
    found = entry and entry.facts(Path("x"))
    assert found
    return found


def kind(title: str, gpu: float | None, ram: float = 32) -> str:
    found = badge(facts(title), machine(gpu, ram_gb=ram))
    assert found
    return found.kind


@pytest.mark.parametrize(("title", "gpu", "expected"), [
    ("SmolLM2 135M", 8, "full"), ("Qwen2.5 1.5B", 8, "lora"), ("Qwen3 4B", 8, "qlora"),
    ("Llama 3 8B", 8, "little_room"), ("Llama 3 8B", 12, "qlora"), ("Llama 3 8B", 24, "lora"),
    ("Llama 3.2 1B", 24, "lora"), ("Llama 3.2 1B", 48, "full"),
])
def test_the_most_that_fits_on_a_card(title: str, gpu: float, expected: str):
    assert kind(title, gpu) == expected


def test_without_a_card_main_memory_counts():
    assert kind("Llama 3 8B", None, 8) == "too_little"
    assert kind("Llama 3.2 1B", None, 8) == "qlora"
    assert kind("SmolLM2 135M", None, 8) == "full"


@pytest.mark.parametrize("title", ["SmolLM2 135M", "Qwen2.5 1.5B", "Llama 3 8B", "Gemma 3 4B"])
def test_more_memory_never_fits_less(title: str):
    ranks = [ORDER.index(kind(title, gpu)) for gpu in (4, 6, 8, 12, 16, 24, 48, 80)]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("gpu", [8, 12, 16, 24])
def test_what_fits_needs_less_than_is_free(gpu: float):
    free = (gpu - 0.6) * GB
    for entry in catalogue.entries():
        then = entry.facts(Path("x"))
        found = badge(then, machine(gpu)) if then else None
        if found and found.fits:
            assert found.bytes <= COMFORTABLE * free
        elif found and found.kind == "too_little":
            assert found.bytes > free


def test_what_would_take_days_never_fits_however_much_memory_there_is():
    two_cores = replace(machine(None, ram_gb=28), physical_cores=2, cpu_bf16=True)
    found = badge(facts("Llama 3 8B"), two_cores)
    assert found and (found.judgement.level, found.fits) == ("tight", False) and found.time.likely > 2 * 24 * 3600
    assert badge(facts("Llama 3 8B"), replace(two_cores, ram_free=200 * GB)).kind == "slow"
    assert badge(facts("Qwen2.5 0.5B"), two_cores).fits
    assert badge(facts("Llama 3 8B"), machine(24)).fits


@pytest.mark.parametrize("cores", [1, 2, 8, 32])
@pytest.mark.parametrize("bf16", [False, True])
def test_the_doctor_and_the_badges_say_the_same(cores: int, bf16: bool):
    here = replace(machine(None, ram_gb=512), physical_cores=cores, cpu_bf16=bf16)
    for size in SIZES[1:]:
        assert (rough_seconds(int(size), USUAL_TOKENS, here, "lora") <= LONG) == (size <= largest_here(here))
        found = badge(replace(facts("Llama 3 8B"), parameters=int(size)), replace(here, ram_free=400 * GB))
        assert found and found.fits <= (size <= largest_here(here))


@pytest.mark.parametrize(("low", "high", "free", "seconds", "expected"), [
    (4, 8, 10, None, ("fits", "enough")), (4, 8, 10, 60, ("fits", "enough")),
    (4, 8.1, 10, 60, ("tight", "little_room")),
    (4, 12, 10, 60, ("tight", "little_room")), (11, 12, 10, 60, ("no", "too_little")),
    (1, 2, 10, 2 * EVENING, ("tight", "slow")), (11, 12, 10, 2 * EVENING, ("no", "too_little")),
    (1, 2, None, 60, ("tight", "unknown"))])
def test_memory_with_a_margin_and_time_decide(low, high, free, seconds, expected):
    assert (found := judge(low, high, free, seconds)) == Judgement(*expected) and found.fits == (expected[0] == "fits")


def test_the_bytes_are_the_estimates():
    model = facts("Llama 3 8B")
    config = RunConfig(name="x", model="x", train_file="x", precision="bf16", method="qlora", max_length=1024,
                       micro_batch_size=1, gradient_checkpointing=True)
    found = badge(model, machine(6))
    assert found and (found.kind, found.bytes) == ("too_little", estimate(model, config, "cuda").high)


def test_a_base_that_is_packed_already_takes_an_adapter_only():
    packed = replace(facts("SmolLM2 135M"), quantization="bitsandbytes 4-bit", disk_bytes=120_000_000)
    found = badge(packed, machine(24))
    assert found and found.kind == "lora"


def test_a_card_that_does_not_tell_its_memory_has_no_badge():
    here = machine(12)
    silent = replace(here, gpus=(replace(here.gpus[0], memory_free=None),))
    assert badge(facts("SmolLM2 135M"), silent) is None


def test_a_badge_in_words():
    levels = {"enough": "fits", "little_room": "tight", "slow": "tight", "too_little": "no"}
    cases = [("full", "enough"), ("lora", "enough"), ("qlora", "enough"), ("qlora", "little_room"), ("qlora", "slow"),
             ("qlora", "too_little")]
    words = [str(Badge(method, 13 * GB, Judgement(levels[reason], reason), None)) for method, reason in cases]
    assert words == ["fits full training", "fits LoRA", "fits QLoRA", "tight", "slow here", "needs 13 GB"]
