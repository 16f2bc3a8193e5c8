"""Proposes a whole run configuration from the data, the model and the machine, with a reason for each value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slmstudio.core import words
from slmstudio.core.data.reader import Dataset
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.model import memory, tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig, convert, field_help
from slmstudio.core.run.values import ALIASES, METHOD_WORDS

SAMPLED_ROWS = 2000
"""Rows that are tokenized to learn the lengths; more add no knowledge that a plan needs."""
EVALUATIONS = 4
LONG_CPU = 1024
LONG_GPU = 4096
PHYSICAL_SHARE = 0.9
"""Share of the free memory that a plan may fill."""


DEFAULT_REASONS = {
    "eval_file": "No test file was chosen, so rows are split off.",
    "eval_fraction": "Enough rows to see overfitting, most rows left to learn.",
    "split_seed": "Any number does; the same number gives the same split.",
    "max_steps": "The number of epochs decides.",
    "max_grad_norm": "A batch with an odd row cannot throw the weights off.",
    "optimizer": "AdamW, the standard for language models.",
    "lora_rank": "Not used by full fine-tuning.",
    "lora_alpha": "Not used by full fine-tuning.",
    "target_modules": "Not used by full fine-tuning.",
    "lora_dropout": "Few epochs do not need dropout; raise it when eval loss turns upwards.",
    "attention": "PyTorch's own fused attention, on every device.",
    "completion_only_loss": "The model learns to answer, not to ask.",
    "group_by_length": "Rows of like length go together, so that little work is spent on padding.",
    "keep_checkpoints": "The newest two, and the best one always.",
    "seed": "Any number does; the same number repeats the run.",
    "threads": "The GPU does the work.",
}
"""Fields that are the same for everybody, and why."""


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is made from.

    Attributes:
        eval_file: rows that are never learned; None splits them off the dataset.
        overrides: fields that the user decided, by name or by another trainer's name for them.
        lengths: tokens a row, when they were measured already.
    """

    dataset: Dataset
    model: ModelFacts
    machine: Machine
    eval_file: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    lengths: list[int] | None = None


def plan(request: PlanRequest) -> RunConfig:
    """
    Returns:
        A configuration with a sentence in `reasons` for each field that was chosen.

    Raises:
        UserError: an override names no field or has a wrong value: all of them at once.
    """
    chosen = overrides(request.overrides)
    lengths = request.lengths if request.lengths is not None else measure_lengths(request.dataset, request.model)
    proposal = _Proposal(request, chosen, sorted(lengths))
    config = proposal.config()
    if problems := config.problems():
        raise UserError("The plan cannot be used.", "Some values are out of range.", "Correct them.", problems)
    return config


def parse_settings(settings: list[str]) -> dict[str, str]:
    """`["learning_rate=1e-4"]` as a dictionary.

    Raises:
        UserError: an entry without "=".
    """
    wrong = [Problem('has no "="; write FIELD=VALUE.', field=entry) for entry in settings if "=" not in entry]
    if wrong:
        raise UserError("Some settings cannot be used.", "", "Correct them.", wrong)
    return dict(entry.split("=", 1) for entry in settings)


def overrides(raw: dict[str, Any]) -> dict[str, Any]:
    """The user's values under our names and in our types.

    Raises:
        UserError: unknown names and wrong values, all at once.
    """
    chosen: dict[str, Any] = {}
    known, problems = field_help(), []
    for given, value in raw.items():
        name = ALIASES.get(given, given)
        if name not in known:
            problems.append(Problem("is no field of a run. Fields: " + ", ".join(known), field=given))
            continue
        if name == "method" and str(value).strip().lower() in METHOD_WORDS:
            chosen |= METHOD_WORDS[str(value).strip().lower()]
            continue
        try:
            chosen[name] = convert(name, value)
        except ValueError as error:
            problems.append(Problem(str(error), field=given))
    if problems:
        raise UserError("Some settings cannot be used.", "", "Correct them.", problems)
    return chosen


