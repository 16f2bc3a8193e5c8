import pytest

from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.machine import Gpu, Machine, read_machine

GB, MB = 1024**3, 1024**2


@pytest.mark.parametrize(("name", "short"), [
    ("NVIDIA GeForce RTX 3060", "RTX 3060"), ("NVIDIA GeForce RTX 4060 Ti", "RTX 4060 Ti"),
    ("NVIDIA GeForce RTX 3060 Laptop GPU", "RTX 3060 Laptop"),
    ("NVIDIA GeForce RTX 3050 6GB Laptop GPU", "RTX 3050 Laptop"),
    ("NVIDIA GeForce GTX 1060 3GB", "GTX 1060"), ("GeForce GTX 1650", "GTX 1650"), ("Tesla T4", "T4"),
    ("NVIDIA RTX A4000", "RTX A4000"), ("Quadro RTX 4000", "RTX 4000"), ("NVIDIA A100-SXM4-80GB", "A100-SXM4"),
    ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA GB10", "GB10"),
])
def test_short_names(name, short):
    assert guidance.short_gpu_name(name) == short


def with_cards(*cards):
    gpus = tuple(Gpu(i, name, total, None, None) for i, (name, total) in enumerate(cards))
    return Machine("Linux", "Intel Core i5-10400", 6, 12, 16 * GB, 9 * GB, gpus, False, False)


RTX_4090 = ("NVIDIA GeForce RTX 4090", 24564 * MB)
RTX_3060 = ("NVIDIA GeForce RTX 3060", 12288 * MB)


@pytest.mark.parametrize(("cards", "chip"), [
    ([], "no NVIDIA GPU"), ([RTX_3060], "RTX 3060 · 12 GB"), ([RTX_4090, RTX_4090], "2 × RTX 4090 · 24 GB"),
    ([RTX_4090, RTX_3060], "RTX 4090 · 24 GB, RTX 3060 · 12 GB"), ([("NVIDIA GB10", None)], "GB10"),
    ([("NVIDIA GeForce RTX 4070 Laptop GPU", 8188 * MB)], "RTX 4070 Laptop · 8 GB"),
    ([("NVIDIA H100 80GB HBM3", 81559 * MB)], "H100 · 80 GB"),
])
def test_the_headers_chip(cards, chip):
    assert guidance.gpu_chip(with_cards(*cards)) == chip


def test_the_chip_of_the_card_that_the_driver_shows(fake_nvml):
    assert guidance.gpu_chip(read_machine()) == "RTX 3060 · 12 GB"


def test_processor_and_memory():
    assert guidance.cpu_chip(with_cards()) == "Intel Core i5-10400 · 6 cores · 16 GB"


def test_memory():
    assert guidance.memory_of(int(8.2 * GB), 12 * GB) == "8.2 of 12 GB"
    assert guidance.memory_of(512 * MB, 12 * GB) == "512 MB of 12 GB"
    assert guidance.memory_left(int(11.2 * GB), 12 * GB) == "11.2 GB of 12 free"
    assert guidance.memory_left(512 * MB, 12 * GB) == "512 MB of 12 GB free"
