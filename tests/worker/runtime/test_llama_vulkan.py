"""llama.cpp's backend for graphics cards, with Mesa's driver that computes on the processor.

SLMSTUDIO_LLAMA_VULKAN names the folder in which a wheel with that backend is unpacked; docs/testing.md says how.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from slmstudio.core import checkup

SITE = os.environ.get("SLMSTUDIO_LLAMA_VULKAN", "")
LAVAPIPE = Path("/usr/share/vulkan/icd.d/lvp_icd.json")
pytestmark = [pytest.mark.full, pytest.mark.skipif(not SITE or not LAVAPIPE.exists(),
                                                   reason="no Vulkan build of llama.cpp")]


def found(monkeypatch, **environment: str) -> tuple[list[str], list[str]]:
    """The cards that a locked worker finds, and what it says of backends that can't be used."""
    for name, value in {"PYTHONPATH": SITE, "VK_DRIVER_FILES": str(LAVAPIPE), **environment}.items():
        monkeypatch.setenv(name, value)
    said = checkup.ask_libraries(["llama_cpp"])["llama_cpp"]
    assert said["error"] == "" and said["devices"][0]["kind"] == "cpu"
    cards = said["devices"][1:]
    assert all(card["kind"] == "vulkan" and card["total"] > 0 for card in cards)
    return [card["name"] for card in cards], said["problems"]


def driver(folder: Path, name: str, library: str) -> str:
    """A driver's description, as the loader reads it."""
    path = folder / name
    path.write_text(json.dumps({"file_format_version": "1.0.1",
                                "ICD": {"library_path": library, "api_version": "1.4.305"}}))
    return str(path)


def test_a_card_is_found_and_named(monkeypatch):
    cards, problems = found(monkeypatch, GGML_VK_VISIBLE_DEVICES="0")
    assert len(cards) == 1 and "llvmpipe" in cards[0] and problems == []


def test_two_cards_are_told_apart_by_their_place(monkeypatch, tmp_path):
    library = json.loads(LAVAPIPE.read_text())["ICD"]["library_path"]
    both = os.pathsep.join(driver(tmp_path, name, library) for name in ("one.json", "two.json"))
    cards, _ = found(monkeypatch, GGML_VK_VISIBLE_DEVICES="0,1", VK_DRIVER_FILES=both)
    assert len(cards) == 2


@pytest.mark.parametrize("library", ["", "libnothing.so", "text.so", "broken"])
def test_without_a_driver_that_loads_the_processor_is_left(monkeypatch, tmp_path, library):
    text = tmp_path / "text.so"
    text.write_text("no library")
    described = driver(tmp_path, "driver.json", str(text) if library == "text.so" else library)
    if library == "broken":
        Path(described).write_text("{")
    cards, _ = found(monkeypatch, GGML_VK_VISIBLE_DEVICES="0", VK_DRIVER_FILES=described)
    assert cards == []


def test_without_the_system_s_part_of_vulkan_a_sentence_says_so(monkeypatch, tmp_path):
    (tmp_path / "libvulkan.so.1").write_text("no library")
    cards, problems = found(monkeypatch, LD_LIBRARY_PATH=str(tmp_path))
    assert cards == [] and len(problems) == 1 and "libvulkan.so.1" in problems[0]
