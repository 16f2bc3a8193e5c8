"""Weights that aren't numbers are found before a model is used."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from support import crafted_models

from slmstudio.core.errors import Problem
from slmstudio.core.model.vetting import contents
from slmstudio.core.model.vetting.vet import vet
from slmstudio.core.model.weights import read_header, read_weights

WEIGHTS = "model.safetensors"
NAN = {"F32": struct.pack("<f", float("nan")), "BF16": b"\xc0\x7f"}
INFINITE = {"F32": struct.pack("<f", float("-inf")), "BF16": b"\x80\xff"}
LARGEST = {"F32": struct.pack("<f", 3.4e38), "BF16": b"\x7f\x7f"}


@pytest.fixture(autouse=True)
def _home(studio_home: Path) -> None:
    """What is remembered of a vetting stays with the test."""


def spoil(folder: Path, values: dict[str, bytes], at: int = -1) -> str:
    """Write a value over one of the last tensor's. Returns the tensor's name."""
    name, tensor = list(read_header(folder / WEIGHTS).items())[-1]
    value = values[tensor.dtype]
    with open(folder / WEIGHTS, "r+b") as file:
        file.seek(tensor.offset + (tensor.bytes - len(value) if at < 0 else at))
        file.write(value)
    return name


def found(folder: Path) -> tuple[float, list[str]]:
    """The share that was looked at, and what is wrong."""
    problems: list[Problem] = []
    weights = read_weights(folder, problems)
    assert weights is not None
    return contents.check_numbers(weights, problems), [problem.message for problem in problems]


def test_a_single_value_that_is_none_refuses_the_model(tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "model")
    [check] = [check for check in vet(folder).checks if check.name == "weights"]
    assert check.passed and check.sentence.endswith("All of them are numbers.")
    name = spoil(folder, NAN)
    [problem] = vet(folder).problems
    assert problem.message == (f"Some of the weights aren't numbers: NaN or infinity was found in {name}. Download the "
                               "model again.")


def test_infinity_is_no_number_and_the_largest_one_is(tmp_path: Path) -> None:
    folder = crafted_models.honest(tmp_path / "model")
    spoil(folder, LARGEST)
    assert found(folder) == (1.0, [])
    spoil(folder, INFINITE)
    assert len(found(folder)[1]) == 1


def test_of_large_weights_blocks_are_looked_at_and_that_is_said(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "BLOCK", 64)
    monkeypatch.setattr(contents, "MOST_BYTES", 1024)
    folder = crafted_models.honest(tmp_path / "model")
    share, problems = found(folder)
    assert 0 < share < 0.5 and problems == []
    assert "were checked, and all of those are numbers. The others are checked when" in contents.numbers_checked(share)
    spoil(folder, NAN, at=0)
    assert len(found(folder)[1]) == 1
