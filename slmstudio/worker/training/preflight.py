"""Before the first step of several ranks: what must be the same on each is compared."""

from __future__ import annotations

from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime.context import JobContext


def check(job: JobContext, config: RunConfig) -> None:
    """See that all ranks can train this run together. Called on each once the process group is up.

    Raises:
        UserError: something is in the way; it names the rank at fault.
    """
