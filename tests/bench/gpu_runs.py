"""What the rows of gpu.py have in common: where they run, models, and runs on rows that fill the sequence length."""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]


class Failed(Exception):
    """What was measured isn't what it must be."""


class LeftOut(Exception):
    """This machine can't do it, and why."""


@dataclass(frozen=True)
class Here:
    """
    Attributes:
        device: "cuda" or "cpu".
        place: a folder for what the row writes; deleted behind it.
        models: a folder for models, which all rows share.
    """

    device: str
    place: Path
    models: Path

    @property
    def on_card(self) -> bool:
        return self.device == "cuda"

    def need_card(self, cards: int = 1) -> None:
        import torch

        if not self.on_card or torch.cuda.device_count() < cards:
            raise LeftOut(f"needs {cards} cards" if cards > 1 else "needs a card")


def card() -> dict[str, Any]:
    """The first card; empty where PyTorch has none."""
    import torch

    if not torch.cuda.is_available():
        return {}
    about = torch.cuda.get_device_properties(0)
    return {"card": about.name, "capability": f"{about.major}.{about.minor}", "torch": torch.__version__,
            "memory_gb": round(about.total_memory / 2**30), "date": time.strftime("%Y-%m-%d")}


def model_of(here: Here, name: str = "starter") -> Path:
    """The starter model, or one of `memory_cases.LARGE` with random weights; in a dry run a tiny one for either."""
    from support import memory_cases, starter, tiny_model

    from slmstudio.core.jobs import new

    folder = here.models / (name if here.on_card else "tiny")
    if folder.exists():
        return folder
    if not here.on_card:
        return tiny_model.build(folder)
    if name != "starter":
        return memory_cases.build(memory_cases.LARGE[name], folder)
    job = new.unpack(starter.gguf(), folder)
    job.start()
    if not (outcome := job.wait()).was_successful():
        raise Failed(f"the starter model wasn't unpacked: {outcome.error}")
    return folder


@dataclass(frozen=True)
class Trained:
    """A run that ended: its outcome and its events."""

    outcome: Any
    events: list[dict[str, Any]]
    folder: Path

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def losses(self) -> list[float]:
        return [event["train_loss"] for event in self.of_type("step")]

    @property
    def peak_bytes(self) -> int | None:
        peaks = [event["peak_bytes"] for event in self.of_type("fit_measured")]
        return peaks[-1] if peaks else None


def train(here: Here, model: Path, steps: int, length: int = 0, **changes: Any) -> Trained:
    """A run of some steps on rows that fill `length` tokens (512; 64 in a dry run); raises Failed where it doesn't
    finish."""
    from support import memory_cases

    from slmstudio.core.run import folder
    from slmstudio.core.run.config import RunConfig

    length = length or (512 if here.on_card else 64)
    config = replace(
        RunConfig(name="card", model=str(model), train_file="t"), device=here.device, eval_fraction=0.0,
        max_length=length, max_steps=steps, save_steps=10**6, sample_max_tokens=0, micro_batch_size=2,
        gradient_accumulation_steps=1, precision="bf16" if here.on_card else "fp32")
    config = replace(config, **changes)
    rows = memory_cases.write_rows(here.place / "rows.jsonl", steps * config.effective_batch_size, length)
    job = folder.create(replace(config, train_file=str(rows)), here.place / "runs")
    job.start()
    outcome = job.wait()
    found = Trained(outcome, list(job.events()), job.folder)
    if not outcome.was_successful():
        raise Failed((outcome.error or {}).get("what", outcome.state))
    return found


def speed(run: Trained) -> int:
    """Tokens a second: the median without the first steps."""
    return round(statistics.median(event["tokens_per_second"] for event in run.of_type("step")[2:]))
