"""The rows of gpu.py, each of which runs in a process of its own: `python gpu_rows.py NAME --device cuda --place DIR`.

A row returns its figures. It raises Failed where a figure is wrong and LeftOut where this machine can't do it. In a dry
run (`--device cpu`) the models are tiny, and what only a card has is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_checks
from gpu import MARK, Row
from gpu_runs import ROOT, Failed, Here, LeftOut, card, model_of, speed, train

__all__ = ["CHECKS", "MEASUREMENTS", "card", "rows"]


def speed_row(**changes: Any) -> Callable[[Here], dict[str, Any]]:
    """Tokens a second and the peak of a run with these settings on Qwen 2.5 1.5B's sizes."""
    def measure(here: Here) -> dict[str, Any]:
        if changes.get("use_liger_kernel"):
            here.need_card()
        found = train(here, model_of(here, "qwen2.5-1.5b"), 8 if here.on_card else 3, length=1024,
                      **{"packing": True, "micro_batch_size": 4, "gradient_accumulation_steps": 2, "method": "lora",
                         **changes})
        return {"tokens/s": speed(found), "peak GB": round((found.peak_bytes or 0) / 2**30, 2),
                "attention": found.of_type("plan")[0].get("attention"),
                "left out": "; ".join(event["code"] for event in found.of_type("warning")) or "nothing"}
    return measure


