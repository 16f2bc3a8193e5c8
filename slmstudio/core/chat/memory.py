"""The memory that models take when they are loaded side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slmstudio.core import files, jobs
from slmstudio.core.chat.gpu_layers import cache_bytes, compute_bytes, read_shape
from slmstudio.core.model.facts import read_model

USUAL_CONTEXT = 4096
"""Tokens, where nobody chose a context length."""


def needed_bytes(models: Sequence[Path], context_length: int | None) -> int:
    """What models take together: GGUF files, each with a cache of its own, and folders of models and runs.

    Raises:
        UserError: a file isn't a complete GGUF file, or a folder holds no model.
    """
    length = context_length or USUAL_CONTEXT
    shapes = [read_shape(path) for path in models if path.suffix.lower() == ".gguf"]
    folders = [path for path in models if path.suffix.lower() != ".gguf"]
    return sum(map(_folder_bytes, folders)) + sum(
        shape.file_bytes + cache_bytes(shape, length) + compute_bytes(shape, length) for shape in shapes)


def _folder_bytes(folder: Path) -> int:
    """What the weights of a model folder, or those that a run learned on, take in fp32."""
    request = files.read_json(folder / jobs.RUN) if (folder / jobs.RUN).is_file() else None
    return read_model(Path(request["model"]) if request and request.get("model") else folder).parameters * 4


def free_bytes() -> int:
    """Memory that programs can get now without swapping; models that are loaded already count as free, since the
    system can read their files again."""
    import psutil

    return int(psutil.virtual_memory().available)
