"""The rows of a run, kept as a worker keeps them."""

from __future__ import annotations

from pathlib import Path

from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import run_rows, saving_rows


def keep(run: Path, config: RunConfig) -> run_rows.SavedRows:
    with saving_rows.spooling(run) as store:
        return saving_rows.write(run, config, saving_rows.read(config, store=store))
