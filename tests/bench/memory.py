"""Memory estimates against measurements: by model, method, length, micro-batch, recomputing and packing.

    python tests/bench/memory.py [--keep FILE] [--json] [--cpu-only | --fake-only | --gpu-only]

On the processor each configuration is a run's own worker that loads, evaluates, makes two steps with the longest rows,
or 60 with rows of many lengths, and saves; measured is the most that its process held (the system's `ru_maxrss`),
libraries included. For GPUs the bytes of fake tensors are counted through a step of real sizes
(tests/support/training_step.py); the estimate is then taken without what it adds for CUDA's context and the allocator's
fragments, which fake tensors don't have. Where there is a card the same configurations are trained on it.

With `--keep`, each measurement is added to FILE as a line of JSON, and those that are there aren't made again: what was
broken off continues. The estimates are always made again; after a change to training, begin with another FILE.

`error` is estimated over measured, less one. A false fit is a measurement above the estimate's upper end: a budget
between the two would be said to fit. Exit status 1 when the budgets below are missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import memory_cases  # noqa: E402
from support.memory_cases import LARGE, Case, estimated, sizes  # noqa: E402

MEDIAN, WORST = 0.05, 0.12
CHECKPOINTED = {"gradient_checkpointing": True}
FULL = {"method": "full"}
QLORA = {"method": "qlora"}
SMOLLM, QWEN, PHI3, MISTRAL = memory_cases.SMALL
FP32 = {"precision": "fp32"}
CPU = [
    *(Case(SMOLLM, "cpu", changes) for changes in (
        FP32, {**FP32, "max_length": 1024}, {**FP32, "micro_batch_size": 4, "packing": False},
        {**FP32, **CHECKPOINTED, "max_length": 1024}, {"gradient_accumulation_steps": 2}, FULL,
        {**FULL, **CHECKPOINTED, **FP32}, {**QLORA, **FP32, **CHECKPOINTED, "max_length": 1024})),
    *(Case(QWEN, "cpu", changes) for changes in (
        FP32, {**CHECKPOINTED, "lora_rank": 64}, {**FULL, **FP32, "max_length": 256},
        {**QLORA, **FP32, "max_length": 256})),
    *(Case(PHI3, "cpu", changes) for changes in (FP32, CHECKPOINTED)),
    *(Case(MISTRAL, "cpu", changes) for changes in (FP32, {**FULL, **FP32, "max_length": 256})),
    Case(SMOLLM, "cpu", {"max_length": 1024}, steps=60),
    Case(QWEN, "cpu", FP32, steps=60),
]
GPU = [
    Case("llama-3-8b", "cuda", {**QLORA, **CHECKPOINTED, "max_length": 1024, "micro_batch_size": 1}),
    Case("llama-3-8b", "cuda", {**QLORA, **CHECKPOINTED, "max_length": 4096, "micro_batch_size": 2}),
    Case("llama-3-8b", "cuda", {**QLORA, "max_length": 512, "micro_batch_size": 1}),
    Case("llama-3-8b", "cuda", {**CHECKPOINTED, "max_length": 2048, "micro_batch_size": 2}),
    Case("mistral-7b", "cuda", {"max_length": 1024, "micro_batch_size": 1}),
    Case("mistral-7b", "cuda", {**QLORA, **CHECKPOINTED, "max_length": 2048, "packing": False}),
    Case("phi-3-mini", "cuda", {**CHECKPOINTED, "max_length": 2048}),
    Case("phi-3-mini", "cuda", {**QLORA, "max_length": 1024, "micro_batch_size": 1}),
    Case("llama-3.2-1b", "cuda", {"max_length": 1024, "micro_batch_size": 4}),
    Case("llama-3.2-1b", "cuda", {"max_length": 1024, "micro_batch_size": 4, "packing": False}),
    Case("llama-3.2-1b", "cuda", {**FULL, **CHECKPOINTED, "max_length": 2048}),
    Case("llama-3.2-1b", "cuda", {**FULL, "max_length": 512, "gradient_accumulation_steps": 1}),
    Case("qwen2.5-1.5b", "cuda", {"max_length": 1024, "micro_batch_size": 4}),
    Case("qwen2.5-1.5b", "cuda", {**FULL, **CHECKPOINTED, "max_length": 1024, "optimizer": "adamw_8bit"}),
    Case("qwen2.5-1.5b", "cuda", {**QLORA, **CHECKPOINTED, "max_length": 4096}),
    Case("qwen3-1.7b", "cuda", {"max_length": 1024}),
    Case("qwen3-1.7b", "cuda", {**CHECKPOINTED, "max_length": 4096, "lora_rank": 64}),
    Case("gemma-3-1b", "cuda", {"max_length": 1024}),
    Case("smollm2-135m", "cuda", {**FULL, "max_length": 1024, "micro_batch_size": 8}),
    Case("smollm2-135m", "cuda", {"max_length": 2048, "micro_batch_size": 8}),
]


def judge(case: Case, measured: int, with_overhead: bool) -> dict[str, Any]:
    """A row of the table; bytes."""
    found = estimated(case)
    beside = 0 if with_overhead else found.overhead + found.fragmentation
    likely, high = found.total - beside, found.high - (0 if with_overhead else found.overhead)
    return {"case": case.name, "device": case.device, "measured": measured, "estimated": likely, "low": found.low,
            "high": high, "error": round(likely / measured - 1, 4), "phase": found.phase,
            "error_without_overhead": round((found.total - found.overhead) / max(1, measured - found.overhead) - 1, 4)
            if with_overhead else None, "false_fit": measured > high}


class Kept:
    """Measurements by what they are of, in a file where there is one."""

    def __init__(self, file: Path | None):
        self._file, self._found = file, {}
        with contextlib.suppress(FileNotFoundError):
            for text in file.read_text(encoding="utf-8").splitlines() if file else ():
                with contextlib.suppress(ValueError):  # a line that was broken off
                    row = json.loads(text)
                    self._found[row["of"]] = row

    def get(self, where: str, case: Case, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The measurement of a case, made now unless it's there."""
        of = f"{where}: {case.name}, {case.config.precision}"
        if of not in self._found:
            self._found[of] = {"of": of, **measure()}
            if self._file:
                with open(self._file, "a", encoding="utf-8") as file:
                    file.write("\n" + json.dumps(self._found[of]))
        return self._found[of]


