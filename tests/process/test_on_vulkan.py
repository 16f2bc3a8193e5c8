"""Chat, the server, an evaluation and the proof on Mesa's Vulkan driver that computes on the processor, as in
tests/worker/runtime/test_llama_vulkan.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import starter
from support.served_model import ANSWER, serving

from slmstudio.core.jobs import processes

SITE = os.environ.get("SLMSTUDIO_LLAMA_VULKAN", "")
LAVAPIPE = Path("/usr/share/vulkan/icd.d/lvp_icd.json")
ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.full, pytest.mark.timeout(1200),
              pytest.mark.skipif(not SITE or not LAVAPIPE.exists(), reason="no Vulkan build of llama.cpp")]
QUESTION = "What is the capital of India?"
NMSE = """
import json, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from slmstudio.core.chat.placement import Wish
from slmstudio.worker.model import placing
from slmstudio.worker.parity import llama_file
from slmstudio.worker.parity.llama_file import LlamaFile
gguf, out, ids = Path(sys.argv[1]), sys.argv[2], list(range(1000, 1024))
def logits(placement):
    file = LlamaFile(gguf, 64, placement)
    found = np.array([each.copy() for each in file.after(ids, 16)])
    file.close()
    return found - found.mean(axis=1, keepdims=True)
llama_file.work({"gguf": str(gguf), "device": "vulkan", "parts": [(ids, 16)], "out": out}, None)
with np.load(out) as saved:
    whole, placed = saved["logits"], json.loads(str(saved["placement"]))
ours = logits(placing.place(gguf, 64, Wish("cpu")))
part = placing.place(gguf, 64, Wish("vulkan", layers=12))
cards = tuple(placing.llama_devices.devices()[1:])
both = replace(part, devices=cards, split=(15, 16))
others = [whole - whole.mean(axis=1, keepdims=True), logits(part), logits(both)]
print(json.dumps({"cards": len(cards), "layers": [placed["layers_on_device"], part.layers, both.layers],
                  "nmse": [float(np.square(ours - each).sum() / np.square(ours).sum()) for each in others]}))
"""


@pytest.fixture(autouse=True)
def two_cards(monkeypatch, tmp_path) -> None:
    drivers = [tmp_path / "one.json", tmp_path / "two.json"]
    for path in drivers:
        path.write_text(LAVAPIPE.read_text())
    for name, value in {"GGML_VK_VISIBLE_DEVICES": "0,1", "VK_DRIVER_FILES": os.pathsep.join(map(str, drivers)),
                        "PYTHONPATH": os.pathsep.join((SITE, str(ROOT)))}.items():
        monkeypatch.setenv(name, value)


def test_the_chat_and_an_evaluation_answer_the_same_on_a_card(slmstudio, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"messages": [{"role": "user", "content": QUESTION},
                                             {"role": "assistant", "content": "New Delhi"}]}) + "\n")
    found: list[tuple[Any, ...]] = []
    for device in ("cpu", "vulkan"):
        chat = slmstudio("chat", starter.gguf(), "--prompt", QUESTION, "--temperature", 0, "--max-tokens", 5,
                         "--device", device, "--json", PYTHONPATH=os.environ["PYTHONPATH"]).json
        assert (chat["device"], chat["layers_on_device"]) == (device, 31 if device == "vulkan" else 0)
        assert chat["tokens_per_second"] > 0 and ("llvmpipe" in chat["device_name"]) is (device == "vulkan")
        scores = slmstudio("evaluate", starter.gguf(), "--test", rows, "--max-new-tokens", 5, "--device", device,
                           "--json", PYTHONPATH=os.environ["PYTHONPATH"]).json
        line = json.loads((Path(scores["evaluation"]) / "answers-0.jsonl").read_text("utf-8").splitlines()[-1])
        found.append((chat["reply"], line["answer"], line["reference_nats"]))
    assert found[0][:2] == found[1][:2] and found[0][2] == pytest.approx(found[1][2], rel=0.05)


def test_the_server_answers_on_a_card(tmp_path: Path) -> None:
    with serving(starter.gguf(), tmp_path, device="vulkan") as server:
        assert (server.said["device"], server.said["layers_on_device"]) == ("vulkan", 31)
        assert server.chat(max_tokens=5).choices[0].message.content.startswith(ANSWER)


def test_the_proof_is_within_its_limits_on_a_card_on_part_of_one_and_on_two(tmp_path: Path) -> None:
    from slmstudio.core.export.proof import CARD

    done = subprocess.run([sys.executable, "-c", NMSE, starter.gguf(), tmp_path / "out.npz"], capture_output=True,
                          text=True, env=processes.worker_environment())
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["cards"], found["layers"]) == (2, [31, 12, 31]) and max(found["nmse"]) < CARD.nmse, found
