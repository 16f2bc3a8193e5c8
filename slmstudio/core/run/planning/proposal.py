"""What is proposed for a run: field after field, each with a sentence; each may look at the ones before."""

from __future__ import annotations

import importlib.util
import math
from bisect import bisect_left
from dataclasses import replace
from itertools import compress, takewhile
from pathlib import Path

from slmstudio.core import units
from slmstudio.core.data import layouts, split
from slmstudio.core.errors import Problem
from slmstudio.core.hardware import guidance
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.core.model import scratch
from slmstudio.core.model.architecture import FP16_OVERFLOWS, PADDED_ONLY
from slmstudio.core.run.config import FIELDS, RunConfig, default_of
from slmstudio.core.run.curves import most_evaluations, total_steps
from slmstudio.core.run.memory.fit_badge import spares_optimizer, usual_epochs
from slmstudio.core.run.memory.formula import COMFORTABLE
from slmstudio.core.run.memory.outlook import Lever, to_fit
from slmstudio.core.run.planning import plan_rows, row_counts
from slmstudio.core.run.planning.plan_inputs import Draft
from slmstudio.core.run.planning.rates import part_for, preference_part, usual_for, usual_rate
from slmstudio.core.run.run_fields import OBJECTIVES, PREFERENCES

EVALUATIONS, MOST_EVALUATIONS = 4, 20
PATIENCE = 3
LONG_CPU = 1024
LONG_GPU = 4096
AS_FREE = 0.9
"""Share of the first card's free memory that another card must have free, to train with it."""
EAGER_ONLY = frozenset({"gemma2", "vaultgemma", "gpt_oss", "gpt_neo", "bloom", "mpt", "xglm", "mamba", "mamba2"})
"""Architectures (`model_type`) whose attention PyTorch's fused one can't compute, such as Gemma 2's capped scores; a
test compares them with transformers'."""


def propose(draft: Draft) -> RunConfig:
    """Decide all fields; what can't be is in `draft.problems` then."""
    draft.set("name", f"{draft.dataset.name}-{draft.base.name}", tr("From the data and the model."))
    draft.values["model"], draft.values["train_file"] = str(draft.base.path), str(draft.dataset.path)
    if (said := draft.dataset.line) and "train_map" not in draft.chosen:
        draft.values["train_map"], draft.reasons["train_map"] = said, tr("What you said about the file.")
    if (inputs := draft.inputs).eval_file and "eval_file" not in draft.chosen:
        draft.values["eval_file"] = str(inputs.eval_file)
        draft.reasons["eval_file"] = tr("The test rows that you chose; they are never used for training.")
        if inputs.eval_map and "eval_map" not in draft.chosen:
            draft.values["eval_map"], draft.reasons["eval_map"] = inputs.eval_map, tr("What you said about the file.")
    for decide in (_objective, _device, _method, _lengths_and_batch, _learning, _speed, _memory, _intervals, _defaults):
        decide(draft)
    return RunConfig(**draft.values, reasons=draft.reasons, chosen=list(draft.chosen))


def _defaults(draft: Draft) -> None:
    """What doesn't depend on data, model or machine."""
    for name, about in FIELDS.items():
        if about.reason and (name not in draft.values or name in draft.chosen):
            draft.set(name, default_of(name), about.reason)
    draft.reasons |= {name: tr(reason) for name, reason in draft.without_eval.items() if name not in draft.chosen}
    for name in ("model", "train_file"):
        if name in draft.chosen:
            draft.set(name, None, "")
        else:
            draft.reasons[name] = tr("What you chose.")


