"""TRL's SFTTrainer on ready-made rows, with a loss and an evaluation that touch no more than they must."""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTTrainer

from slmstudio.worker.runtime import ranks
from slmstudio.worker.training.several.wrapped import within
from slmstudio.worker.training.summed_loss import is_direct, per_row_losses, summed_loss, token_count
from slmstudio.worker.training.trainer_mixin import Exact


class StudioTrainer(Exact, SFTTrainer):  # type: ignore[misc]
    """Trains on `input_ids` and `labels`, padded or packed."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._causal_lm = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        self._direct = is_direct(self._causal_lm)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean cross entropy over the learned tokens of the whole effective batch.

        The head sees the learned positions only; see head_loss.py.
        """
        if not self._direct or return_outputs:
            unknown = {"rows", "learned", "targets", *(() if "position_ids" in inputs else ("row_lengths",))}
            known = {name: value for name, value in inputs.items() if name not in unknown}
            return super().compute_loss(model, known, return_outputs, num_items_in_batch)
        loss, count = self._summed_loss(model, inputs)
        if num_items_in_batch is None:
            return loss / count * self._factor
        return loss / num_items_in_batch * (self._factor * self.args.world_size)  # the ranks' gradients are averaged

    def _summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, int]:
        """Sum of the cross entropy over the learned positions, and their number."""
        with self.accelerator.autocast():
            if self.args.world_size == 1:
                return summed_loss(self._causal_lm, inputs)
            return within(model, lambda: summed_loss(self._causal_lm, inputs))  # type: ignore[no-any-return]

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Eval loss as the mean over all learned tokens; the stock trainer averages batch means instead."""
        if not self._direct:
            return dict(super().evaluate(*args, **kwargs))
        was_training, found = self.model.training, []
        self.model.eval()
        with torch.no_grad():
            for share, batch in self.eval_batches():
                loss, learned = self._summed_loss(self.model, batch)
                if share.part:
                    found.append((share.micro_batch, loss, learned))
        self.model.train(was_training)
        mine = [(at, float(loss), learned) for at, loss, learned in found]
        total, count = torch.zeros(()), 0
        # In the order of the rows, whichever rank read them: a sum of floats depends on it.
        for _, loss, learned in sorted(each for rank in ranks.gather(mine) for each in rank):
            total, count = total + loss, count + learned
        metrics = {"eval_loss": (total / count).item()}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Without TRL's own metrics: entropy and accuracy cost a pass over the whole vocabulary."""
        self._metrics["train"].clear()
        self._metrics["eval"].clear()
        super().log(logs, start_time)

    def count_tokens(self, inputs: dict[str, Any]) -> int:
        return token_count(inputs)

    def losses_by_row(self, inputs: dict[str, Any]) -> list[float]:
        with self.accelerator.autocast():
            return per_row_losses(self._causal_lm, self._prepare_inputs(inputs))