def measure_lengths(dataset: Dataset, model: ModelFacts) -> list[int]:
    """Tokens of up to 2,000 rows spread over the dataset, in the model's own chat template."""
    tokenizer, template = tokens.load_tokenizer(model.path), ChatTemplate.from_folder(model.path)
    step = max(1, len(dataset.records) // SAMPLED_ROWS)
    return [len(tokens.encode(list(row.messages), tokenizer, template).ids) for row in dataset.records[::step]]


class _Proposal:
    """Decides field after field; each decision may look at the ones before."""

    def __init__(self, request: PlanRequest, chosen: dict[str, Any], lengths: list[int]):
        self.request, self.chosen, self.lengths = request, chosen, lengths
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}

    def set(self, name: str, value: Any, reason: str) -> Any:
        """Take the user's value if there is one, else the proposal; keep the sentence."""
        if name in self.chosen:
            value, reason = self.chosen[name], "You set this."
        self.values[name], self.reasons[name] = value, reason
        return value

    def config(self) -> RunConfig:
        request = self.request
        self.set("name", f"{request.dataset.name}-{request.model.name}", "From the data and the model.")
        self.values["model"], self.values["train_file"] = str(request.model.path), str(request.dataset.path)
        if request.eval_file and "eval_file" not in self.chosen:
            self.values["eval_file"] = str(request.eval_file)
            self.reasons["eval_file"] = "The test rows that you chose; they are never learned."
        self.device()
        self.method()
        self.lengths_and_batch()
        self.learning()
        self.memory()
        self.intervals()
        self.defaults()
        return RunConfig(**self.values, reasons=self.reasons)

    def defaults(self) -> None:
        """What does not depend on data, model or machine."""
        for name, reason in DEFAULT_REASONS.items():
            if name not in self.values or name in self.chosen:
                self.set(name, RunConfig.__dataclass_fields__[name].default, reason)
        for name in ("model", "train_file"):
            if name in self.chosen:
                self.set(name, None, "")
            else:
                self.reasons[name] = "What you chose."

    def device(self) -> None:
        machine = self.request.machine
        gpu = machine.gpus[0] if machine.gpus else None
        device = self.set(
            "device", "auto", f"{gpu.name} is used." if gpu else "No NVIDIA GPU here, so the processor trains."
        )
        if device == "cuda" and gpu is None:
            raise UserError(
                "There is no NVIDIA GPU here to train on.", machine.gpu_reason, "Set device to auto or cpu."
            )
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

    def method(self) -> None:
        model = self.request.model
        method = self.set(
            "method", "lora", "An adapter learns and the base stays as it is: little memory, and hard to spoil."
        )
        if method == "lora":
            rank = self.set("lora_rank", 16, "16 suits most tasks; 8 is enough for style, 64 for much new knowledge.")
            self.set("lora_alpha", 2 * rank, "Twice the rank, the usual scale.")
            self.set(
                "target_modules",
                "all-linear",
                "Every linear layer gets an adapter; attention alone learns less (arXiv 2305.14314, section 4).",
            )
        sizes = ((200e6, 2e-3, 1e-4), (500e6, 1e-3, 5e-5), (2e9, 3e-4, 2e-5), (math.inf, 2e-4, 1e-5))
        lora_rate, full_rate = next((lora, full) for limit, lora, full in sizes if model.parameters < limit)
        what = "an adapter" if method == "lora" else "all weights"
        count = words.format_count(model.parameters)
        self.set("learning_rate", lora_rate if method == "lora" else full_rate,
                 f"Suits {what} of a model with {count} parameters; larger models take smaller steps.")

    def lengths_and_batch(self) -> None:
        longest, rows = self.lengths[-1], len(self.request.dataset.records)
        limit = min(LONG_GPU if self.gpu else LONG_CPU, self.request.model.context_length or 10**9)
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
        self.values["micro_batch_size"] = max(1, min(batch, int((2048 if self.gpu is None else 8192) // max(mean, 1))))

    def learning(self) -> None:
        rows = len(self.request.dataset.records)
        held_out = 0 if self.values.get("eval_file") else int(rows * self.chosen.get("eval_fraction", 0.1))
        epochs = 3.0 if self.gpu or rows < 100 else 2.0 if rows < 1_000 else 1.0
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

    def memory(self) -> None:
        """Halve the micro-batch, then recompute activations, until the estimate fits."""
        micro = max(1, 2 ** int(math.log2(self.values["micro_batch_size"])))
        checkpointing = False
        free = self.gpu.memory_free if self.gpu else self.request.machine.ram_free
        budget = (free or 0) * PHYSICAL_SHARE
        device = "cuda" if self.gpu else "cpu"

        def need(micro_batch: int, recompute: bool) -> float:
            known = {k: v for k, v in self.values.items() if k != "micro_batch_size"}
            draft = replace(RunConfig(**known), micro_batch_size=micro_batch, gradient_checkpointing=recompute)
            return memory.estimate(self.request.model, draft, device).high

        while budget and micro > 1 and need(micro, checkpointing) > budget:
            micro //= 2
        if budget and need(micro, checkpointing) > budget:
            checkpointing = True
        total = need(micro, checkpointing)
        fits = f"Needs about {words.format_bytes(int(total))} of {words.format_bytes(int(free or 0))} free."
        micro = self.set("micro_batch_size", micro, fits)
        self.set(
            "gradient_accumulation_steps",
            max(1, round(self.batch / micro)),
            f"Together {self.batch} rows an update, which suits {len(self.request.dataset.records):,} rows.",
        )
        self.set(
            "gradient_checkpointing",
            checkpointing,
            "Memory asks for it; about a fifth slower." if checkpointing else "Not needed: memory suffices.",
        )

    def intervals(self) -> None:
        effective = self.values["micro_batch_size"] * self.values["gradient_accumulation_steps"]
        per_epoch = math.ceil(self.rows / effective)
        total = self.chosen.get("max_steps") or max(1, math.ceil(self.values["epochs"] * per_epoch))
        every = max(1, math.ceil(total / EVALUATIONS))
        self.set("eval_steps", every, f"{math.ceil(total / every)} evaluations in {total:,} steps, one more before.")
        self.set(
            "save_steps",
            max(1, min(every, 200)),
            "A checkpoint at each evaluation: at most that much is redone after a power cut.",
        )
