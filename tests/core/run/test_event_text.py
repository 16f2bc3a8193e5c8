"""What each event says, as a line, and how much it wants to be noticed."""

from __future__ import annotations

import pytest

from slmstudio.core import jobs
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.event_text import changes_texts, event_text, tone
from slmstudio.core.run.history import RunHistory

GB = 1024**3
MEASURED = {"type": "fit_measured", "peak_bytes": 8 * GB, "low": 7 * GB, "high": 9 * GB, "seconds_per_step": 3.4}
TEXTS = [
    ({"type": "job_started"}, "", "worker started"),
    ({"type": "plan", "train_rows": 1, "trainable_parameters": 2_000_000, "parameters": 135_000_000}, "",
     "2 M of 135 M parameters are trained, 1 row"),
    ({"type": "paused", "global_step": 2}, "", "paused at step 2"),
    ({"type": "resumed", "global_step": 2_000}, "", "continues at step 2,000"),
    ({"type": "resumed_from", "global_step": 0}, "", "continues from the checkpoint of step 0"),
    ({"type": "eval", "global_step": 10, "eval_loss": 1.5, "best": True}, "", "best eval loss 1.500, step 10"),
    ({"type": "eval", "global_step": 20, "eval_loss": 1.7}, "", "eval loss 1.700, step 20"),
    ({"type": "eval", "global_step": 30, "eval_loss": None}, "", "eval loss at step 30 isn't a number"),
    ({"type": "checkpoint_saved", "global_step": 5, "reason": "interval"}, "", "checkpoint saved, step 5"),
    ({"type": "checkpoint_saved", "global_step": 5, "reason": "end"}, "", "checkpoint saved, step 5: at the end"),
    ({"type": "changed", "global_step": 2, "learning_rate": 0.0001, "total_steps": 90,
      "asked": {"learning_rate": 1e-4}}, "warn", "changed at step 2: learning rate 1e-4"),
    ({"type": "changed", "global_step": 2, "learning_rate": 0.0001, "total_steps": 90, "asked": {"epochs": 3}}, "warn",
     "changed at step 2: 90 steps"),
    ({"type": "adjusted", "reason": "out_of_memory", "changes": {"micro_batch_size": 2}, "was": {
        "micro_batch_size": 4}}, "warn", "memory ran out, so the run continues with Micro-batch, rows 4 → 2"),
    ({"type": "adjusted", "changes": {"later": True}}, "warn", "the run continues with later on"),
    ({"type": "overfitting", "global_step": 40, "eval_loss": 1.0}, "warn",
     "Eval loss was lowest at step 40 (1.000) and has risen since: the model is starting to overfit. More or different "
     "rows help, or fewer epochs."),
    ({"type": "overfitting", "global_step": 0, "eval_loss": 1.0}, "warn",
     "Eval loss was lowest before training (1.000): so far, the model only gets worse on rows it isn't trained on. "
     "Lower the learning rate, or check whether the two files are alike."),
    ({"type": "early_stop", "global_step": 120, "best_step": 40}, "",
     "ended early at step 120: eval loss didn't improve after step 40"),
    ({"type": "best_used", "global_step": 40, "eval_loss": 1.663}, "",
     "the result contains the weights of step 40, eval loss 1.663"),
    ({"type": "best_used", "global_step": 40, "eval_loss": 1.663, "strength": 1.0}, "",
     "the result contains the weights of step 40, eval loss 1.663"),
    ({"type": "best_used", "global_step": 40, "eval_loss": 1.5, "strength": 0.35}, "",
     "the result contains the weights of step 40, the adapter at 35% of its strength, eval loss 1.500"),
    (MEASURED, "", "the longest rows take 8 GB (estimated: 7–9 GB), and a step takes 3 s"),
    ({**MEASURED, "low": None}, "", ""),
    ({"type": "suspended", "seconds": 7200.0}, "warn", "the machine slept for 2 h; this isn't counted as work"),
    ({"type": "sleep_prevented", "on": True}, "", ""),
    ({"type": "sleep_prevented", "on": False, "reason": "no inhibitor"}, "warn",
     "the machine may go to sleep during training: no inhibitor"),
    ({"type": "warning", "code": "x", "message": "As it was written."}, "warn", "As it was written."),
    ({"type": "warning", "code": "x", "message": None}, "warn", "x"),
    ({"type": "job_ended", "state": "finished"}, "", "finished"),
    ({"type": "job_ended", "state": "failed"}, "bad", "failed"),
    ({"type": jobs.MEMORY_KILL}, "bad", "The system ended the worker because memory ran out"),
    ({"type": "somebody_elses"}, "", ""),
]


@pytest.mark.parametrize(("event", "noticed", "text"), TEXTS)
def test_each_event_has_its_line(event, noticed, text):
    assert (tone(event), event_text(event)) == (noticed, text)


@pytest.mark.parametrize("kind", sorted({event["type"] for event, *_ in TEXTS}))
def test_figures_of_odd_types_break_nothing(kind):
    assert isinstance(event_text({"type": kind}), str)
    assert isinstance(event_text({
        "type": kind, "global_step": "x", "seconds": [], "changes": 1, "was": 2, "eval_loss": "low", "message": None,
        "train_rows": "many", "learning_rate": "x", "total_steps": [], "best_step": {}, "peak_bytes": "x"}), str)


def test_what_was_changed_while_a_run_trained_is_told_in_order():
    history = RunHistory()
    for time, event in enumerate((
            {"type": "job_started"}, {"type": "step", "global_step": 120, "train_loss": 1.0},
            {"type": "adjusted", "changes": {"micro_batch_size": 4, "gradient_accumulation_steps": 2}},
            {"type": "resumed_from", "global_step": 100}, {"type": "paused", "global_step": 130},
            {"type": "changed", "global_step": 140, "asked": {"learning_rate": 1e-4}, "learning_rate": 1e-4},
            {"type": "changed", "global_step": 150, "asked": {"learning_rate": 1e-4}, "learning_rate": 1e-4},
            {"type": "guard_changed", "values": {"heat_limit_c": 70}})):
        history.add({"protocol": 1, "time": float(time), **event})
    config = RunConfig("any", "m", "t", learning_rate=2e-4, micro_batch_size=8, gradient_accumulation_steps=1)
    assert changes_texts(history, config) == [
        "Micro-batch, rows 8 → 4 at step 120", "Accumulation 1 → 2 at step 120",
        "continues from the checkpoint of step 100", "paused at step 130",
        "Learning rate 2e-4 → 1e-4 at step 140", "Temperature limit, °C 70"]
