"""On a real card: the cards that a run's sensors read are those that PyTorch computes on."""

import pytest
import torch

from slmstudio.core.hardware.gpu_order import open_as_torch_counts
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.training import methods


def test_a_run_on_the_processor_computes_on_no_card():
    assert methods.cards(RunConfig("trial", "model", "rows.jsonl", device="cpu")) is None


@pytest.mark.gpu
def test_torchs_cards_are_found_by_their_uuids():
    if not torch.cuda.is_available():
        pytest.skip("this machine has no NVIDIA card")
    uuids = methods.cards(RunConfig("trial", "model", "rows.jsonl", device="auto"))
    monitors, reason = open_as_torch_counts(uuids, {})
    assert (len(uuids), reason) == (torch.cuda.device_count(), "")
    assert [monitor.name for monitor in monitors] == [torch.cuda.get_device_name(number)
                                                      for number in range(len(uuids))]
    for monitor in monitors:
        monitor.close()
