"""Two ranks learn what one process learns: the same losses, whatever the method, the objective and the batches."""

from __future__ import annotations

import pytest
from support.tiers import first_fast
from support.two_rank_runs import events, furthest, make, said_by

NEAR = 1e-6


@pytest.mark.parametrize(("changes", "count"), first_fast([
    ({}, 2),  # 3 micro-batches for 2 ranks
    ({"gradient_accumulation_steps": 4}, 3),
    ({"gradient_accumulation_steps": 1, "micro_batch_size": 3}, 2),  # a micro-batch is divided
    ({"gradient_accumulation_steps": 1, "micro_batch_size": 1}, 2),  # one rank has nothing to do
    ({"packing": True, "use_dora": True}, 2),
    ({"lora_dropout": 0.1, "neftune_noise_alpha": 5.0, "gradient_accumulation_steps": 2, "max_steps": 8}, 2),
    ({"gradient_checkpointing": True, "group_by_length": False}, 2),
    ({"method": "qlora"}, 2),
    ({"method": "full", "learning_rate": 1e-3}, 2),
    ({"method": "full", "objective": "text", "packing": True, "learning_rate": 1e-3}, 2),
    ({"method": "scratch", "scratch_size": "10M", "objective": "text", "max_length": 32, "learning_rate": 1e-3,
      "max_steps": 3}, 2),
    ({"objective": "dpo"}, 2),
    ({"objective": "dpo", "method": "full", "learning_rate": 1e-3, "gradient_accumulation_steps": 1}, 2),
    ({"objective": "orpo"}, 2),
    ({"objective": "kto"}, 2),
    ({"objective": "kto", "gradient_accumulation_steps": 1}, 2),
    ({"parallelism": "fsdp"}, 2),
    ({"parallelism": "fsdp", "packing": True, "gradient_accumulation_steps": 1}, 2),
    ({"parallelism": "fsdp", "gradient_checkpointing": True}, 2),
    ({"parallelism": "fsdp", "method": "full", "learning_rate": 1e-3}, 3),
    ({"parallelism": "fsdp", "method": "scratch", "scratch_size": "10M", "objective": "text", "max_length": 32,
      "learning_rate": 1e-3, "max_steps": 3}, 2),
]), ids=str)
def test_ranks_have_the_losses_of_one_process(zygote, tiny_model, tmp_path, changes, count):
    alone = make(tiny_model, tmp_path, **{name: value for name, value in changes.items() if name != "parallelism"})
    together = make(tiny_model, tmp_path, **changes, processes=count)
    assert zygote.run(alone, 1) == [0], said_by(alone, 1)
    assert zygote.run(together, count) == [0] * count, said_by(together, count)
    difference = furthest(together, alone)
    print(f"largest difference of a loss: {difference:.1e}")
    assert difference <= NEAR
    for kind, figures in {"step": ("tokens", "learning_rate", "epoch"), "sample": ("samples",), "plan": (
            "total_steps", "train_rows", "trainable_parameters")}.items():
        found, wanted = events(together, kind), events(alone, kind)
        assert [[event[name] for name in figures] for event in found] == \
            [[event[name] for name in figures] for event in wanted]
    idle = changes.get("objective") == "kto" and changes.get("gradient_accumulation_steps") == 1
    assert [event["code"] for event in events(together, "warning")] == ["ranks_idle"] * idle
    margins = [[event.get("reward_margin") for event in events(run, "step")] for run in (together, alone)]
    assert margins[0] == pytest.approx(margins[1], abs=1e-5) if "objective" in changes and margins[0][0] else True