def _device(draft: Draft) -> None:
    machine = draft.machine
    gpu = machine.gpus[0] if machine.gpus else None
    device = draft.set("device", "auto",
                       tr("GPU {number} ({gpu}) is used. To use another card, set CUDA_VISIBLE_DEVICES.",
                          number=gpu.index, gpu=gpu.name) if gpu and any(each.name != gpu.name for each in machine.gpus)
                       else tr("{gpu} is used.", gpu=gpu.name) if gpu
                       else tr("There is no NVIDIA GPU here, so training runs on the processor."))
    if device == "cuda" and gpu is None:
        draft.problems.append(Problem(join_sentences(
            tr("cuda isn't possible: there is no NVIDIA GPU here to train on."), machine.gpu_reason,
            tr("Set device to auto or cpu.")), field="device"))
    draft.gpu = gpu if device != "cpu" else None
    _batch_and_processes(draft)
    if draft.gpu is None:
        cores = machine.physical_cores
        draft.set("threads", cores, tr("One thread for each core."))
        fast = machine.cpu_bf16
        draft.set("precision", "bf16" if fast else "fp32", tr("This processor computes bf16 in hardware: faster "
                  "than fp32, and half the memory for the base model.") if fast else
                  tr("This processor has no bf16 arithmetic; fp32 is the fastest it has."))
    else:
        overflows = draft.base.model_type in FP16_OVERFLOWS
        draft.set("precision", "bf16" if draft.is_ampere else "fp32" if overflows else "fp16",
                  tr("This GPU computes bf16, which has the range of fp32.") if draft.is_ampere else
                  tr("This GPU is older than Ampere and has no bf16, and the numbers in {family} are too large for "
                     "fp16.", family=draft.base.family) if overflows else
                  tr("This GPU is older than Ampere and has no bf16; fp16 needs loss scaling, which is on."))


def _batch_and_processes(draft: Draft) -> None:
    """Rows in an update, and one process. Equal cards that are as free as the first are named, but not used together
    unasked as long as nobody has seen NCCL work here (docs/gpu.md); Windows has none."""
    gpu, machine = draft.gpu, draft.machine
    rows = len(draft.dataset.records)
    draft.batch = 4 if rows < 500 else 8 if rows < 2_000 else 16 if rows < 20_000 else 32
    count = 1 if gpu is None or machine.system == "Windows" else min(draft.batch, len(list(takewhile(
        lambda each: (each.name, each.memory_total) == (gpu.name, gpu.memory_total)
        and (each.memory_free or 0) >= AS_FREE * (gpu.memory_free or 0), machine.gpus))))
    draft.set("processes", 1, tr(
        "This machine has {count} equal cards ({gpu}). With {count} here, they train together, each on its share of "
        "each batch, which hasn't been tried on real cards yet.", count=count, gpu=gpu.name)
        if gpu and count > 1 else tr(FIELDS["processes"].reason))


def _objective(draft: Draft) -> None:
    proposed = layouts.objectives(draft.dataset.layout)
    objective = draft.set("objective", proposed[0], {
        "sft": tr("The rows are questions with answers."), "text": tr("The rows are plain text."),
        "dpo": tr("The rows are pairs of a better and a worse answer."),
        "kto": tr("The rows are answers marked good or bad."),
    }[proposed[0]])
    if objective not in proposed and objective in OBJECTIVES.words:
        draft.problems.append(Problem(
            join_sentences(tr("{objective} doesn't fit these rows.", objective=objective),
                           tr("It must be one of {words}.", words=", ".join(proposed)),
                           layouts.sentence(draft.dataset.layout)), field="objective"))
    if objective in PREFERENCES:
        draft.set("beta", 0.1, tr("The usual weight; a higher one stays closer to what the model said before."))


def _method(draft: Draft) -> None:
    method = draft.set("method", *_lora_or_qlora(draft))
    if method == "scratch":
        size = draft.set("scratch_size", "30M", tr("Small enough to learn whole sentences in hours on one GPU."))
        draft.model = scratch.facts_of(draft.base, size)
    adapter = method in ("lora", "qlora")
    if adapter:
        proposed = usual_for(draft.model.parameters).rank
        rank = draft.set("lora_rank", proposed,
                         tr("16 suits most tasks; 8 is enough for style, 64 for a lot of new knowledge.")
                         if proposed == 16 else
                         tr("A small model learns more with a larger adapter, which costs it little."))
        if draft.chosen.get("use_rslora"):
            draft.set("lora_alpha", max(1, round(2 * math.sqrt(rank))),
                      tr("Twice the square root of the rank, the usual scale."))
        else:
            draft.set("lora_alpha", 2 * rank, tr("Twice the rank, the usual scale."))
        draft.set("target_modules", "all-linear",
                  tr("Every linear layer gets an adapter; attention alone learns less (arXiv 2305.14314, section 4)."))
    _learning_rate(draft, method)


