"""Everything that needs a card, on the one that is here; writes docs/gpu.md with its name.

    python tests/bench/gpu.py [--json] [--out docs/gpu.md] [--model qwen2.5-1.5b] [--skip-memory]

speed: a model of that size with random weights trains a few steps with each option: tokens a second (median after the
first steps), the peak of the card's memory, and what fell back and why.
memory: the table of tests/bench/memory.py, on the card.
readings: temperature, power and memory as the program reads them, beside what nvidia-smi says.
fit: fit checks beside the peak of a real run with the same settings.

Without a card it says so and exits with status 2. About 20 GB of disk are needed below the system's temporary folder.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

LENGTH, WARM_STEPS, STEPS = 1024, 3, 8
PLAIN: dict[str, Any] = {"packing": True, "micro_batch_size": 4, "gradient_accumulation_steps": 2, "max_length": LENGTH,
                         "precision": "bf16", "method": "lora"}
OPTIONS: dict[str, dict[str, Any]] = {
    "packed": {}, "padded": {"packing": False}, "FlashAttention 2": {"attention": "flash_attention_2"},
    "Liger": {"use_liger_kernel": True}, "compiled": {"torch_compile": True},
    "Liger, compiled": {"use_liger_kernel": True, "torch_compile": True},
    "recomputed": {"gradient_checkpointing": True}, "offloaded": {"activation_offload": True},
    "QLoRA": {"method": "qlora"}, "full": {"method": "full"},
    "full, 8-bit AdamW": {"method": "full", "optimizer": "adamw_8bit"},
    "full, paged 8-bit AdamW": {"method": "full", "optimizer": "paged_adamw_8bit"},
}
FITS = ("packed", "recomputed", "QLoRA")
SMI = ("temperature.gpu", "power.draw", "memory.used", "memory.total", "utilization.gpu")
NO_CARD = "There is no NVIDIA card here that PyTorch can use, so nothing was measured."


def train(changes: dict[str, Any], model: Path, place: Path) -> dict[str, Any]:
    """A short run with these settings."""
    from support import memory_cases

    from slmstudio.core.run import folder
    from slmstudio.core.run.config import RunConfig

    config = replace(RunConfig(name="gpu", model=str(model), train_file="t"), **{**PLAIN, **changes})
    rows = memory_cases.write_rows(place / "rows.jsonl", 4 * config.effective_batch_size, LENGTH)
    config = replace(config, train_file=str(rows), device="cuda", eval_fraction=0.0, max_steps=STEPS,
                     save_steps=10**6, sample_max_tokens=0)
    job = folder.create(config, place / "runs")
    job.start()
    outcome = job.wait()
    events = list(job.events())
    steps = [event for event in events if event["type"] == "step"][WARM_STEPS:]
    plan: dict[str, Any] = next((event for event in events if event["type"] == "plan"), {})
    peaks = [event["peak_bytes"] for event in events if event["type"] == "fit_measured"]
    return {
        "state": outcome.state, "error": (outcome.error or {}).get("what"),
        "tokens_per_second": round(statistics.median(step["tokens_per_second"] for step in steps)) if steps else None,
        "peak_bytes": peaks[-1] if peaks else None, "attention": plan.get("attention"),
        "cold_start_s": next((event["seconds"] for event in events if event["type"] == "compiled"), None),
        "fell_back": [event["message"] for event in events if event["type"] == "warning"]}


def speeds(model: Path, place: Path, say: Any) -> list[dict[str, Any]]:
    found = []
    for name, changes in OPTIONS.items():
        found.append({"option": name, **train(changes, model, place)})
        say(f"{name}: {found[-1]}")
    return found


def fits(model: Path, place: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fit check's peak beside that of the run."""
    from slmstudio.core.jobs import new
    from slmstudio.core.run.config import RunConfig
    from slmstudio.core.run.memory import fit_result

    found = []
    for name in FITS:
        config = replace(RunConfig(name="gpu", model=str(model), train_file=str(place / "rows.jsonl")),
                         **{**PLAIN, **OPTIONS[name], "device": "cuda", "eval_fraction": 0.0, "sample_max_tokens": 0})
        job = new.fit_check(config.to_dict())
        job.start()
        result = fit_result.of_job(job, job.wait())
        ran = next(row["peak_bytes"] for row in rows if row["option"] == name)
        found.append({"option": name, "fit_check_bytes": result["measured_peak"], "run_bytes": ran,
                      "fits": result["fits"], "estimate": result["estimate"]})
    return found


