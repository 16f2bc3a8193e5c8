"""Whether a model can become a GGUF file, as far as that can be told before hours of training."""

from __future__ import annotations

import ast
import functools

from slmstudio.core import paths
from slmstudio.core.model.json_files import printable

TABLE = "TEXT_MODEL_MAP"
"""The converter's name for the architectures that it knows."""


def why_no_gguf(architecture: str) -> str | None:
    """A sentence that says that this version can't export the architecture to GGUF; None where it can, or where no
    converter is installed that could be asked.

    Args:
        architecture: the class that config.json names.
    """
    known = architectures()
    if not known or architecture in known:
        return None
    return (f"This version can't export models of the architecture {printable(architecture)} to GGUF: llama.cpp's "
            "converter doesn't know it. Training works, and MERGED exports a folder for vLLM and the like; but Chat, "
            "Ollama and llama.cpp need a GGUF file. If you want one, choose another base model.")


@functools.cache
def architectures() -> frozenset[str]:
    """The architectures that the installed converter knows; empty where none is installed. Its table is read, not run:
    it would import torch."""
    try:
        tree = ast.parse((paths.converter_dir() / "conversion" / "__init__.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return frozenset()
    tables = (node.value for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == TABLE)
    return frozenset(key for table in tables if table is not None for key in ast.literal_eval(table))
