"""A Python without the chat engine, as it seems: for this process (`Hidden`) and for others (`environment`)."""

from __future__ import annotations

import inspect
import os
from importlib.machinery import ModuleSpec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Hidden:
    """Stands before the finders of `sys.meta_path`."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "llama_cpp":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


class Found:
    """Stands before `Hidden`: it was set up meanwhile."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        return ModuleSpec(name, None) if name == "llama_cpp" else None


def environment(folder: Path) -> dict[str, str]:
    """The variables of a process that doesn't find llama_cpp, and whose children don't.

    Args:
        folder: where the file that hides it may be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        f"import sys\n\n\n{inspect.getsource(Hidden)}\n\nsys.meta_path.insert(0, Hidden)\n", encoding="utf-8")
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
