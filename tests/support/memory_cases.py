"""The configurations that the memory estimate is compared on, and the peak of each: a run's own process on the
processor, fake tensors for a GPU that isn't there, or the card itself."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from support import peak_of

from slmstudio.core.hardware import machine
from slmstudio.core.jobs import processes
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory.formula import MemoryEstimate, estimate

CASE_SECONDS = 900.0
"""That a run of two steps may take: one that hangs must not hold up the others."""
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class Shape:
    """Sizes of a model."""

    model_type: str
    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool = True
    head_dim: int = 0

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden // self.heads


SMALL = {
    "smollm2-135m, 8 of 30 layers": Shape("llama", 8, 576, 1536, 9, 3, 49_152),
    "qwen2-0.5b, 4 of 24 layers": Shape("qwen2", 4, 896, 4864, 14, 2, 32_768),
    "phi3 of half the width, 4 layers": Shape("phi3", 4, 1536, 4096, 16, 16, 32_064, tied=False),
    "mistral of a quarter of the width, 3 layers": Shape("mistral", 3, 1024, 3584, 8, 2, 16_384, tied=False),
}
"""For the processor: real widths, so that a layer's tensors weigh more than what surrounds them, and few layers."""
LARGE = {
    "llama-3-8b": Shape("llama", 32, 4096, 14_336, 32, 8, 128_256, tied=False),
    "llama-3.2-1b": Shape("llama", 16, 2048, 8192, 32, 8, 128_256),
    "mistral-7b": Shape("mistral", 32, 4096, 14_336, 32, 8, 32_768, tied=False),
    "qwen2.5-1.5b": Shape("qwen2", 28, 1536, 8960, 12, 2, 151_936),
    "phi-3-mini": Shape("phi3", 32, 3072, 8192, 32, 32, 32_064, tied=False),
    "qwen3-1.7b": Shape("qwen3", 28, 2048, 6144, 16, 8, 151_936, head_dim=128),
    "gemma-3-1b": Shape("gemma3_text", 26, 1152, 6912, 4, 1, 262_144, head_dim=256),
    "smollm2-135m": Shape("llama", 30, 576, 1536, 9, 3, 49_152),
}


@dataclass(frozen=True)
class Case:
    """One configuration of one model on one device.

    Attributes:
        steps: with more than 2 the rows have many lengths, as real ones do, so that the process' memory is used in
            another way in each step.
    """

    model: str
    device: str
    changes: dict[str, Any] = field(default_factory=dict)
    steps: int = 2

    @property
    def shape(self) -> Shape:
        return (SMALL if self.device == "cpu" else LARGE)[self.model]

    @property
    def config(self) -> RunConfig:
        # A processor without bf16 arithmetic takes minutes for a step in it, and no plan proposes that.
        bf16 = self.device != "cpu" or machine.read_machine().cpu_bf16
        usual = {"max_length": 512, "micro_batch_size": 2, "precision": "bf16" if bf16 else "fp32", "packing": True,
                 "gradient_accumulation_steps": 1 if self.device == "cpu" else 2}
        return replace(RunConfig(name="memory", model="m", train_file="t"), **{**usual, **self.changes})

    @property
    def name(self) -> str:
        said = ", ".join([*(f"{name}={value}" for name, value in self.changes.items()),
                          *([f"{self.steps} steps"] if self.steps > 2 else [])])
        return f"{self.model} [{self.device}] {said}"


def sizes(shape: Shape) -> ModelFacts:
    """The facts of a model of these sizes."""
    hidden, width = shape.hidden, shape.head_size
    layer = hidden * width * (2 * shape.heads + 2 * shape.kv_heads) + 3 * hidden * shape.inner + 2 * hidden
    count = shape.vocabulary * hidden * (1 if shape.tied else 2) + shape.layers * layer + hidden
    return ModelFacts(
        path=Path("m"), name="m", family="", architecture="", parameters=count, context_length=8192,
        vocabulary_size=shape.vocabulary, layers=shape.layers, hidden_size=hidden, intermediate_size=shape.inner,
        heads=shape.heads, kv_heads=shape.kv_heads, head_dim=width, tied_embeddings=shape.tied, dtype="bf16",
        licence=None, disk_bytes=2 * count, has_chat_template=True, quantization=None, model_type=shape.model_type)


def estimated(case: Case) -> MemoryEstimate:
    return estimate(sizes(case.shape), case.config, case.device)


# -- a run's own process ----------------------------------------------------------------------


