"""The cards that training may use: the same, in the same order, for the plan and for the worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from slmstudio.core.hardware.machine import HIDDEN, VISIBLE_DEVICES, Gpu, read_machine, usable
from slmstudio.core.jobs import processes

GB = 1024**3
SMALL, LARGE = "GPU-bbbbbbbb-0000-4000-8000-000000000002", "GPU-aaaaaaaa-0000-4000-8000-000000000001"
CARDS = {
    SMALL: {"name": "NVIDIA GeForce RTX 4060", "compute_capability": 89, "memory_total": 8 * GB},
    LARGE: {"name": "NVIDIA GeForce RTX 3090", "compute_capability": 86, "memory_total": 24 * GB},
}
WORKER = """
import json, os
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.jobs import processes
os.environ.update(processes.worker_environment())
print(json.dumps([os.environ.get("CUDA_VISIBLE_DEVICES"), [gpu.uuid for gpu in read_machine().gpus]]))
"""


@pytest.fixture
def mixed(fake_nvml):
    """Two unlike cards, in the slots that the test says."""
    def put(*slots):
        fake_nvml.set(count=len(slots))
        for index, uuid in enumerate(slots):
            fake_nvml.set(card=index, uuid=uuid, **CARDS[uuid])

    yield put
    assert fake_nvml.users() == 0


def seen_by_worker():
    """CUDA_VISIBLE_DEVICES of a worker, and the cards that it reads."""
    done = subprocess.run([sys.executable, "-P", "-c", WORKER], env=processes.worker_environment("train"),
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(("slots", "environment"), [((SMALL, LARGE), f"{LARGE},{SMALL}"), ((LARGE, SMALL), None)])
def test_the_card_that_suits_training_best_comes_first_whatever_its_slot(mixed, slots, environment):
    mixed(*slots)
    assert [gpu.uuid for gpu in read_machine().gpus] == [LARGE, SMALL]
    assert seen_by_worker() == [environment, [LARGE, SMALL]]


@pytest.mark.parametrize("slots", [(SMALL, LARGE), (LARGE, SMALL)])
@pytest.mark.parametrize(("given", "places"), [
    ("0", [0]), ("1", [1]), ("1,0", [1, 0]), ("0,7,1", [0]), ("", []), ("-1", []), (SMALL[:8], [SMALL]),
    (f"{SMALL},{LARGE}", [SMALL, LARGE]), ("MIG-1f2e", [0, 1])])
def test_what_the_user_says_goes_for_plan_and_worker(mixed, monkeypatch, slots, given, places):
    mixed(*slots)
    monkeypatch.setenv(VISIBLE_DEVICES, given)
    machine = read_machine()
    assert [gpu.uuid for gpu in machine.gpus] == [slots[each] if each in (0, 1) else each for each in places]
    assert (machine.gpu_reason == HIDDEN) == (not places)
    assert processes.worker_environment()[VISIBLE_DEVICES] == given
    assert [gpu.index for gpu in read_machine({}).gpus] == [slots.index(LARGE), slots.index(SMALL)]


def test_cards_without_a_uuid_are_known_by_their_numbers(mixed, fake_nvml):
    mixed(SMALL, LARGE)
    for card in (0, 1):
        fake_nvml.set(card=card, uuid="NOT_SUPPORTED")
    assert processes.worker_environment()[VISIBLE_DEVICES] == "1,0"


def test_equal_cards_and_a_single_one_stay_as_they_are(mixed, fake_nvml):
    mixed(LARGE)
    assert VISIBLE_DEVICES not in processes.worker_environment()
    fake_nvml.set(count=2)
    fake_nvml.set(card=1, uuid=SMALL)
    assert VISIBLE_DEVICES not in processes.worker_environment() and VISIBLE_DEVICES not in os.environ


@pytest.mark.parametrize(("better", "worse"), [
    (((8, 9), 24), ((8, 6), 24)), (((8, 6), 24), ((8, 9), 8)), (((8, 6), 12), ((7, 5), 24)),
    (((7, 5), 8), ((6, 1), 24)), (((6, 1), 4), (None, None))])
def test_what_suits_training_best(better, worse):
    """Its generation's arithmetic and kernels first, then its memory."""
    cards = [Gpu(index, "", gigabytes and gigabytes * GB, None, capability)
             for index, (capability, gigabytes) in enumerate((worse, better))]
    assert usable(cards, {}) == cards[::-1]
