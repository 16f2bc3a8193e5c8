"""One proposal: field after field, each with a sentence; each decision may look at the ones before."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from slmstudio.core import units
from slmstudio.core.data import layouts, split
from slmstudio.core.data.reader import Dataset
from slmstudio.core.errors import Problem
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.model import scratch
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import memory, plan_rows
from slmstudio.core.run.config import FIELDS, OBJECTIVES, PREFERENCES, RunConfig, default_of
from slmstudio.core.run.schedule import total_steps

EVALUATIONS, MOST_EVALUATIONS = 4, 20
PATIENCE = 3
LONG_CPU = 1024
LONG_GPU = 4096
PHYSICAL_SHARE = 0.9
"""Share of the free memory that a plan may fill."""


class Proposal:
    """Decides field after field.

    Args:
        chosen: what the user decided, by our names and in our types.
        lengths: tokens of each measured row, rising.
    """

    def __init__(self, dataset: Dataset, model: ModelFacts, machine: Machine, eval_file: Path | None,
                 chosen: dict[str, Any], lengths: list[int]):
        self.dataset, self.base, self.machine, self.eval_file = dataset, model, machine, eval_file
        self.chosen, self.lengths = chosen, lengths
        self.model = model
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}
        self.problems: list[Problem] = []

    def set(self, name: str, value: Any, reason: str) -> Any:
        """Take the user's value if there is one, else the proposal; keep the sentence."""
        if name in self.chosen:
            value, reason = self.chosen[name], "You set this."
        self.values[name], self.reasons[name] = value, reason
        return value

    def config(self) -> RunConfig:
        self.set("name", f"{self.dataset.name}-{self.base.name}", "From the data and the model.")
        self.values["model"], self.values["train_file"] = str(self.base.path), str(self.dataset.path)
        if self.eval_file and "eval_file" not in self.chosen:
            self.values["eval_file"] = str(self.eval_file)
            self.reasons["eval_file"] = "The test rows that you chose; they are never learned."
        self.objective()
        self.device()
        self.method()
        self.lengths_and_batch()
        self.learning()
        self.speed()
        self.memory()
        self.intervals()
        self.defaults()
        return RunConfig(**self.values, reasons=self.reasons)

    def defaults(self) -> None:
        """What does not depend on data, model or machine."""
        for name, about in FIELDS.items():
            if about.reason and (name not in self.values or name in self.chosen):
                self.set(name, default_of(name), about.reason)
        self.reasons |= {name: reason for name, reason in self.without_eval.items() if name not in self.chosen}
        for name in ("model", "train_file"):
            if name in self.chosen:
                self.set(name, None, "")
            else:
                self.reasons[name] = "What you chose."

    def device(self) -> None:
        machine = self.machine
        gpu = machine.gpus[0] if machine.gpus else None
        device = self.set(
            "device", "auto", f"{gpu.name} is used." if gpu else "No NVIDIA GPU here, so the processor trains."
        )
        if device == "cuda" and gpu is None:
            self.problems.append(Problem(
                f"'cuda' is not possible: there is no NVIDIA GPU here to train on. {machine.gpu_reason} "
                "Set device to auto or cpu.", field="device"))
        self.gpu = gpu if device != "cpu" else None
        if self.gpu is None:
            cores = machine.physical_cores
            self.set("threads", cores, f"One thread for each of the {cores} cores.")
            fast = machine.cpu_bf16
            self.set(
                "precision",
                "bf16" if fast else "fp32",
                "This processor computes bf16 in hardware: faster than fp32, and half the memory for the base model."
                if fast
                else "This processor has no bf16 arithmetic; fp32 is the fastest it has.",
            )
        else:
            ampere = (self.gpu.compute_capability or (0, 0)) >= (8, 0)
            self.set(
                "precision",
                "bf16" if ampere else "fp16",
                "This GPU computes bf16, which has fp32's range."
                if ampere
                else "This GPU is older than Ampere and has no bf16; fp16 needs loss scaling, which is on.",
            )

    def objective(self) -> None:
        proposed = layouts.objectives(self.dataset.layout)
        objective = self.set("objective", proposed[0], {
            "sft": "The rows are questions with answers.", "text": "The rows are plain text.",
            "dpo": "The rows are pairs of a better and a worse answer.",
            "kto": "The rows are answers marked good or bad.",
        }[proposed[0]])
        if objective not in proposed and objective in OBJECTIVES.words:
            self.problems.append(Problem(
                f"{objective!r} does not fit these rows; it must be {' or '.join(proposed)}. "
                + layouts.sentence(self.dataset.layout), field="objective"))
        if objective in PREFERENCES:
            self.set("beta", 0.1, "The usual weight; higher stays closer to what the model said before.")

    def method(self) -> None:
        method = self.set("method", *self._method())
        if method == "scratch":
            size = self.set("scratch_size", "30M", "Small enough to learn whole sentences in hours on one GPU.")
            self.model = scratch.facts_of(self.base, size)
        adapter = method in ("lora", "qlora")
        if adapter:
            rank = self.set("lora_rank", 16, "16 suits most tasks; 8 is enough for style, 64 for much new knowledge.")
            if self.chosen.get("use_rslora"):
                self.set("lora_alpha", max(1, round(2 * math.sqrt(rank))), "Twice the rank's root: LoRA's usual scale.")
            else:
                self.set("lora_alpha", 2 * rank, "Twice the rank, the usual scale.")
            self.set("target_modules", "all-linear",
                     "Every linear layer gets an adapter; attention alone learns less (arXiv 2305.14314, section 4).")
        self._learning_rate(method)

    def _method(self) -> tuple[str, str]:
        """LoRA where the base fits into memory as it is, QLoRA where only its 4-bit form does."""
        lora = ("lora", "An adapter learns and the base stays as it is: little memory, and hard to spoil.")
        free = self.free_memory()
        if not free or self.base.quantization:
            return lora
        smallest = RunConfig(
            name="x", model=str(self.base.path), train_file="x", precision=self.values["precision"], method="lora",
            max_length=min(512, self.base.context_length), micro_batch_size=1, gradient_checkpointing=True)
        device = "cuda" if self.gpu else "cpu"
        need = memory.estimate(self.base, smallest, device).high
        if need <= free * PHYSICAL_SHARE:
            return lora
        four_bit = memory.estimate(self.base, replace(smallest, method="qlora"), device).high
        return "qlora", (f"LoRA would need about {units.format_bytes(need)} of {units.format_bytes(free)} free; with "
                         f"the base in 4 bits it is {units.format_bytes(four_bit)}.")

    def free_memory(self) -> int:
        """Bytes free where the model will lie; 0 where nobody says."""
        return (self.gpu.memory_free if self.gpu else self.machine.ram_free) or 0

    def _learning_rate(self, method: str) -> None:
        parameters, objective = self.model.parameters, self.values["objective"]
        sizes = ((200e6, 2e-3, 1e-4), (500e6, 1e-3, 5e-5), (2e9, 3e-4, 2e-5), (math.inf, 2e-4, 1e-5))
        lora_rate, full_rate = next((lora, full) for limit, lora, full in sizes if parameters < limit)
        rate, what = (full_rate, "all weights") if method == "full" else (lora_rate, "an adapter")
        count = units.format_count(parameters)
        reason = f"Suits {what} of a model with {count} parameters; larger models take smaller steps."
        if method == "scratch":
            rate, reason = 1e-3, "Random weights take large steps at first."
        if objective in PREFERENCES:
            part = 4 if objective == "orpo" else 10
            rate /= part
            reason = f"A {part}th of what answers are learned with: preferences spoil a model quickly."
        self.set("learning_rate", rate, reason)

    def lengths_and_batch(self) -> None:
        longest, rows = self.lengths[-1], len(self.dataset.records)
        limit = min(LONG_GPU if self.gpu else LONG_CPU, self.model.context_length or 10**9)
        covering = min(limit, max(64, math.ceil(longest / 64) * 64))
        cut = sum(length > covering for length in self.lengths) / len(self.lengths)
        length = self.set(
            "max_length",
            covering,
            f"Covers every row; the longest has {longest:,} tokens."
            if not cut
            else f"Cuts {cut:.1%} of the rows; the longest has {longest:,} tokens.",
        )
        batch = 4 if rows < 500 else 8 if rows < 2_000 else 16 if rows < 20_000 else 32
        self.batch = batch
        mean = sum(min(n, length) for n in self.lengths) / len(self.lengths)
        self.most_rows = max(1, min(batch, int((2048 if self.gpu is None else 8192) // max(mean, 1))))

    def held_back(self) -> int:
        """How many rows are split off for evaluation; without any, some fields mean nothing, which is said of them."""
        self.without_eval: dict[str, str] = {}
        share = default_of("eval_fraction")
        if self.values.get("eval_file") or self.chosen.get("eval_file"):
            self.set("eval_fraction", share, "Not used: the rows of the test file are evaluated.")
            return 0
        share = self.chosen.get("eval_fraction", share)
        if not 0 <= share <= 0.5:
            return 0  # refused later, with everything else that is wrong
        records = self.dataset.records
        rows = split.split(records, share, self.chosen.get("split_seed", default_of("split_seed")))[1]
        self.set("eval_fraction", share, plan_rows.what_is_held_back(rows, len(records)))
        if not rows:
            self.without_eval = plan_rows.NOT_EVALUATED
        return len(rows)

    def learning(self) -> None:
        rows = len(self.dataset.records)
        held_out = self.held_back()
        epochs = 3.0 if self.gpu or rows < 100 else 2.0 if rows < 1_000 else 1.0
        if self.values["objective"] in PREFERENCES or (self.values["objective"] == "text" and rows >= 100):
            epochs = 1.0
        epochs = self.set(
            "epochs",
            epochs,
            f"{epochs:g} passes over {rows - held_out:,} rows."
            + ("" if self.gpu else " More take long on a processor."),
        )
        self.rows = max(1, rows - held_out)
        self.set("lr_scheduler", "cosine", "Falls gently to zero, so that the last steps settle.")
        self.set("warmup_fraction", 0.05, "A short rise keeps the first steps from spoiling the base.")
        self.set("weight_decay", 0.01, "A little pull towards small weights, against overfitting.")

    def speed(self) -> None:
        """What makes steps faster without changing what is learned."""
        preference = self.values["objective"] in PREFERENCES
        ampere = self.gpu is not None and (self.gpu.compute_capability or (0, 0)) >= (8, 0)
        flash = ampere and importlib.util.find_spec("flash_attn") is not None
        self.set("attention", "flash_attention_2" if flash else "sdpa",
                 "FlashAttention is installed, and this GPU is new enough for it." if flash
                 else "PyTorch's own fused attention, on every device.")
        eager = self.values["attention"] == "eager"
        self.set("packing", not preference and not eager,
                 "Pairs of answers are compared side by side." if preference else
                 "Eager attention cannot keep rows apart." if eager else
                 "No work is spent on padding, and no row sees another.")
        packed = self.values["packing"]
        self.set("group_by_length", not packed,
                 "Packed rows have no padding, so they may come in any order." if packed else
                 "Rows of like length go together, so that little work is spent on padding.")
        liger = self.gpu is not None and importlib.util.find_spec("liger_kernel") is not None
        self.set("use_liger_kernel", liger, "Installed: less memory and faster norms." if liger else
                 "Not installed." if self.gpu else "Only for NVIDIA GPUs.")
        self.set("optimizer", *self._optimizer())

    def _optimizer(self) -> tuple[str, str]:
        """AdamW; with its state in 8 bits where all weights of a large model learn on a GPU."""
        free, full = self.free_memory(), self.values["method"] in ("full", "scratch")
        if self.gpu and full and free and 16 * self.model.parameters > 0.6 * free:
            return "paged_adamw_8bit", ("Its state takes a quarter of the memory, and moves to main memory when the "
                                        "GPU is full.")
        return "adamw_torch", "AdamW, the standard for language models."

    def memory(self) -> None:
        """Halve the micro-batch, then recompute activations, until the estimate fits."""
        least = 2 if self.values["objective"] == "kto" else 1  # KTO compares rows within a micro-batch
        micro = max(least, 2 ** int(math.log2(self.most_rows)))
        checkpointing = False
        free = self.free_memory()
        budget = free * PHYSICAL_SHARE
        device = "cuda" if self.gpu else "cpu"

        def need(micro_batch: int, recompute: bool) -> float:
            known = {k: v for k, v in self.values.items() if k != "micro_batch_size"}
            draft = replace(RunConfig(**known), micro_batch_size=micro_batch, gradient_checkpointing=recompute)
            return memory.estimate(self.model, draft, device).high

        while budget and micro > least and need(micro, checkpointing) > budget:
            micro //= 2
        if budget and need(micro, checkpointing) > budget:
            checkpointing = True
        total = need(micro, checkpointing)
        fits = f"Needs about {units.format_bytes(int(total))} of {units.format_bytes(free)} free."
        micro = self.set("micro_batch_size", micro, fits)
        self.set(
            "gradient_accumulation_steps",
            max(1, round(self.batch / micro)),
            f"Together {self.batch} rows an update, which suits {len(self.dataset.records):,} rows.",
        )
        self.set(
            "gradient_checkpointing",
            checkpointing,
            "Memory asks for it; about a fifth slower." if checkpointing else "Not needed: memory suffices.",
        )

    def intervals(self) -> None:
        total = total_steps(RunConfig(**{"max_steps": self.chosen.get("max_steps"), **self.values}), self.rows)
        wanted = min(MOST_EVALUATIONS, max(EVALUATIONS, math.ceil(2 * self.values["epochs"])))
        every = max(1, math.ceil(total / wanted))
        self.set("eval_steps", every, f"{math.ceil(total / every)} evaluations in {total:,} steps, one more before.")
        self.set("early_stopping_patience", PATIENCE,
                 f"After {PATIENCE} evaluations in a row that are no better, it learns its rows by heart.")
        self.set(
            "save_steps",
            max(1, min(every, 200)),
            "A checkpoint at each evaluation: at most that much is redone after a power cut.",
        )