def _lora_or_qlora(draft: Draft) -> tuple[str, str]:
    """LoRA where the base fits into memory as it is, QLoRA where only its 4-bit form does."""
    lora = ("lora", tr("Only an adapter is trained, and the base stays as it is: that needs little memory, and the "
                       "base can't be damaged."))
    free = draft.free_memory
    if not free or draft.base.quantization:
        return lora
    smallest = RunConfig(
        name="x", model=str(draft.base.path), train_file="x", device=draft.values["device"],
        precision=draft.values["precision"], method="lora",
        max_length=draft.chosen.get("max_length", _usual_length(draft)),
        objective=draft.values["objective"], lora_rank=usual_for(draft.base.parameters).rank,
        micro_batch_size=draft.least_rows, gradient_checkpointing=True)
    need = draft.need(smallest)
    if need <= free * COMFORTABLE:
        return lora
    four_bit = draft.need(replace(smallest, method="qlora"))
    return "qlora", tr("LoRA would need about {needed} of {free} free; with the base in 4 bits it's {four_bit}.",
                       needed=units.format_bytes(need), free=units.format_bytes(free),
                       four_bit=units.format_bytes(four_bit))


def _learning_rate(draft: Draft, method: str) -> None:
    parameters, objective = draft.model.parameters, draft.values["objective"]
    count = units.format_count(parameters)
    reason = (tr("Suits all weights of a model with {count} parameters; larger models need smaller steps.", count=count)
              if method == "full" else
              tr("Suits an adapter of a model with {count} parameters; larger models need smaller steps.", count=count))
    if method == "scratch":
        reason = tr("Random weights take large steps at first.")
    if (part := preference_part(objective)) > 1:
        reason = tr("1/{part} of the rate for answers: preference tuning damages a model quickly.", part=part)
    rate = usual_rate(method, objective, parameters, draft.values.get("lora_rank"))
    sample = draft.measured.sample
    tokens = draft.batch * sum(max(1, row.length - row.start) for row in sample) / max(1, len(sample))
    if method in ("lora", "qlora") and objective == "sft" and (share := part_for(tokens)) < 1:
        rate = float(f"{share * rate:.1e}")
        reason = ntr("Lower than usual, because the answers are short: each step learns from only about {n:,} token.",
                     "Lower than usual, because the answers are short: each step learns from only about {n:,} tokens.",
                     round(tokens))
    draft.set("learning_rate", rate, reason)


