"""A few steps of a real run under PyTorch's profiler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import loading


def profiled(config: RunConfig, place: Path, activities: Sequence[Any] | None = None) -> Any:
    """The profiler, which has seen two optimizer updates of this run after its first, in this process.

    Args:
        place: the folder that the run's own is made in.
        activities: as of `torch.profiler.profile`; None takes all that this machine has.
    """
    profiler = torch.profiler.profile(activities=activities)

    class Profile(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 1:
                profiler.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                profiler.stop()
                control.should_training_stop = True

    job = folder.create(config, place)
    trainer = loading.load(JobContext(job.folder, job.request()), config).trainer
    trainer.add_callback(Profile())
    trainer.train()
    return profiler
