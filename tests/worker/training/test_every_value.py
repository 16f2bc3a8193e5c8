"""Each value that a field of a run offers trains, or is refused in a sentence before anything is learned."""

from __future__ import annotations

import json

import pytest
from support.tiers import first_fast

from slmstudio.core import jobs
from slmstudio.core.data import reader
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.model import facts
from slmstudio.core.run import folder
from slmstudio.core.run.config import FIELDS, default_of
from slmstudio.core.run.planning import plan_inputs, planner
from slmstudio.core.run.run_fields import Choice, Switch
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import train

ELSEWHERE = {"objective", "method", "device", "scratch_size"}
"""Fields whose values have tests of their own: test_methods.py, test_scratch.py, and those marked gpu."""
OTHERS = [("target_modules", ["q_proj", "v_proj"]), ("lora_dropout", 0.1), ("warmup_fraction", 0.5),
          ("weight_decay", 0.1), ("max_grad_norm", 0.0), ("neftune_noise_alpha", 5.0), ("eval_fraction", 0.0),
          ("early_stopping_patience", 1), ("max_steps", 1), ("sample_prompts", ["Who are you?"]), ("threads", 0)]


def values() -> list[tuple[str, object]]:
    found = [("attention", "eager"), *OTHERS]
    for name, about in FIELDS.items():
        offered = list(about.kind.words) if isinstance(about.kind, Choice) else [True, False]
        if name not in ELSEWHERE and isinstance(about.kind, (Choice, Switch)):
            found += [(name, value) for value in offered
                      if value != default_of(name) and (name, value) not in found]
    return found


@pytest.mark.parametrize(("field", "value"), first_fast(values(), len(OTHERS) + 1), ids=str)
@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.full)])
def test_a_run_with_this_value(tmp_path, tiny_model, method, field, value):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"instruction": f"How long is {i} a passport valid?", "output": "Ten years."})
                            + "\n" for i in range(8)), "utf-8")
    small = {"method": method, "max_steps": 1, "max_length": 64, "sample_max_tokens": 2, "micro_batch_size": 2,
             "gradient_accumulation_steps": 1, "eval_fraction": 0.25}
    try:
        config = planner.configure(plan_inputs.PlanInputs(reader.read_dataset(file), facts.read_model(tiny_model),
                                                  read_machine(), overrides={**small, field: value}))
        job = folder.create(config, tmp_path / "runs")
        result = train.run(JobContext(job.folder, job.request()))
    except UserError as error:
        assert not (tmp_path / "runs").exists() or not [
            event for event in jobs.Job(job.folder).events() if event["type"] == "step"], error
        assert str(error).strip() and error.remedy, error
        return
    assert getattr(config, field) == value and result["steps"] == 1
