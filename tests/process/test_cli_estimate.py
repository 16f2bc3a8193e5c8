"""`slmstudio estimate`: the parts, the verdict, and what would make it fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slmstudio.cli import commands
from slmstudio.cli.estimate import GB, card_memory
from slmstudio.core.errors import UserError


@pytest.fixture
def estimate(studio_home: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str, status: int = 0) -> dict[str, Any]:
        assert commands.main(["estimate", "--model", str(tiny_model), *arguments, "--json"]) == status
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    return call


def test_parts_range_and_verdict(estimate: Any) -> None:
    found = estimate("--method", "qlora", "--max-length", "256", "--micro-batch", "4", "--gpu", "12GB")
    assert list(found["parts"]) == ["weights", "adapter", "gradients", "optimizer", "activations", "logits",
                                    "fragmentation", "overhead"]
    assert sum(found["parts"].values()) == found["likely"]
    assert found["low"] < found["likely"] < found["high"] < found["free"] < 12 * GB
    assert (found["fits"], found["verdict"], found["to_fit"]) == (True, "fits", {})
    assert [found[name] for name in ("method", "max_length", "micro_batch_size")] == ["qlora", 256, 4]
    assert [card["card"] for card in found["cards"]] == ["8 GB", "12 GB", "16 GB", "24 GB", "48 GB", "2 × 24 GB"]


def test_levers_and_what_makes_it_fit(estimate: Any) -> None:
    asked = ("--max-length", "512", "--micro-batch", "4096", "--set", "gradient_accumulation_steps=1", "--gpu", "8")
    found = estimate(*asked)
    assert (found["fits"], found["verdict"]) == (False, "no")
    saved = [lever["saves"] for lever in found["levers"]]
    assert saved == sorted(saved, reverse=True) and saved[-1] > 0
    again = estimate(*asked, *(f"--set={field}={value}" for field, value in found["to_fit"].items()))
    assert again["fits"] is True and again["micro_batch_size"] < 4096


def test_this_machine_without_a_card(estimate: Any) -> None:
    found = estimate("--set", "device=cpu")
    assert found["device"] == "cpu" and found["free"] > 0


def test_for_people(studio_home: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["estimate", "--model", str(tiny_model), "--gpu", "RTX 4090"]) == 0
    said = capsys.readouterr().out
    assert "It fits. 23.4 GB is free on a card with 24 GB." in said
    assert "activations" in said and "2 × 24 GB" in said


def test_what_cannot_be_is_told_at_once(estimate: Any) -> None:
    found = estimate("--max-length", "3", "--set", "micro_batch_size=0", status=2)
    assert {problem["field"] for problem in found["error"]["problems"]} == {"max_length", "micro_batch_size"}
    assert "GTX 9999" in estimate("--gpu", "GTX 9999", status=2)["error"]["what"]


@pytest.mark.parametrize(("name", "gigabytes"), [
    ("12GB", 12), ("24 gb", 24), ("8", 8), ("10.5GiB", 10.5), ("NVIDIA GeForce RTX 4090", 24), ("rtx4070 ti", 12)])
def test_a_card_by_its_size_or_its_name(name: str, gigabytes: float) -> None:
    assert card_memory(name) == gigabytes * GB


@pytest.mark.parametrize("name", ["", "0", "-1", "RTX", "12 TB"])
def test_no_card(name: str) -> None:
    with pytest.raises(UserError):
        card_memory(name)
