"""TRL's SFTTrainer with three things changed: the loss, the evaluation, and how a checkpoint is saved."""

from __future__ import annotations

import os
from typing import Any

import torch
from trl import SFTTrainer

from slmstudio.core.run import checkpoints
from slmstudio.worker.head_loss import head_loss
from slmstudio.worker.training_data import IGNORED, BatchOrder

SCALED_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")
"""Configuration keys of models whose logits are more than a matrix product; TRL's own loss serves them."""


class StudioTrainer(SFTTrainer):  # type: ignore[misc]
    """Trains on ready-made `input_ids` and `labels`.

    Attributes:
        checkpoint_parent: folder of the run's checkpoints.
        tokens_seen: non-padding tokens since the last `take_tokens`.
        last_eval_loss: of the newest evaluation, for the checkpoint's manifest.
    """

    def __init__(self, *args: Any, checkpoint_parent: Any, by_length: bool, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.checkpoint_parent = checkpoint_parent
        self._by_length = by_length
        self.last_eval_loss: float | None = None
        self._tokens_seen = torch.zeros((), dtype=torch.long)
        self._causal_lm = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        config = self._causal_lm.config
        # A wrapped (distributed) model must be called through its wrapper.
        self._direct = self.accelerator.num_processes == 1 and not any(getattr(config, k, None) for k in SCALED_LOGITS)

    def take_tokens(self) -> int:
        """Non-padding tokens trained on since the last call."""
        count, self._tokens_seen = int(self._tokens_seen), torch.zeros((), dtype=torch.long)
        return count

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean cross entropy over the learned tokens of the whole effective batch.

        The head sees the learned positions only; see head_loss.py.
        """
        if self.model.training:
            self._tokens_seen = self._tokens_seen.to(inputs["attention_mask"].device) + inputs["attention_mask"].sum()
        if not self._direct or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss, count = self._summed_loss(inputs)
        return loss / (count if num_items_in_batch is None else num_items_in_batch)

    def _summed_loss(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Sum of the cross entropy over the learned positions, and their number."""
        learned = inputs["labels"][:, 1:] != IGNORED
        with self.accelerator.autocast():
            hidden = self._causal_lm.get_decoder()(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
            ).last_hidden_state
            weight = self._causal_lm.get_output_embeddings().weight
            positions = hidden[:, :-1][learned].to(weight.dtype)
            return head_loss(positions, weight, inputs["labels"][:, 1:][learned]), learned.sum()

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Eval loss as the mean over all learned tokens; the stock trainer averages batch means instead."""
        if not self._direct:
            metrics = super().evaluate(*args, **kwargs)
            self.last_eval_loss = metrics.get("eval_loss")
            return metrics
        was_training = self.model.training
        self.model.eval()
        total, count = torch.zeros(()), torch.zeros((), dtype=torch.long)
        with torch.no_grad():
            for batch in self.get_eval_dataloader():
                loss, learned = self._summed_loss(self._prepare_inputs(batch))
                total, count = total.to(loss.device) + loss, count.to(learned.device) + learned
        self.model.train(was_training)
        metrics = {"eval_loss": (total / count).item()}
        self.last_eval_loss = metrics["eval_loss"]
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Without TRL's own metrics: entropy and accuracy cost a pass over the whole vocabulary."""
        self._metrics["train"].clear()
        self._metrics["eval"].clear()
        super().log(logs, start_time)

    def _get_train_sampler(self, train_dataset: Any = None) -> BatchOrder:
        rows = train_dataset if train_dataset is not None else self.train_dataset
        return BatchOrder(
            [len(ids) for ids in rows["input_ids"]], self.args.train_batch_size, self.args.seed, self._by_length
        )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save into `checkpoint_parent`, complete or absent.

        Raises:
            OSError: it could not be written; earlier checkpoints are untouched.
        """
        with checkpoints.writing(self.checkpoint_parent, self.state.global_step, self.last_eval_loss) as folder:
            self.save_model(str(folder), _internal_call=True)
            self._save_optimizer_and_scheduler(str(folder))
            self._save_scaler(str(folder))
            self._save_rng_state(str(folder))
            self.state.save_to_json(os.path.join(folder, "trainer_state.json"))
