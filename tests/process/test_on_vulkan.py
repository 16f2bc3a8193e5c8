"""The whole path on a Vulkan device: Mesa's software one will do. Skipped where llama.cpp has no Vulkan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import starter

from slmstudio.core.jobs import processes
from slmstudio.core.jobs.interactive import InteractiveWorker

QUESTION = "What is the capital of India?"
SHOWN = "GGML_VK_VISIBLE_DEVICES"
"""llama.cpp passes over software devices unless they're named."""


def python(code: str, *words: object, devices: str = "0") -> Any:
    """What a line of JSON says that a process with these Vulkan devices prints last."""
    found = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True,
                           env={**processes.worker_environment(), SHOWN: devices})
    return json.loads(found.stdout.splitlines()[-1])


DEVICES = """
import json, dataclasses
from slmstudio.worker.runtime import llama_devices
print(json.dumps([dataclasses.asdict(each) for each in llama_devices.devices()]))
"""
LOGITS = """
import json, sys
from pathlib import Path
import numpy as np
from slmstudio.core.chat.placement import Wish
from slmstudio.worker.model import placing
from slmstudio.worker.parity import llama_file
from slmstudio.worker.parity.llama_file import LlamaFile
gguf, out, ids = Path(sys.argv[1]), sys.argv[2], list(range(1000, 1024))
llama_file.work({"gguf": str(gguf), "device": "vulkan", "parts": [(ids, 8)], "out": out}, None)
with np.load(out) as saved:
    theirs, placed = saved["logits"], json.loads(str(saved["placement"]))
ours = np.array([each.copy() for each in LlamaFile(gguf, 64).after(ids, 8)])
ours -= ours.mean(axis=1, keepdims=True); theirs -= theirs.mean(axis=1, keepdims=True)
half, _ = placing.load(gguf, 64, Wish("vulkan", layers=12), lambda placement: LlamaFile(gguf, 64, placement))
part = np.array([each.copy() for each in half.after(ids, 8)])
part -= part.mean(axis=1, keepdims=True)
print(json.dumps({"layers": placed["layers_on_device"], "all": placed["layers"], "positions": len(theirs),
                  "nmse": float(np.square(ours - theirs).sum() / np.square(ours).sum()),
                  "half": float(np.square(ours - part).sum() / np.square(ours).sum()),
                  "same": float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())}))
"""


@pytest.fixture(scope="module")
def vulkan() -> dict[str, Any]:
    found = [each for each in python(DEVICES) if each["kind"] == "vulkan"]
    if not found:
        pytest.skip("no Vulkan device, or llama.cpp was built without Vulkan")
    return found[0]


@pytest.fixture(autouse=True)
def shown(vulkan, monkeypatch) -> None:
    monkeypatch.setenv(SHOWN, "0")


def test_the_device_is_named_with_its_memory(vulkan) -> None:
    assert vulkan["name"] and vulkan["total"] >= vulkan["free"] > 0
    assert python("print('[]')", devices="") == []


def test_chat_answers_the_same_on_the_device(slmstudio, vulkan) -> None:
    ask = ("chat", starter.gguf(), "--prompt", QUESTION, "--temperature", 0, "--max-tokens", 5, "--context", 256,
           "--json")
    cpu, card = (slmstudio(*ask, "--device", device).json for device in ("cpu", "vulkan"))
    assert cpu["reply"] == card["reply"] and (cpu["device"], cpu["layers_on_device"]) == ("cpu", 0)
    assert (card["device"], card["device_name"]) == ("vulkan", vulkan["name"])
    assert card["layers_on_device"] == card["layers"] == 31 and card["tokens_per_second"] > 0


@pytest.mark.full
def test_the_server_answers_on_the_device(studio_home) -> None:
    import urllib.request

    with InteractiveWorker("serve") as worker:
        worker.send({"command": "start", "path": str(starter.gguf()), "key": "k", "device": "vulkan", "parallel": 2,
                     "context_length": 256})
        serving = next(each for each in worker.receive() if each["type"] in ("serving", "error"))
        assert serving["device"] == "vulkan" and serving["layers_on_device"] == 31
        body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 8, "temperature": 0}
        request = urllib.request.Request(f"{serving['url']}/chat/completions", json.dumps(body).encode(), {
            "Authorization": "Bearer k", "Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["choices"][0]["message"]["content"].startswith("The capital of India")


@pytest.mark.full
def test_an_evaluation_answers_the_same_on_the_device(slmstudio, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"messages": [{"role": "user", "content": QUESTION},
                                             {"role": "assistant", "content": "New Delhi"}]}) + "\n")
    found = []
    for device in ("cpu", "vulkan"):
        scores = slmstudio("evaluate", starter.gguf(), "--test", rows, "--max-new-tokens", 5, "--device", device,
                           "--json").json
        lines = (Path(scores["evaluation"]) / "answers-0.jsonl").read_text("utf-8").splitlines()
        found.append(json.loads(lines[-1]))
    assert found[0]["answer"] == found[1]["answer"]
    assert found[0]["reference_nats"] == pytest.approx(found[1]["reference_nats"], rel=0.05)


def test_the_proof_on_the_device_is_within_its_limits(tmp_path: Path) -> None:
    from slmstudio.core.export.proof import CARD

    found = python(LOGITS, starter.gguf(), tmp_path / "out.npz")
    assert found["layers"] == found["all"] == 31 and found["positions"] == 16
    assert max(found["nmse"], found["half"]) < CARD.nmse and found["same"] >= (CARD.top1 or 0)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_worker_whose_driver_crashed_is_replaced_by_one_on_the_processor(studio_home) -> None:
    from slmstudio.cli.talk import Voice
    from slmstudio.core.errors import UserError

    voice = Voice(starter.gguf())
    with voice.worker:
        voice.load("vulkan", 256)
        voice.lane.tree.add("user", QUESTION)
        with pytest.raises(UserError, match="stopped computing"):
            voice.answer("", {"temperature": 0, "max_tokens": 99, "seed": 0}, lambda _: os.kill(voice.worker.pid, 9))
        voice.answer("", {"temperature": 0, "max_tokens": 4, "seed": 0}, lambda text: None)
        assert voice.result["device"] == "cpu" and voice.result["reply"]
