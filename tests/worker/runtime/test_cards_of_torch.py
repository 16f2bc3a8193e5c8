"""On a real card: the cards that a run's sensors read are those that PyTorch computes on."""

from types import SimpleNamespace

import pytest
import torch

from slmstudio.core.hardware.machine import open_as_torch_counts
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.training import methods


def test_a_run_on_the_processor_computes_on_no_card():
    assert methods.cards(RunConfig("trial", "model", "rows.jsonl", device="cpu")) is None


def test_one_process_computes_on_the_first_of_two_cards(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid=f"card {number}"))
    config = RunConfig("trial", "model", "rows.jsonl", device="auto")
    assert methods.cards(config) == ["card 0"]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert methods.cards(config) == ["card 0", "card 1"]


@pytest.mark.gpu
def test_torchs_cards_are_found_by_their_uuids():
    if not torch.cuda.is_available():
        pytest.skip("this machine has no NVIDIA card")
    uuids = methods.cards(RunConfig("trial", "model", "rows.jsonl", device="auto"))
    monitors, reason = open_as_torch_counts(uuids, {})
    assert (len(uuids), reason) == (1, "")
    assert [monitor.name for monitor in monitors] == [torch.cuda.get_device_name(number)
                                                      for number in range(len(uuids))]
    for monitor in monitors:
        monitor.close()
