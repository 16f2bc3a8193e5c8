"""A model is loaded where it fits: less on a card that refuses, at last on the processor."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import starter

from slmstudio.core.chat.devices import Device
from slmstudio.core.chat.placement import Placement, Wish
from slmstudio.core.errors import UserError
from slmstudio.worker.model import placing

CARD = Placement(31, "", "vulkan", (Device("vulkan", "Radeon"),), (31,))


@pytest.mark.parametrize(("most", "tried", "found"), [(31, [31], 31), (20, [31, 23, 15], 15), (0, [31, 23, 15, 0], 0)])
def test_a_card_that_refuses_gets_less(monkeypatch, most, tried, found) -> None:
    monkeypatch.setattr(placing, "place", lambda path, tokens, wish: CARD)
    monkeypatch.setattr(placing.llama_devices, "has_backends_of_cards", lambda: True)
    seen, told = [], []

    def make(placement: Placement) -> int:
        seen.append(placement.layers)
        if placement.layers > most:
            raise UserError("No room.")
        return placement.layers

    model, placed = placing.load(Path("x"), 1, Wish(), make, told.append)
    assert (model, placed.layers, seen) == (found, found, tried)
    assert [each.layers for each in told] == [1, *tried], "a crash is known to be the card's"
    most = -1
    with pytest.raises(UserError, match="No room"):
        placing.load(Path("x"), 1, Wish(), make)


@pytest.mark.parametrize(("request_", "names"), [
    (None, []), ({"device": "cuda", "processes": 2}, ["A", "B"]), ({}, ["A"]), ({"device": "cpu"}, [])])
def test_a_run_takes_the_cards_that_it_trains_on(monkeypatch, request_, names) -> None:
    job, asked = request_ is not None and SimpleNamespace(request=lambda: request_), dict[str, Any]()
    monkeypatch.setattr(placing, "read_gpus", lambda: ([SimpleNamespace(name=name) for name in "AB"], ""))
    monkeypatch.setattr(placing.run_folder, "running", lambda: job or None)
    monkeypatch.setattr(placing.placement, "choose", lambda *_, **options: asked.update(options))
    placing.place(starter.gguf(), 256, Wish())
    assert asked["busy"] == names
