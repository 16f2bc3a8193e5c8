"""How our trainers save checkpoints, complete or absent, and resume from them: those of one process, and those of
several that may share the model."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.run import checkpoints
from slmstudio.worker.runtime import ranks
from slmstudio.worker.training.several import sharded


class Checkpointing:
    """Mixed into a transformers trainer.

    Attributes:
        checkpoint_parent: folder of the run's checkpoints.
        eval_loss_of_step: (step, eval loss) of the newest evaluation, for the checkpoint's manifest.
    """

    checkpoint_parent: Path
    eval_loss_of_step: tuple[int, float] | None

    def train(self, resume_from_checkpoint: str | None = None) -> Any:
        """Train, from a checkpoint where one is given: of one process or of several, sharing the model or not.

        Raises:
            UserError: a file of the checkpoint holds other things than a run writes.
        """
        if resume_from_checkpoint and self.is_fsdp_enabled:
            self.is_fsdp_enabled = False  # its weights are read as one process reads them, and shared afterwards
            self._load_from_checkpoint(resume_from_checkpoint)
            self.is_fsdp_enabled = True
        try:
            return super().train(resume_from_checkpoint=resume_from_checkpoint)  # type: ignore[misc]
        except pickle.UnpicklingError as error:  # its text advises to trust the file
            raise _not_of_a_run(Path(resume_from_checkpoint or "")) from error

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self.is_fsdp_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
            return
        sharded.load_optimizer(self.optimizer, Path(checkpoint) / "optimizer.pt")
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / "scheduler.pt", weights_only=True))

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Within, the first rank can write the model and the optimizer by itself. Every rank must enter it."""
        self._whole = sharded.collect(self.model, self.optimizer) if self.is_fsdp_enabled else None
        try:
            yield
        finally:
            self._whole = None

    def on_whole_model(self, work: Callable[[], Any]) -> Any:
        """What `work` returns on the first rank. Where the ranks share the model, all of them must do it together."""
        return work() if self.is_fsdp_enabled else ranks.alone(work)

    def write_model(self, folder: Path) -> None:
        if self._whole is None:
            self.save_model(str(folder), _internal_call=True)
        else:
            self._save(str(folder), state_dict=self._whole.weights)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save into `checkpoint_parent`, complete or absent.

        Raises:
            OSError: it couldn't be written; earlier checkpoints are untouched.
        """
        step = self.state.global_step
        eval_loss = self.eval_loss_of_step[1] if self.eval_loss_of_step and self.eval_loss_of_step[0] == step else None
        with checkpoints.writing(self.checkpoint_parent, step, eval_loss) as folder:
            self.write_model(folder)
            if self._whole is None:
                self._save_optimizer_and_scheduler(str(folder))
            else:
                torch.save(self._whole.optimizer, folder / "optimizer.pt")
                torch.save(self.lr_scheduler.state_dict(), folder / "scheduler.pt")
            self._save_scaler(str(folder))
            if self.args.world_size == 1:  # several have no state of their own: see `seed_of`
                self._save_rng_state(str(folder))
            self.state.save_to_json(os.path.join(folder, "trainer_state.json"))


def _not_of_a_run(checkpoint: Path) -> UserError:
    return UserError(tr("{checkpoint} can't be used.", checkpoint=checkpoint.name),
                     tr("One of its files contains something other than the numbers that a run saves, so somebody has "
                        "replaced it. Nothing of it was run."),
                     tr("Delete {folder}. The run then resumes from the checkpoint before it.", folder=checkpoint))