def stock(here: Here) -> dict[str, Any]:
    """TRL's own trainer with its defaults, on the same rows."""
    here.need_card()
    import datasets
    import torch
    from peft import LoraConfig
    from support import memory_cases
    from trl import SFTConfig, SFTTrainer

    model, length = model_of(here, "qwen2.5-1.5b"), 1024
    rows = memory_cases.write_rows(here.place / "rows.jsonl", 64, length)
    texts = [{"prompt": row["instruction"], "completion": row["output"]}
             for row in map(json.loads, rows.read_text("utf-8").splitlines())]
    args = SFTConfig(output_dir=str(here.place / "stock"), max_length=length, per_device_train_batch_size=4,
                     gradient_accumulation_steps=2, max_steps=8, save_strategy="no", report_to="none", bf16=True,
                     logging_steps=1, disable_tqdm=True)
    trainer = SFTTrainer(model=str(model), args=args, train_dataset=datasets.Dataset.from_list(texts),
                         peft_config=LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear"))
    began = time.monotonic()
    trainer.train()
    torch.cuda.synchronize()
    return {"tokens/s": round(8 * 8 * length / (time.monotonic() - began)),
            "peak GB": round(torch.cuda.max_memory_reserved() / 2**30, 2)}


def memory_row(method: str) -> Callable[[Here], dict[str, Any]]:
    """What a run takes of the card beside its estimate: a case of tests/bench/memory.py."""
    def measure(here: Here) -> dict[str, Any]:
        here.need_card()
        from support.memory_cases import Case, estimated, run_case_on_card

        case = Case("llama-3.2-1b", "cuda", {"method": method, "max_length": 1024, "micro_batch_size": 4})
        measured, about = run_case_on_card(case, here.place)["measured"], estimated(case)
        return {"measured GB": round(measured / 2**30, 2), "estimated GB": round(about.total / 2**30, 2),
                "error": f"{about.total / measured - 1:+.1%}"}
    return measure


SMI = ("temperature.gpu", "power.draw", "memory.used", "memory.total", "utilization.gpu")


def readings(here: Here) -> dict[str, Any]:
    """The card's readings beside nvidia-smi's, in its units: °C, W, MiB, %."""
    here.need_card()
    from slmstudio.core.hardware import nvml

    monitors, _ = nvml.open_all()
    own = monitors[0].read()
    for monitor in monitors:
        monitor.close()
    done = subprocess.run(["nvidia-smi", f"--query-gpu={','.join(SMI)}", "--format=csv,noheader,nounits", "--id=0"],
                          capture_output=True, text=True, check=True)
    theirs = [each.strip() for each in done.stdout.split(",")]
    ours = (own.temperature_c, own.power_w, own.memory_used and own.memory_used >> 20,
            own.memory_total and own.memory_total >> 20, own.utilisation)
    return {name: f"{our} / {their}" for name, our, their in zip(SMI, ours, theirs, strict=True)}


def chat(here: Here) -> dict[str, Any]:
    """A run answers in the terminal's chat."""
    found = train(here, model_of(here), 2, method="lora")
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-P", "-m", "slmstudio", "chat", str(found.folder), "--prompt", "Hello?",
                           "--json"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise Failed(done.stderr.strip()[-200:])
    answer = json.loads(done.stdout.splitlines()[-1])
    return {"seconds": round(time.monotonic() - began, 1),
            **{name: answer[name] for name in ("device", "tokens_per_second") if name in answer}}


@dataclass(frozen=True)
class Kind:
    """
    Attributes:
        seconds: the row's limit.
    """

    title: str
    seconds: float
    run: Callable[[Here], dict[str, Any]]


CHECKS = {
    "lock": Kind("a tensor inside the lock, and the doctor", 60, gpu_checks.locked_tensor),
    "attention": Kind("attention of packed rows, against each row by itself", 90, gpu_checks.attention),
    "packed": Kind("LoRA, packed: losses against the processor's", 90, gpu_checks.packed_losses),
    "qlora": Kind("QLoRA, packed: adapter and memory", 60, gpu_checks.qlora),
    "fp16": Kind("fp16 for 20 steps", 60, gpu_checks.half_precision),
    "grouped": Kind("memory of attention where queries share keys", 40, gpu_checks.grouped_queries),
    "one-card": Kind("one process on a machine with two cards", 60, gpu_checks.one_of_two_cards),
    "two": Kind("two processes", 90, gpu_checks.two_processes),
    "out-of-memory": Kind("a micro-batch that is too large", 120, gpu_checks.out_of_memory),
    "profile": Kind("synchronisations, the head's share, offload", 150, gpu_checks.profile),
}
MEASUREMENTS = {
    "stock": Kind("TRL's own trainer, Qwen 2.5 1.5B, LoRA", 90, stock),
    "speed": Kind("ours on the same rows", 90, speed_row()),
    "speed-qlora": Kind("ours, QLoRA", 90, speed_row(method="qlora")),
    "memory-lora": Kind("memory of Llama 3.2 1B, LoRA", 90, memory_row("lora")),
    "memory-qlora": Kind("memory of Llama 3.2 1B, QLoRA", 90, memory_row("qlora")),
    "readings": Kind("readings: ours / nvidia-smi's", 20, readings),
    "chat": Kind("chat with a run", 90, chat),
    "speed-compiled": Kind("ours, compiled layers", 120, speed_row(torch_compile=True)),
    "speed-liger": Kind("ours, Liger's kernels", 90, speed_row(use_liger_kernel=True)),
    "speed-full": Kind("ours, every weight, 8-bit AdamW", 120, speed_row(method="full", optimizer="adamw_8bit")),
}


def rows(names: Sequence[str], place: Path, dry: bool) -> Iterator[Row]:
    for name in names:
        kind = CHECKS.get(name) or MEASUREMENTS[name]
        yield Row(name, kind.title, kind.seconds, [
            sys.executable, str(Path(__file__)), name, "--device", "cpu" if dry else "cuda",
            "--models", str(place / "models")])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*CHECKS, *MEASUREMENTS])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    options = parser.parse_args()
    options.models.mkdir(parents=True, exist_ok=True)
    kind = CHECKS.get(options.name) or MEASUREMENTS[options.name]
    found: dict[str, Any] = {"state": "passed", "figures": {}, "why": ""}
    try:
        found["figures"] = kind.run(Here(options.device, options.place, options.models))
    except LeftOut as reason:
        found |= {"state": "left out", "why": str(reason)}
    except Failed as reason:
        found |= {"state": "failed", "why": str(reason)}
    print(MARK + json.dumps(found), flush=True)
    return int(found["state"] == "failed")


if __name__ == "__main__":
    sys.exit(main())