def _lengths_and_batch(draft: Draft) -> None:
    measured = draft.measured
    longest = measured.lengths[-1]
    proposed = _length(draft, longest)
    cut = sum(each.is_overlong(proposed) for each in measured.found.values())
    length = draft.set("max_length", proposed,
                       ntr("The longest row has {longest:,} tokens, and {n:,} row doesn't fit whole.",
                           "The longest row has {longest:,} tokens, and {n:,} rows don't fit whole.", cut,
                           longest=longest) if cut else
                       tr("Longer texts are split into pieces of this length; the longest has {longest:,} tokens.",
                          longest=longest) if longest > proposed else
                       tr("Covers every row; the longest has {longest:,} tokens.", longest=longest))
    mean = sum(min(row.length, length) for row in measured.sample) / len(measured.sample)
    fast = int((2048 if draft.gpu is None else 8192) // max(mean, 1))
    draft.most_rows = max(1, min(draft.batch // max(1, draft.values["processes"]), fast))


def _length(draft: Draft, longest: int) -> int:
    """The sequence length that keeps every row whole, as far as the model reads and memory goes; texts are split."""
    whole, usual = min(draft.model.context_length or 10**9, row_counts.covering(longest)), _usual_length(draft)
    if draft.measured.is_text or not draft.free_memory:
        return usual
    budget = draft.free_memory * COMFORTABLE

    def is_too_long(length: int) -> bool:
        return draft.need(RunConfig(**{**draft.values, "max_length": length, "micro_batch_size": draft.least_rows,
                                       "gradient_checkpointing": True})) > budget

    longer = range(usual + row_counts.STEP, whole, row_counts.STEP)
    return whole if whole == usual or not is_too_long(whole) else (
        usual, *longer)[bisect_left(longer, True, key=is_too_long)]


def _usual_length(draft: Draft) -> int:
    """The sequence length of rows that aren't unusually long."""
    longest = min(draft.measured.lengths[-1], LONG_GPU if draft.gpu else LONG_CPU)
    return min(draft.base.context_length or 10**9, row_counts.covering(longest))


def _held_back(draft: Draft) -> list[bool]:
    """Which rows are split off for evaluation; without any, some fields mean nothing, which is said about them."""
    share = split.usual_share(len(draft.dataset.records))
    if _test_file(draft):
        draft.set("eval_fraction", share, tr("Not used: the rows of the test file are evaluated."))
        return []
    share = draft.chosen.get("eval_fraction", share)
    if not 0 <= share <= 0.5:
        return []  # refused later, with everything else that is wrong
    records = draft.dataset.records
    seed, by = (draft.chosen.get(name, default_of(name)) for name in ("split_seed", "split_by"))
    if by not in split.BY:
        return []
    held_out: list[bool] = split.held_out(records, share, seed, by).tolist()
    rows = list(compress(records, held_out))
    draft.set("eval_fraction", share, plan_rows.what_is_held_back(rows, len(records)))
    if not rows:
        draft.without_eval = plan_rows.NOT_EVALUATED
    return held_out


def _test_file(draft: Draft) -> Path | str | None:
    return draft.chosen.get("eval_file", draft.inputs.eval_file)


def _in_test_file(draft: Draft) -> int:
    """How many rows of a test file each evaluation reads; 0 without one."""
    file = _test_file(draft)
    if file == draft.inputs.eval_file and draft.inputs.eval_rows is not None:
        return draft.inputs.eval_rows
    return plan_rows.in_test_file(file, draft.chosen.get("eval_map", draft.inputs.eval_map)) if file else 0


def _learning(draft: Draft) -> None:
    rows = len(draft.dataset.records)
    counts = row_counts.count_split(draft.measured, _held_back(draft), RunConfig(**draft.values))
    epochs = usual_epochs(rows, draft.gpu is not None)
    if draft.values["objective"] in PREFERENCES or (draft.values["objective"] == "text" and rows >= 100):
        epochs = 1.0
    learned = ntr("{n:,} row", "{n:,} rows", counts.learned)
    said = ntr("{n:g} epoch over {rows}.", "{n:g} epochs over {rows}.", epochs, rows=learned)
    draft.set("epochs", epochs, said if draft.gpu else join_sentences(
        said, tr("More would take a long time on a processor.")))
    draft.rows, draft.evaluated = max(1, counts.learned), counts.evaluated or _in_test_file(draft)
    draft.set("lr_scheduler", "cosine", tr("It falls gently to zero, so that the last steps settle."))
    draft.set("warmup_fraction", 0.05, tr("A short rise keeps the first steps from damaging the base."))
    draft.set("weight_decay", 0.01, tr("A little pull towards small weights, against overfitting."))


def _speed(draft: Draft) -> None:
    """What makes steps faster without changing what is learned."""
    preference = draft.values["objective"] in PREFERENCES
    flash = draft.is_ampere and importlib.util.find_spec("flash_attn") is not None
    eager = not flash and draft.base.model_type in EAGER_ONLY
    draft.set("attention", "flash_attention_2" if flash else "eager" if eager else "sdpa",
              tr("FlashAttention is installed, and this GPU is new enough for it.") if flash
              else tr("PyTorch's fused attention doesn't support {family}.", family=draft.base.family) if eager
              else tr("PyTorch's own fused attention works on every device."))
    eager = draft.values["attention"] == "eager"  # even if the user said so
    card = (draft.gpu.compute_capability or (0, 0)) if draft.gpu is not None else None
    installed = guidance.Installed.here()
    way = guidance.packed_attention(card, draft.values["precision"], installed) if not flash else None
    padded = draft.base.model_type in PADDED_ONLY
    draft.set("packing", not preference and not eager and not padded,
              tr("Pairs of answers are compared side by side.") if preference else
              tr("{family} can't keep packed rows apart.", family=draft.base.family) if padded else
              tr("Eager attention can't keep rows apart.") if eager else
              join_sentences(tr("No work is spent on padding, and no row sees another."),
                             *([way.reason] if way and card else [])))
    packed = draft.values["packing"]
    draft.set("group_by_length", not packed,
              tr("Packed rows have no padding, so they may come in any order.") if packed else
              tr("Rows of similar length go together, so that little work is spent on padding."))
    draft.set("use_liger_kernel", *guidance.liger(card, installed))
    draft.set("optimizer", *_optimizer(draft))


def _optimizer(draft: Draft) -> tuple[str, str]:
    """AdamW; with its state in 8 bits where all weights of a large model learn on a GPU."""
    free, full = draft.free_memory, draft.values["method"] in ("full", "scratch")
    if draft.gpu and full and free and spares_optimizer(draft.model.parameters, free):
        return "paged_adamw_8bit", tr("Its state takes a quarter of the memory, and moves to main memory when the GPU "
                                      "is full.")
    return "adamw_torch", tr("AdamW, the standard for language models.")


def _memory(draft: Draft) -> None:
    """The largest micro-batch that fits; only where none does, activations are recomputed, which leaves room for more
    rows again. On the processor, more rows at once aren't faster."""
    least = draft.least_rows
    most = max(least, 2 ** int(math.log2(draft.most_rows)))
    free = draft.free_memory
    budget = free * COMFORTABLE

    def run(micro_batch: int, recompute: bool) -> RunConfig:
        known = {k: v for k, v in draft.values.items() if k != "micro_batch_size"}
        return replace(RunConfig(**known), micro_batch_size=micro_batch, gradient_checkpointing=recompute,
                       gradient_accumulation_steps=draft.chosen.get(
                           "gradient_accumulation_steps", max(1, round(draft.batch / micro_batch))))

    def need(micro_batch: int, recompute: bool) -> float:
        return draft.need(run(micro_batch, recompute))

    sizes = [most >> halved for halved in range(most.bit_length()) if most >> halved >= least]
    choices = [*((size, False) for size in sizes), *((size, True) for size in (sizes if draft.gpu else sizes[-1:]))]
    micro, checkpointing = next((choice for choice in choices if not free or need(*choice) <= budget), choices[-1])
    total = need(micro, checkpointing)
    fits = tr("Needs about {needed} of {free} free.", needed=units.format_bytes(int(total)),
              free=units.format_bytes(free))
    if free and total > free:
        fits = _too_much(total, to_fit(draft.base, run(micro, checkpointing), free,
                                              "cuda" if draft.gpu else "cpu", draft.measured.lengths), free)
    micro = draft.set("micro_batch_size", micro, fits)
    draft.set("gradient_accumulation_steps", max(1, round(draft.batch / micro)),
              tr("Together, {batch} per update, which suits {rows}.", batch=ntr("{n:,} row", "{n:,} rows", draft.batch),
                 rows=ntr("{n:,} row", "{n:,} rows", len(draft.dataset.records))))
    draft.set("gradient_checkpointing", checkpointing,
              tr("Memory is short; this is about a fifth slower.") if checkpointing else
              tr("Not needed: there is enough memory."))


def _too_much(needed: float, levers: list[Lever] | None, free: int) -> str:
    """A run that may not fit is planned all the same: the estimate can be wrong, and the user decides."""
    said = tr("May need up to {needed}, and {free} is free.", needed=units.format_bytes(int(needed)),
              free=units.format_bytes(free))
    if not levers:  # none suffices, or the bare estimate fits and what was measured doesn't
        return said if levers is not None else join_sentences(said, tr("A smaller model would fit."))
    changes = ", ".join(f"{field}={value}" for lever in levers for field, value in lever.change.items())
    return join_sentences(said, tr("It would fit with {changes}.", changes=changes))


def _intervals(draft: Draft) -> None:
    config = RunConfig(**{"max_steps": draft.chosen.get("max_steps"), **draft.values})
    total, affordable = total_steps(config, draft.rows), most_evaluations(config, draft.rows, draft.evaluated)
    wanted = min(MOST_EVALUATIONS, max(EVALUATIONS, math.ceil(2 * draft.values["epochs"])))
    every = max(1, math.ceil(total / min(wanted, affordable)))
    draft.set("eval_steps", every, plan_rows.how_often(total, every, bounded=wanted > affordable))
    draft.set("early_stopping_patience", PATIENCE,
              tr("If {count} evaluations in a row are no better, it's overfitting.", count=PATIENCE))
    draft.set("save_steps", max(1, min(every, 200)),
              tr("A checkpoint at each evaluation: at most that much is redone after a power cut."))
