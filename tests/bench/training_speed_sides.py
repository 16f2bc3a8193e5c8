"""What training_speed.py runs in processes of their own; each prints one JSON object last.

    stock REQUEST    stock SFTTrainer: tokens a second after the first step
    parts REQUEST    shares of our time, and the rate of large matrix products
    losses REQUEST   largest difference between a row's loss in a packed micro-batch and alone, fp32 and, where the
                     processor computes it, bf16
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

LOSS_ROWS = 6
"""The shortest: whether rows in a packed batch see each other, short ones show as well."""


def stock(config: RunConfig, rows: list[dict[str, Any]]) -> dict[str, float]:
    import datasets
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.ends.append(time.perf_counter())

    # Its own choice is bf16, which takes many times as long where the processor has to emulate it.
    precision = {} if read_machine().cpu_bf16 else {"bf16": False, "model_init_kwargs": {"dtype": "float32"}}
    with tempfile.TemporaryDirectory() as output:
        trainer = SFTTrainer(
            model=config.model,
            args=SFTConfig(
                **precision, output_dir=output, use_cpu=True, max_length=config.max_length, num_train_epochs=1,
                save_strategy="no", report_to="none", disable_tqdm=True,
                per_device_train_batch_size=config.micro_batch_size,
                gradient_accumulation_steps=config.gradient_accumulation_steps),
            train_dataset=datasets.Dataset.from_list(rows),
            peft_config=LoraConfig(r=config.lora_rank, lora_alpha=config.lora_alpha, task_type="CAUSAL_LM",
                                   target_modules=config.target_modules),
        )
        clock = Clock()
        trainer.add_callback(clock)
        collate = trainer.data_collator
        tokens: list[int] = []  # of each micro-batch, in their order

        def counted(examples: list[dict[str, Any]]) -> Any:
            tokens.append(sum(len(example["input_ids"]) for example in examples))
            return collate(examples)

        trainer.data_collator = counted
        trainer.train()
    after_the_first = sum(tokens[config.gradient_accumulation_steps :])
    return {"tokens_per_second": after_the_first / (clock.ends[-1] - clock.ends[0]), "tokens": sum(tokens)}


def parts(config: RunConfig, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of the time of two optimizer updates, and the rate of large matrix products."""
    from profiled_steps import profiled

    torch.set_num_threads(config.threads or torch.get_num_threads())
    with tempfile.TemporaryDirectory() as parent:
        config.max_steps = 4
        profiler = profiled(config, Path(parent), [torch.profiler.ProfilerActivity.CPU])
    times: dict[str, float] = {}
    for event in profiler.events():
        part = _part_of(event)
        times[part] = times.get(part, 0.0) + event.self_cpu_time_total
    total = sum(times.values())
    shares = {name: round(value / total, 3) for name, value in sorted(times.items(), key=lambda item: -item[1])}
    return {"parts": shares, "flops_per_second": matrix_rate(config)}


SCOPES = {"_PerRow": "attention", "scaled_dot_product": "attention", "_HeadLoss": "head and loss",
          "Optimizer.": "optimizer", "clip_grad": "optimizer", "_foreach": "optimizer", "DataLoader": "data"}
PRODUCTS = ("aten::mm", "aten::addmm", "aten::linear", "aten::bmm", "aten::matmul", "mkldnn")


def _part_of(event: Any) -> str:
    """The part of the work that an operation belongs to, by what it was called from."""
    scope = event
    while scope is not None:
        for mark, part in SCOPES.items():
            if mark in scope.name:
                return part
        scope = scope.cpu_parent
    return "matrix products" if event.name.startswith(PRODUCTS) else "element-wise and the rest"


def matrix_rate(config: RunConfig) -> float:
    """Multiplications and additions a second of a large product in the run's number format: the best of many."""
    kind = {"bf16": torch.bfloat16, "fp32": torch.float32}[config.precision]
    size = 2048
    a, b = torch.randn(size, size, dtype=kind), torch.randn(size, size, dtype=kind)
    best = 0.0
    for _ in range(12):
        begun = time.perf_counter()
        a @ b
        best = max(best, 2 * size**3 / (time.perf_counter() - begun))
    return best


def losses(config: RunConfig, rows: list[dict[str, Any]]) -> dict[str, float]:
    from dataclasses import replace

    from slmstudio.worker.runtime.context import JobContext
    from slmstudio.worker.training import train
    from slmstudio.worker.training.batches import PackedCollator, PaddedCollator
    from slmstudio.worker.training.trainer import per_row_losses

    found, rows = {}, sorted(rows, key=lambda row: len(row["input_ids"]))[:LOSS_ROWS]
    for precision in ("fp32", "bf16") if read_machine().cpu_bf16 else ("fp32",):
        with tempfile.TemporaryDirectory() as parent:
            wanted = replace(config, precision=precision, packing=True)
            job = folder.create(wanted, Path(parent))
            trainer = train.load(JobContext(job.folder, job.request()), wanted).trainer
        causal_lm = trainer.model.get_base_model().eval()
        packed = per_row_losses(causal_lm, PackedCollator()(rows))
        alone = [per_row_losses(causal_lm, PaddedCollator(0)([row]))[0] for row in rows]
        padded = per_row_losses(causal_lm, PaddedCollator(0)(rows))
        found[precision] = max(abs(a - b) for a, b in zip(packed, alone, strict=True))
        found[f"{precision} padded"] = max(abs(a - b) for a, b in zip(packed, padded, strict=True))
    return found


if __name__ == "__main__":
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    side = {"stock": stock, "parts": parts, "losses": losses}[sys.argv[1]]
    print()
    print(json.dumps(side(RunConfig.from_dict(request["config"]), json.loads(Path(request["tokens"]).read_text()))))
