"""Few-shot examples of lm_eval's tasks: whether there are as many as will be asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.few_shot import too_few
from slmstudio.core.i18n import tr


def check_shots(title: str, tasks: Mapping[str, Any], subjects: Mapping[str, str], shots: int | None) -> None:
    """Look before any model is loaded: lm_eval stops with an assertion after it, or shows questions as examples.

    Args:
        tasks: as lm_eval has loaded them, by name; `subjects`: what people call them.
        shots: None where each task takes its own number.

    Raises:
        UserError: a task has too few.
    """
    counts = {name: _wanted(task, shots) for name, task in tasks.items()}
    for wanted in sorted(set(counts.values()), reverse=True):
        few = too_few({subjects.get(name, name): _there(task, shots) for name, task in tasks.items()
                       if counts[name] == wanted}, wanted)
        if few:
            raise UserError(tr("{benchmark} can't be asked with that many examples.", benchmark=title), *few)


def _wanted(task: Any, shots: int | None) -> int:
    own = task.get_config("num_fewshot")
    return int(own or 0) if shots is None or own == 0 else shots  # 0 of its own is never changed by lm_eval


def _there(task: Any, shots: int | None) -> int:
    """Examples that may be shown before any question."""
    settings = getattr(task, "fewshot_cfg", None)
    if settings is None:
        return sys.maxsize  # a program of its own, which knows what it has
    by_rule = settings.split is None and settings.samples is None
    asks_its_examples = by_rule and not task.has_training_docs() and not (
        task.has_validation_docs() and task.has_test_docs())
    if asks_its_examples and shots:
        return 0
    count = len(settings.fewshot_indices or task.sampler.df)
    # lm_eval draws one more then, to have enough where the question itself is among them.
    return count - 1 if settings.split == task.config.test_split else count