def on_cpu(kept: Kept, say: Any) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for case in CPU:
            found = kept.get("worker", case, lambda case=case: memory_cases.run_case(case, Path(temporary)))
            rows.append({**judge(case, found["measured"], True), "seconds": found["seconds"]})
            say(line(rows[-1]))
    return rows


def on_fakes(kept: Kept, say: Any) -> list[dict[str, Any]]:
    rows = []
    for case in GPU:
        rows.append(judge(case, kept.get("fake", case, lambda case=case: fake(case))["measured"], False))
        say(line(rows[-1]))
    return rows


def fake(case: Case) -> dict[str, Any]:
    from support.training_step import measure

    config, lengths = case.config, None
    if not config.packing and config.micro_batch_size > 1:  # the mask is there where a row is shorter
        lengths = [config.max_length] * (config.micro_batch_size - 1) + [config.max_length - 1]
    return {"measured": measure(sizes(case.shape), config, "cuda", rows=lengths).peak}


def on_card(kept: Kept, say: Any) -> list[dict[str, Any]]:
    import torch

    free, rows = torch.cuda.mem_get_info()[0], []
    with tempfile.TemporaryDirectory() as temporary:
        for case in GPU:
            if case.shape in (LARGE["llama-3-8b"], LARGE["mistral-7b"]) or estimated(case).high > free:
                continue  # their weights, made up here, would have to be written to the disk first
            found = kept.get("card", case, lambda case=case: memory_cases.run_case_on_card(case, Path(temporary)))
            rows.append(judge(replace(case, device="cuda"), found["measured"], True))
            say(line(rows[-1]))
    return rows


def line(row: dict[str, Any]) -> str:
    mb = 2**20
    return (f"{row['measured'] / mb:9,.0f} MB measured {row['estimated'] / mb:9,.0f} estimated, at most "
            f"{row['high'] / mb:9,.0f} {row['error']:+7.1%} {row['case']}{'  FALSE FIT' if row['false_fit'] else ''}")


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    errors = [abs(row["error"]) for row in rows]
    return {"configurations": len(rows), "median": round(statistics.median(errors), 4), "worst": max(errors),
            "false_fits": sum(row["false_fit"] for row in rows)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="where measurements are kept, and found again")
    parser.add_argument("--json", action="store_true")
    which = parser.add_mutually_exclusive_group()
    for name in ("cpu", "fake", "gpu"):
        which.add_argument(f"--{name}-only", action="store_true")
    options = parser.parse_args()
    begun, kept = time.monotonic(), Kept(options.keep)

    def say(text: str) -> None:
        print(text, file=sys.stderr if options.json else sys.stdout, flush=True)

    rows = []
    if not (options.fake_only or options.gpu_only):
        rows += on_cpu(kept, say)
    if not (options.cpu_only or options.gpu_only):
        rows += on_fakes(kept, say)
    if options.gpu_only:
        rows += on_card(kept, say)
    result = {**summarise(rows), "cpu": None, "gpu": None, "seconds": round(time.monotonic() - begun, 1), "rows": rows}
    for device, name in (("cpu", "cpu"), ("cuda", "gpu")):
        if some := [row for row in rows if row["device"] == device]:
            result[name] = summarise(some)
    if options.json:
        print(json.dumps(result))
    else:
        print("{configurations} configurations: median error {median:.1%}, worst {worst:.1%}, {false_fits} false fits; "
              "{seconds:,.0f} s".format(**result))
    return int(result["median"] > MEDIAN or result["worst"] > WORST or result["false_fits"] > 0)


if __name__ == "__main__":
    sys.exit(main())