def readings() -> dict[str, Any]:
    """One card's readings by both; nvidia-smi's in its own units: °C, W, MiB, %."""
    from slmstudio.core.hardware import nvml

    monitors, _ = nvml.open_all()
    own = monitors[0].read()
    done = subprocess.run(["nvidia-smi", f"--query-gpu={','.join(SMI)}", "--format=csv,noheader,nounits", "--id=0"],
                          capture_output=True, text=True, check=True)
    for monitor in monitors:
        monitor.close()
    said = dict(zip(SMI, (each.strip() for each in done.stdout.split(",")), strict=True))
    ours = {"temperature.gpu": own.temperature_c, "power.draw": own.power_w,
            "memory.used": own.memory_used and own.memory_used >> 20,
            "memory.total": own.memory_total and own.memory_total >> 20, "utilization.gpu": own.utilisation}
    return {name: {"ours": ours[name], "nvidia-smi": said[name]} for name in SMI}


def page(found: dict[str, Any]) -> str:
    """docs/gpu.md."""
    none = "—"
    lines = ["# On a card", "", f"Measured by `tests/bench/gpu.py` on {found['card']} (compute capability "
             f"{found['capability']}), {found['memory_gb']} GB, PyTorch {found['torch']}, on {found['date']}.", "",
             f"## Training speed: {found['model']}, {LENGTH} tokens a row", "",
             "| option | tokens/s | peak, GB | attention | cold start, s | fell back |", "|---|---|---|---|---|---|"]
    for row in found["speed"]:
        peak = f"{row['peak_bytes'] / 2**30:.1f}" if row["peak_bytes"] else none
        speed, cold = row["tokens_per_second"] or row["error"], row["cold_start_s"] or none
        lines.append(f"| {row['option']} | {speed} | {peak} | {row['attention'] or none} | {cold} | "
                     f"{' '.join(row['fell_back']) or none} |")
    if found.get("memory"):
        lines += ["", "## Memory: estimated and measured", "",
                  "| configuration | measured, GB | estimated, GB | error |",
                  "|---|---|---|---|"]
        lines += [f"| {row['case']} | {row['measured'] / 2**30:.2f} | {row['estimated'] / 2**30:.2f} | "
                  f"{row['error']:+.1%} |" for row in found["memory"]]
    lines += ["", "## Readings", "", "| | ours | nvidia-smi |", "|---|---|---|"]
    lines += [f"| {name} | {row['ours']} | {row['nvidia-smi']} |" for name, row in found["readings"].items()]
    lines += ["", "## Fit checks", "", "| option | fit check, GB | the run, GB |", "|---|---|---|"]
    for row in found["fit"]:
        ran = f"{row['run_bytes'] / 2**30:.2f}" if row["run_bytes"] else none
        lines.append(f"| {row['option']} | {row['fit_check_bytes'] / 2**30:.2f} | {ran} |")
    return "\n".join(lines) + "\n"


def measure(model_name: str, skip_memory: bool, say: Any) -> dict[str, Any]:
    import memory
    import torch
    from support import memory_cases

    about = torch.cuda.get_device_properties(0)
    found: dict[str, Any] = {
        "card": about.name, "capability": f"{about.major}.{about.minor}", "torch": torch.__version__,
        "memory_gb": round(about.total_memory / 2**30), "model": model_name, "date": time.strftime("%Y-%m-%d")}
    with tempfile.TemporaryDirectory(prefix="slmstudio-gpu-") as temporary:
        place = Path(temporary)
        model = memory_cases.build(memory_cases.LARGE[model_name], place / model_name)
        found["speed"] = speeds(model, place, say)
        found["readings"] = readings()
        found["fit"] = fits(model, place, found["speed"])
    found["memory"] = [] if skip_memory else memory.on_card(memory.Kept(None), say)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu.md")
    parser.add_argument("--model", default="qwen2.5-1.5b")
    parser.add_argument("--skip-memory", action="store_true", help="leave out the table of memory, which takes longest")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print(NO_CARD, file=sys.stderr)
        return 2

    def say(text: str) -> None:
        print(text, file=sys.stderr if options.json else sys.stdout, flush=True)

    found = measure(options.model, options.skip_memory, say)
    options.out.write_text(page(found), encoding="utf-8")
    if options.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