def build(shape: Shape, target: Path) -> Path:
    """A model folder of these sizes with random weights."""
    import torch
    import transformers
    from support import tiny_model

    if target.exists():
        return target
    tiny_model.build(target)
    _fill_vocabulary(target, shape.vocabulary)
    config = transformers.AutoConfig.for_model(
        shape.model_type, hidden_size=shape.hidden, intermediate_size=shape.inner, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads, vocab_size=shape.vocabulary,
        max_position_embeddings=4096, tie_word_embeddings=shape.tied, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        **({"head_dim": shape.head_dim} if shape.head_dim else {}))
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model = model.to_empty(device="cpu")
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.02)
    model.tie_weights()
    model.save_pretrained(target)
    return target


def _fill_vocabulary(folder: Path, size: int) -> None:
    """A token for each row of the embeddings, or the tokenizer would be refused as another model's: single letters that
    no text of bytes becomes."""
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text("utf-8"))
    known = state["model"]["vocab"]
    known |= {chr(0x10000 + number): number for number in range(len(known), size)}
    assert len(known) == size
    path.write_text(json.dumps(state), "utf-8")


def write_rows(target: Path, count: int, tokens: int, vary: bool = False) -> Path:
    """Rows with short questions and answers that are longer than `tokens`; with `vary` of all lengths, up to that."""
    chance = random.Random(0)
    lines = [json.dumps({"instruction": "?", "output": "".join(chance.choices(
        LETTERS, k=int(chance.uniform(0.05, 1.2) * tokens) if vary and row > 1 else 2 * tokens))})
             for row in range(count)]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def run_case(case: Case, place: Path) -> dict[str, Any]:
    """Train some steps, two with the longest rows, evaluating before and after: the process' peak."""
    model = build(case.shape, place / case.model.replace(" ", "-").replace(",", ""))
    config = case.config
    rows, is_long = case.steps * config.effective_batch_size, case.steps > 2
    train = write_rows(place / "train.jsonl", rows, config.max_length, is_long)
    held_back = write_rows(place / "eval.jsonl", config.micro_batch_size, config.max_length)
    config = replace(config, model=str(model), train_file=str(train), eval_file=str(held_back), device=case.device,
                     max_steps=case.steps, eval_steps=max(2, case.steps // 2), save_steps=10**6, sample_max_tokens=0)
    job = folder.create(config, place / "runs")
    with open(job.folder / "said.txt", "wb") as said:
        _, peak = peak_of.run([sys.executable, "-P", "-m", "slmstudio.worker", str(job.folder)], CASE_SECONDS,
                              stdout=said, stderr=said, env=processes.worker_environment("train"))
    outcome = job.outcome()
    if outcome is None or not outcome.was_successful():
        raise SystemExit(f"{case.name}: {outcome}\n{(job.folder / 'said.txt').read_text(errors='replace')[-2000:]}")
    steps = [event for event in job.events() if event["type"] == "step"]
    assert len(steps) == case.steps and not [event for event in job.events() if event["type"] == "adjusted"], case.name
    tokens = config.effective_batch_size * config.max_length
    assert is_long or all(step["tokens"] >= 0.98 * tokens for step in steps), (
        case.name, [step["tokens"] for step in steps])
    return {"measured": peak, "seconds": round(sum(step["step_seconds"] for step in steps), 1)}


def run_case_on_card(case: Case, place: Path) -> dict[str, Any]:
    """The same on the graphics card: what PyTorch's allocator held at most, with the context that CUDA takes besides.

    The models are those of `SMALL` and `LARGE` alike; the weights are made here.
    """
    model = build(case.shape, place / case.model.replace(" ", "-").replace(",", ""))
    config = case.config
    train = write_rows(place / "train.jsonl", 2 * config.effective_batch_size, config.max_length)
    config = replace(config, model=str(model), train_file=str(train), eval_fraction=0, device="cuda", max_steps=2,
                     eval_steps=10**6, save_steps=10**6, sample_max_tokens=0)
    job = folder.create(config, place / "runs")
    done = subprocess.run([sys.executable, "-P", "-c", ON_CARD, str(job.folder)], capture_output=True, text=True,
                          env=processes.worker_environment("train"), check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


ON_CARD = """
import json, sys, pathlib, torch
from slmstudio.worker import __main__ as worker
free = torch.cuda.mem_get_info()[0]
assert worker.run_job(pathlib.Path(sys.argv[1])) == 0
context = free - torch.cuda.mem_get_info()[0] - torch.cuda.memory_reserved()
print(json.dumps({"measured": torch.cuda.max_memory_reserved() + context,
                  "allocated": torch.cuda.max_memory_allocated(), "context": context}))
"""
"""What is taken of the card before the first tensor can't be seen from inside: `context` is what came after it."""
