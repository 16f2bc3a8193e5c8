"""Python keeps a compiled module beside it, where a locked process can't write: else each start compiles it again."""

from __future__ import annotations

import compileall
import importlib.util
import os
from pathlib import Path


def keep() -> None:
    """Compile the workers' modules that have changed, and PyTorch where whatever installed it hasn't (as pip does)."""
    folders = [Path(__file__).parent.parent]
    torch = importlib.util.find_spec("torch")
    if torch and torch.origin and not Path(torch.origin).with_name("__pycache__").is_dir():
        folders.append(Path(torch.origin).parent)
    for folder in folders:
        if os.access(folder, os.W_OK):
            compileall.compile_dir(folder, quiet=2)
