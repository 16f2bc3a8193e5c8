"""The memory that models take when they are loaded side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slmstudio.core.chat.gpu_layers import cache_bytes, compute_bytes, read_shape

USUAL_CONTEXT = 4096
"""Tokens, where nobody chose a context length."""


def needed_bytes(models: Sequence[Path], context_length: int | None) -> int:
    """What GGUF models take together, each with a cache of its own.

    Raises:
        UserError: a file is no complete GGUF file.
    """
    length = context_length or USUAL_CONTEXT
    shapes = [read_shape(path) for path in models]
    return sum(shape.file_bytes + cache_bytes(shape, length) + compute_bytes(shape, length) for shape in shapes)


def free_bytes() -> int:
    """Memory that programs can get now without swapping; models that are loaded already count as free, since the
    system can read their files again."""
    import psutil

    return int(psutil.virtual_memory().available)
