"""Thirty layouts on five cards: what an expert would choose, written down before the plan was asked.

What the expert goes by: LoRA where weights (2 bytes a parameter), CUDA's context, adapter, recomputed activations and a
chunk of scores leave a fifth of the free memory, else QLoRA (half a byte for each weight of the linear layers). Two
signs with a slash are within a tenth of that border, where either is right.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from support.machines import GB

from slmstudio.core.data import reader
from slmstudio.core.hardware import guidance
from slmstudio.core.hardware.guidance import FLEX, PER_ROW, VARLEN, Installed
from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.core.model import catalogue
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.memory.formula import COMFORTABLE, estimate
from slmstudio.core.run.planning import plan_inputs, planner
from slmstudio.core.run.planning.proposal import EAGER_ONLY
from slmstudio.core.run.planning.row_counts import MeasuredRows
from slmstudio.core.run.rows.row_tokens import RowTokens

LINUX, WINDOWS = Installed((2, 13), True, True, flash=True), Installed((2, 13), False, False, flash=False)


def card(name: str, gigabytes: float, capability: tuple[int, int], count: int = 1, **fields: str) -> Machine:
    free = int((gigabytes - (0.9 if fields else 0.6)) * GB)
    gpus = tuple(Gpu(index, name, int(gigabytes * GB), free, capability) for index in range(count))
    return dataclasses.replace(Machine("Linux", "a processor", 8, 16, 32 * GB, 24 * GB, gpus, False, False), **fields)


CARDS = {
    "6 GB Ada, Windows": (card("RTX 4050 Laptop", 6, (8, 9), system="Windows"), WINDOWS, "bf16", PER_ROW, 1),
    "12 GB Ampere": (card("RTX 3060", 12, (8, 6)), LINUX, "bf16", VARLEN, 1),
    "6 GB Turing": (card("RTX 2060", 6, (7, 5)), LINUX, "fp16", FLEX, 1),
    "24 GB Ada": (card("RTX 4090", 24, (8, 9)), LINUX, "bf16", VARLEN, 1),
    "2 x 24 GB Ampere": (card("RTX 3090", 24, (8, 6), 2), LINUX, "bf16", VARLEN, 2),
}
"""Name: the machine, what is installed there, precision, how packed rows are kept apart, and equal cards, of which one
is used unless the person wants more."""
ROWS = {"short": (120, 320), "mid": (350, 900), "long": (1200, 3500), "pairs": (350, 900), "text": (800, 900)}
"""Tokens of most rows, and of the longest."""
GEMMA_3 = ("gemma3", "gemma3_text")
TABLE = """
model                                      rows   6W    12    6T    24   2x24
SmolLM2-135M-Instruct                      mid    L     L     L     L    L
gemma-3-270m-it                            mid    L     L     L     L    L
SmolLM2-360M-Instruct                      long   L     L     L     L    L
Qwen2.5-0.5B-Instruct                      mid    L     L     L     L    L
Qwen3-0.6B                                 long   L     L     L     L    L
gemma-3-1b-it                              mid    L     L     L/Q   L    L
TinyLlama-1.1B-Chat-v1.0                   mid    L     L     L     L    L
Llama-3.2-1B-Instruct                      mid    L/Q   L     L/Q   L    L
EXAONE-4.0-1.2B                            mid    L/Q   L     L/Q   L    L
OLMo-2-0425-1B-Instruct                    mid    Q     L     Q     L    L
Qwen2.5-1.5B-Instruct                      short  Q     L     Q     L    L
Qwen2.5-1.5B                               pairs  Q     L     Q     L    L
Falcon3-1B-Instruct                        text   Q     L     Q     L    L
Qwen3-1.7B                                 mid    Q     L     Q     L    L
sarvam-1                                   text   Q     L     Q     L    L
granite-3.3-2b-instruct                    mid    Q     L     Q     L    L
gemma-2-2b-it                              mid    Q/Q?  L     Q     L    L
Indic-gemma-2b-finetuned-sft-Navarasa-2.0  mid    Q/Q?  L     Q     L    L
SmolLM3-3B                                 mid    Q/Q?  L     Q     L    L
Llama-3.2-3B-Instruct                      short  Q     L     Q     L    L
Llama-3.2-3B-Instruct                      long   Q?/-  L/Q   Q?/-  L    L
Phi-3.5-mini-instruct                      mid    Q/Q?  L/Q   Q/Q?  L    L
Qwen3-4B                                   mid    Q?    Q     Q?    L    L
gemma-3-4b-it                              mid    Q?/-  Q     Q?/-  L    L
Airavata                                   pairs  -     Q/Q?  -     L/Q  L/Q
Mistral-7B-Instruct-v0.3                   mid    -     Q     -     L    L
Qwen2.5-7B-Instruct                        mid    -     Q     -     L    L
Llama-3.1-8B-Instruct                      long   -     Q/Q?  -     L/Q  L/Q
Qwen3-8B                                   mid    -     Q     -     L/Q  L/Q
granite-3.3-8b-instruct                    text   -     Q     -     L/Q  L/Q
"""
"""L: LoRA, Q: QLoRA; with ?, into the last fifth of what is free; -: it doesn't fit."""
LAYOUTS = [line.split() for line in TABLE.strip().splitlines()[1:]]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """A dataset of each kind; the rows' tokens are those of `ROWS`."""
    folder = tmp_path_factory.mktemp("rows")
    rows = {"sft": {"instruction": "What is {i}?", "output": "A number."}, "text": {"text": "{i} is a number."},
            "pairs": {"prompt": "What is {i}?", "chosen": "A number.", "rejected": "No."}}
    for kind, row in rows.items():
        (folder / f"{kind}.jsonl").write_text("".join(
            json.dumps({name: text.format(i=i) for name, text in row.items()}) + "\n" for i in range(600)))
    return {kind: reader.read_dataset(folder / f"{kind}.jsonl") for kind in rows}


