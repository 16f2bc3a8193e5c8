"""The rows of a run, kept as a worker keeps them."""

from __future__ import annotations

from pathlib import Path

from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import keeping, kept_rows, source_rows


def keep(run: Path, config: RunConfig) -> kept_rows.Kept:
    with keeping.spooling(run) as store:
        return keeping.write(run, config, source_rows.read(config, store=store))
