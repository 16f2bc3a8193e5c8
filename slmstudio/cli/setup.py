"""Setting up again from the terminal."""

from __future__ import annotations

import os
import subprocess

import typer

from slmstudio.core import environment

app = typer.Typer()


@app.command()
def setup() -> int:
    """Set up what is missing or has changed, such as a missing chat engine, or PyTorch for a new card."""
    command = environment.command()
    if os.name == "nt":
        return subprocess.call(command)
    # The setup may replace the very Python that runs this, so it takes this process's place.
    os.execv(command[0], command)
