"""What is advised for a machine, and that it agrees with what the estimate says fits there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.machines import machine

from slmstudio.core.hardware import guidance
from slmstudio.core.model import catalogue
from slmstudio.core.run.memory.fit_badge import badge


@pytest.mark.parametrize(("name", "capability", "sentence"), [
    ("NVIDIA GeForce RTX 3060", (8, 6),
     "RTX 3060 computes in bf16, which has the range of fp32, and is new enough for FlashAttention."),
    ("NVIDIA A100-SXM4-40GB", (8, 0),
     "A100-SXM4 computes in bf16, which has the range of fp32, and is new enough for FlashAttention."),
    ("NVIDIA GeForce RTX 2070", (7, 5),
     "RTX 2070 is older than Ampere (compute capability 7.5; bf16 and FlashAttention need 8.0): it trains in fp16 with "
     "loss scaling, and PyTorch's own attention is used."),
])
def test_what_the_cards_generation_can_do(name: str, capability: tuple[int, int], sentence: str):
    assert guidance.advice(machine(12, name=name, capability=capability)) == [sentence]


def test_nothing_is_said_of_a_card_that_tells_nothing():
    assert guidance.advice(machine(12, capability=None)) == []


@pytest.mark.parametrize(("gpu", "ram", "said"), [
    (12, 24, ""), (12, 23.4, ""), (24, 64, ""),  # 23.4 of 24 GB is what a system says
    (12, 16, "This machine has 16 GB of main memory. At least twice the GPU's memory is advised, 24 GB here: models "
             "are read, merged and exported in it."),
    (24, 32, "This machine has 32 GB of main memory. At least twice the GPU's memory is advised, 48 GB here: models "
             "are read, merged and exported in it."),
])
def test_main_memory_ought_to_be_twice_the_cards(gpu: float, ram: float, said: str):
    assert "".join(guidance.advice(machine(gpu, ram_gb=ram))[1:]) == said


@pytest.mark.parametrize(("gpu", "method", "fitting", "too_large"), [
    (8, "QLoRA tunes models of up to 4 B parameters", ("Qwen3 4B", "Phi-4 mini Instruct"), "Llama 3 8B"),
    (8, "LoRA those of up to 1.7 B", ("Qwen3 1.7B", "SmolLM2 1.7B", "Llama 3.2 1B"), "Qwen2.5 3B"),
    (6, "QLoRA tunes models of up to 1.7 B parameters", ("Qwen3 1.7B", "SmolLM2 1.7B"), "Mistral 7B v0.3"),
    (4, "LoRA tunes models of up to 0.5 B parameters", ("Qwen2.5 0.5B", "SmolLM2 360M"), "Qwen2.5 1.5B"),
])
def test_what_a_small_card_can_do_is_what_the_estimate_says(gpu, method, fitting, too_large):
    here = machine(gpu)
    advice = " ".join(guidance.advice(here))
    assert f"With {gpu} GB and " in advice and method in advice
    wanted = {"full", "lora"} if method.startswith("LoRA") else {"full", "lora", "qlora"}
    kinds = {}
    for title in (*fitting, too_large):
        entry = catalogue.find(title)
        facts = entry and entry.facts(Path("x"))
        found = badge(facts, here) if facts else None
        kinds[title] = found.kind if found else None
    assert {kinds.pop(title) for title in fitting} <= wanted
    assert kinds[too_large] not in wanted


def test_a_machine_without_a_card():
    missing, small, bf16 = guidance.advice(machine())
    assert missing == "No NVIDIA driver was found on this machine."
    assert small.startswith("Training runs on the processor: ")
    assert bf16.startswith("This processor has no bf16 arithmetic")
    assert "at most 1.7 B parameters" in small
    alone = guidance.advice(replace(machine(cpu_bf16=True), physical_cores=2))
    assert len(alone) == 2 and "at most 1 B parameters" in alone[1]


def test_a_disk_is_measured_and_left_as_it_was(tmp_path: Path):
    assert guidance.write_speed(tmp_path, 2 * 1024**2) > 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError):
        guidance.write_speed(tmp_path / "gone", 1024**2)


@pytest.mark.parametrize(("speed", "said"), [
    (2e9, "The disk for runs writes 1.9 GB per second: fast enough for checkpoints of any size."),
    (5e8, "The disk for runs writes 477 MB per second: enough for adapters."),
    (1e8, "The disk for runs writes 95 MB per second, which is slow. Keep runs on an SSD"),
])
def test_what_is_said_of_a_disk(speed: float, said: str):
    assert guidance.disk_advice(speed).startswith(said)
