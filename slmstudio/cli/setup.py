"""Setting up again from the terminal."""

from __future__ import annotations

import os
import subprocess
from typing import Annotated

import typer

from slmstudio.core import environment

app = typer.Typer()


@app.command()
def setup(
    as_json: Annotated[bool, typer.Option("--json", help="Print the progress as JSON, one object per line.")] = False,
) -> int:
    """Set up what is missing or has changed, such as a missing chat engine, or PyTorch for a new card."""
    command = [*environment.command(), *(["--json"] if as_json else [])]
    if os.name == "nt":
        return subprocess.call(command)
    # The setup may replace the very Python that runs this, so it takes this process's place.
    os.execv(command[0], command)
