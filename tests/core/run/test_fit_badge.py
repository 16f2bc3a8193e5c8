"""The badge beside a model: the most that the planner would make fit, on cards that aren't here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.machines import GB, machine

from slmstudio.core.model import catalogue
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import memory
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory.fit_badge import Badge, badge

ORDER = ("no", "tight", "qlora", "lora", "full")


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
    ("SmolLM2 135M", 8, "full"), ("Qwen2.5 1.5B", 8, "lora"), ("Qwen3 4B", 8, "qlora"), ("Llama 3 8B", 8, "tight"),
    ("Llama 3 8B", 12, "qlora"), ("Llama 3 8B", 24, "lora"), ("Llama 3.2 1B", 24, "full"),
])
def test_the_most_that_fits_on_a_card(title: str, gpu: float, expected: str):
    assert kind(title, gpu) == expected


def test_without_a_card_main_memory_counts():
    assert kind("Llama 3 8B", None, 8) == "no"
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
            assert found.bytes <= free
        elif found and found.kind == "no":
            assert found.bytes > free


def test_the_bytes_are_the_estimates():
    model = facts("Llama 3 8B")
    config = RunConfig(name="x", model="x", train_file="x", precision="bf16", method="qlora", max_length=1024,
                       micro_batch_size=1, gradient_checkpointing=True)
    assert badge(model, machine(6)) == Badge("no", memory.estimate(model, config, "cuda").high)


def test_a_base_that_is_packed_already_takes_an_adapter_only():
    packed = replace(facts("SmolLM2 135M"), quantization="bitsandbytes 4-bit", disk_bytes=120_000_000)
    found = badge(packed, machine(24))
    assert found and found.kind == "lora"


def test_a_card_that_does_not_tell_its_memory_has_no_badge():
    here = machine(12)
    silent = replace(here, gpus=(replace(here.gpus[0], memory_free=None),))
    assert badge(facts("SmolLM2 135M"), silent) is None


def test_a_badge_in_words():
    words = [str(Badge(kind, 13 * GB)) for kind in ("full", "lora", "qlora", "tight", "no")]
    assert words == ["fits full training", "fits LoRA", "fits QLoRA", "tight", "needs 13 GB"]