def test_the_table_has_thirty_layouts_of_all_families():
    assert len(LAYOUTS) == 30 and {len(layout) for layout in LAYOUTS} == {2 + len(CARDS)}
    used = {layout[0] for layout in LAYOUTS}
    assert {entry.family for entry in catalogue.entries()} == {
        entry.family for entry in catalogue.entries() if entry.name in used}


@pytest.mark.parametrize("layout", LAYOUTS, ids=[f"{name}, {rows}" for name, rows, *_ in LAYOUTS])
def test_the_plan_is_what_an_expert_would_choose(datasets, tiny_model, monkeypatch, layout):
    name, rows, *expected = layout
    entry = next(entry for entry in catalogue.entries() if entry.name == name)
    model = dataclasses.replace(entry.facts(Path(tiny_model)), has_chat_template=True)
    usual, longest = ROWS[rows]
    measured = MeasuredRows({i: RowTokens(usual if i % 50 else longest, 20, rows == "text") for i in range(600)}, 600)
    dataset = datasets[rows if rows in datasets else "sft"]
    for (title, (machine, installed, precision, attention, cards)), cell in zip(CARDS.items(), expected, strict=True):
        monkeypatch.setattr(Installed, "here", lambda installed=installed: installed)
        monkeypatch.setattr(guidance, "FLASH", installed.flash)
        config = planner.configure(plan_inputs.PlanInputs(dataset, model, machine, None, {}, measured))
        fits = Fits(model, config, machine)
        method = "-" if fits.share(config) > 1 else config.method[0].upper() + ("?" if fits.share(config) > COMFORTABLE
                                                                                else "")
        assert method in cell.split("/"), (title, fits.share(config))
        if precision == "fp16" and model.model_type in GEMMA_3:  # its activations are too large for fp16
            precision = "fp32"
        assert (config.precision, config.processes) == (precision, 1), title
        assert (str(cards) in config.reasons["processes"]) is (cards > 1), title
        eager = model.model_type in EAGER_ONLY
        assert config.packing == (rows != "pairs" and not eager), title
        if config.packing:
            way = guidance.packed_attention(machine.gpus[0].compute_capability, precision, installed)
            assert way.name == attention and way.reason in config.reasons["packing"], title
        assert config.max_length >= longest, title
        check_memory(config, fits, title)


class Fits:
    def __init__(self, model: ModelFacts, config: RunConfig, machine: Machine):
        self.model, self.free = model, machine.free_on_cards(config.processes)
        self.most_rows = config.effective_batch_size // config.processes

    def share(self, config: RunConfig, **changes: object) -> float:
        """Of the free memory, at most."""
        return estimate(self.model, dataclasses.replace(config, **changes), "cuda").high / self.free


def check_memory(config: RunConfig, fits: Fits, title: str) -> None:
    """Activations are recomputed only where no micro-batch fits otherwise, and no larger micro-batch fits."""
    several = {"gradient_accumulation_steps": 2}  # gradients stay from one micro-batch to the next
    if config.gradient_checkpointing:
        assert fits.share(config, micro_batch_size=1, gradient_checkpointing=False, **several) > COMFORTABLE, title
    twice = 2 * config.micro_batch_size
    if twice <= fits.most_rows and twice * config.max_length <= 8192:
        assert fits.share(config, micro_batch_size=twice, **several) > 0.95 * COMFORTABLE, title
    if fits.share(config) > 1:
        said = config.reasons["micro_batch_size"]
        assert "smaller model would fit" in said or "It would fit with" in said, title
