"""Of a machine where all is well nothing else is said."""

from __future__ import annotations

import doctest

import pytest
from support import healthy_machines

from slmstudio.core.hardware.doctor import checks_graphics, system
from slmstudio.core.hardware.doctor.facts import TOPICS, Facts, report_text, worst
from slmstudio.core.hardware.doctor.gather import examine


@pytest.mark.parametrize("name", healthy_machines.ALL)
def test_nothing_is_wrong_with_a_healthy_machine(name: str):
    lines = examine(healthy_machines.ALL[name]())
    assert [line for line in lines if line.state != "fine"] == []
    assert worst(lines) == "fine"
    assert {line.topic for line in lines} == set(TOPICS)
    # A line that is fine has a full sentence, and no remedy for what needs none.
    assert [line for line in lines if line.title[-1] not in ".:" or line.remedy or line.command] == []


def test_what_is_not_known_is_judged_by_nobody():
    assert examine(Facts()) == []


def test_what_is_said_of_a_good_desktop():
    said = {line.code: line for line in examine(healthy_machines.desktop())}
    assert said["driver"].title == "RTX 3060 · 12 GB works with its driver."
    assert said["driver"].why == "Driver 580.95.05. It supports CUDA up to 13.0."
    assert said["torch"].title == "PyTorch 2.13.0+cu130, built for CUDA 13.0, computes on the card."
    assert "computes in bf16" in said["generation"].why and "FlashAttention" in said["generation"].why
    assert said["bitsandbytes"].title == ("bitsandbytes works on the card: QLoRA and 8-bit optimizers can be used.")
    assert said["llama"].title == "llama.cpp works on the processor."
    assert "SLM Studio's own cache: 40 MB." in report_text(list(said.values()))


def test_what_is_said_of_a_machine_without_a_card():
    said = {line.code: line for line in examine(healthy_machines.laptop())}
    assert said["driver"].title == "There is no NVIDIA card here."
    assert said["amd"].title == "AMD Radeon 780M drives the display."
    assert said["torch"].title == "PyTorch 2.13.0+cpu computes on the processor."


def test_the_examples_in_docstrings():
    for module in (checks_graphics, system):
        found = doctest.testmod(module)
        assert found.attempted and not found.failed
