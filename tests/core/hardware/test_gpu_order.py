"""The cards as torch counts them, found among the driver's by their UUIDs."""

import pytest

from slmstudio.core.hardware import nvml
from slmstudio.core.hardware.machine import open_as_torch_counts, read_machine, torchs_first

FAST, SLOW = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"


@pytest.fixture
def two_cards(fake_nvml):
    """The driver counts the slow card first; CUDA counts the fast one first."""
    fake_nvml.set(count=2)
    fake_nvml.set(card=0, uuid=f"GPU-{SLOW}", name="NVIDIA GeForce RTX 3060", temperature=50)
    fake_nvml.set(card=1, uuid=f"GPU-{FAST}", name="NVIDIA GeForce RTX 4090", temperature=80)
    yield fake_nvml
    assert fake_nvml.users() == 0


def look(uuids, environ=None):
    """Temperatures in torch's order, and what was said."""
    monitors, reason = open_as_torch_counts(uuids, environ or {})
    temperatures = [monitor.read().temperature_c for monitor in monitors]
    for monitor in monitors:
        monitor.close()
    return temperatures, reason


def test_cards_come_in_the_order_of_torch(two_cards):
    assert look([FAST, SLOW]) == ([80, 50], "")
    assert look([f"GPU-{FAST.upper()}"]) == ([80], "")
    assert look([SLOW]) == ([50], "")


@pytest.mark.parametrize(("environ", "seen"), [
    ({}, [50]), ({"CUDA_VISIBLE_DEVICES": "1,0"}, [80]), ({"CUDA_VISIBLE_DEVICES": "GPU-aaaa"}, [80]),
    ({"CUDA_VISIBLE_DEVICES": "0"}, [50]), ({"CUDA_VISIBLE_DEVICES": "1,7"}, [80]),
    ({"CUDA_VISIBLE_DEVICES": "MIG-1f2e"}, [50])])
@pytest.mark.parametrize("uuid", [None, "cccccccc-0000-4000-8000-000000000003"])
def test_without_a_known_uuid_the_environment_decides_and_it_is_said(two_cards, uuid, environ, seen):
    temperatures, reason = look([uuid], environ)
    assert temperatures == seen
    names = {(50,): "GPU 0 (NVIDIA GeForce RTX 3060)", (80,): "GPU 1 (NVIDIA GeForce RTX 4090)"}[
        tuple(seen)]
    assert reason == ("It isn't certain which cards the run uses, because PyTorch and the driver name them "
                      f"differently. These are watched: {names}.")


def test_a_machine_has_the_cards_that_torch_sees_first(two_cards):
    machine = read_machine()
    assert [gpu.index for gpu in machine.gpus] == [0, 1]
    assert [gpu.index for gpu in torchs_first(machine, [FAST]).gpus] == [1, 0]
    assert torchs_first(machine, [SLOW, FAST]) == torchs_first(machine, None) == machine


def test_the_only_card_needs_no_name(fake_nvml):
    fake_nvml.set(uuid=None)
    assert look([None]) == ([46], "")


def test_without_a_driver(fake_nvml):
    fake_nvml.remove_driver()
    assert look([FAST]) == ([], nvml.NO_DRIVER)
