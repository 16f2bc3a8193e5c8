"""What a model can do without training, on rows that a run of the same file holds out: the baseline that training has
to beat."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs, paths
from slmstudio.core.chat.context import RETRIEVAL
from slmstudio.core.data import split
from slmstudio.core.data.reader import Dataset, read_as
from slmstudio.core.evaluation import request, rival_models
from slmstudio.core.evaluation.rival_models import BASE, PROMPT
from slmstudio.core.evaluation.scoring import SCORES
from slmstudio.core.hardware.machine import read_gpus

ROWS = 30
"""Held-out rows that are asked: a few minutes on a processor."""
USUAL = (PROMPT, RETRIEVAL)


def propose_trial(data: Path | Dataset, model: str | Path, rows: int = ROWS, rivals: Sequence[str] = USUAL,
                  columns: str | None = None, system: str | None = None, eval_fraction: float | None = None,
                  split_seed: int = 0, split_by: str = split.ROWS,
                  cancelled: Callable[[], bool] | None = None) -> dict[str, Any]:
    """A request that asks a base model in several ways, to be made into a job by `request.create`.

    Reads the file where it isn't read yet, and writes the held-out rows beside the evaluations: not for the UI thread.

    Args:
        data: a file with rows, or what was read of it.
        model: as `request.model_at` reads it.
        rivals: some of `rival_models.NAMES` that need no tuned model.
        columns: what a user said about the file's columns.
        system: of the rivals; None proposes one from the rows that training would learn.
        eval_fraction, split_seed, split_by: as of the run that will learn from this file; by default, as it is planned.

    Raises:
        UserError: the file or the model can't be used, nothing can be held out, or it is plain text.
        ReadingCancelled: `cancelled` said so.
    """
    dataset = data if isinstance(data, Dataset) else read_as(data, columns, cancelled=cancelled)
    share = split.usual_share(len(dataset.records)) if eval_fraction is None else eval_fraction
    held_out = split.held_out(dataset.records, share, split_seed, split_by)
    test = _test_file(dataset, columns, share, split_seed, split_by)
    test.parent.mkdir(parents=True, exist_ok=True)
    request.write_held_out(test, dataset, held_out, cancelled)
    base = {**request.model_at(model), "name": BASE}
    if system is None:
        learned = [record for record, out in zip(dataset.records, held_out, strict=True) if not out]
        system = rival_models.proposed_system(learned[:rival_models.SAMPLED])
    models = rival_models.added([base], rivals, system)
    count, tokens, said = request.measure(test, None, models, cancelled)
    gpus, _ = read_gpus()
    return {"kind": "evaluate", "test": str(test), "test_columns": said, "limit": rows if count > rows else None,
            "seed": 0, "benchmark": None, "models": models, "train_run": None,
            "train_file": str(dataset.path.absolute()), "train_map": columns,
            "train_split": {"eval_fraction": share, "seed": split_seed, "by": split_by, "groups": True},
            "system": None, "max_new_tokens": tokens, "batch_size": None, "judge": None,
            "precision": request.precision_of(models, gpus[0] if gpus else None)}


def _test_file(dataset: Dataset, columns: str | None, share: float, seed: int, by: str) -> Path:
    """Of the rows that are held out. Its name says what it was made from."""
    made_of = hashlib.sha256(json.dumps([dataset.sha256, columns, share, seed, by]).encode()).hexdigest()
    return paths.evaluations_dir() / f"held-out-{made_of[:12]}.jsonl"


def newest_trial(dataset: Dataset, columns: str | None, eval_fraction: float, split_seed: int, split_by: str,
                 test: Path | None = None) -> Path | None:
    """The folder of the newest trial of these rows, split like this, that has scores; None if there is none.

    Args:
        test: the file with evaluation rows, where they have one of their own.
    """
    asked = str(test or _test_file(dataset, columns, eval_fraction, split_seed, split_by))
    found = []
    for scores in paths.evaluations_dir().glob(f"evaluate-*/{SCORES}"):
        known = files.read_json(scores.parent / jobs.REQUEST) or {}
        if known.get("test") == asked and known.get("train_file") == str(dataset.path.absolute()) and (
                not known.get("train_run")):
            found.append(scores)
    return max(found, key=lambda scores: scores.stat().st_mtime).parent if found else None
