"""Evaluations of models as a worker gets them, and benchmarks run without the rest of an evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support import gguf_models

from slmstudio.core import files
from slmstudio.worker.answering.model_loader import Models
from slmstudio.worker.benchmark import lm_eval_run


def asked(folder: Path, *models: Path, answers: Sequence[str], names: Sequence[str] = (), **request: Any) -> Any:
    """An evaluation of models on a test file with a question for each of these answers.

    Args:
        names: of the models; those of their folders where none are given.
    """
    rows = folder.parent / f"{folder.name}.jsonl"
    rows.write_text("".join(json.dumps({"question": f"Question {number}?", "answer": text}) + "\n"
                            for number, text in enumerate(answers)), encoding="utf-8")
    specs = [{"name": name, "model": str(model)}
             for name, model in zip(names or [model.name for model in models], models, strict=True)]
    made = gguf_models.context(folder, **{"kind": "evaluate", "test": str(rows), "precision": "fp32",
                                          "max_new_tokens": 8, "models": specs, **request})
    (folder / "request.json").write_text(json.dumps(made.request), encoding="utf-8")
    return made


def ran(folder: Path, name: str, data: Path, base: Path, adapter: Path | None = None, *, precision: str = "fp32",
        **asked: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """scores.json's benchmark, and what was kept of the first model's answers.

    Args:
        base: a model folder or a GGUF file.
        adapter: on it, of the second model; None for one model alone.
        asked: "limit" and "shots", None where they aren't given.
    """
    specs = [{"name": "base", "model": None, "gguf": str(base)} if base.suffix == ".gguf" else
             {"name": "base", "model": str(base), "gguf": None}]
    specs += [{"name": "tuned", "model": str(base), "gguf": None, "adapter": str(adapter)}] if adapter else []
    job = gguf_models.context(folder, kind="evaluate", test=None, precision=precision, models=specs,
                              benchmark={"name": name, "data": str(data), "limit": None, "shots": None, **asked})
    models = Models(job)
    try:
        lm_eval_run.run(job, models)
    finally:
        models.close()
    scores = files.read_json(folder / "scores.json")
    kept = files.read_json(folder / "benchmark" / "model-0.json")
    assert scores is not None and kept is not None
    return scores["benchmarks"][0], kept
