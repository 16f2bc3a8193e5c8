"""Whether a model can become a GGUF file, as far as that can be told before hours of training."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from slmstudio.core import files, paths
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.model.json_files import printable

_MERGED = noop("Training works, and MERGED exports a folder for vLLM and the like. But Chat, Ollama and llama.cpp need "
               "a GGUF file. If you want one, choose another base model.")
TEKKEN = rb"\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?"
"""Where Mistral's newer tokenizers cut words, in JSON; Phi-4 mini's have "(?i:'s" in the middle."""
_HEAD = 2**20
TABLE = "TEXT_MODEL_MAP"
"""The converter's name for the architectures that it knows."""


def why_no_gguf(model: ModelFacts) -> str | None:
    """A sentence that says why this version can't export a model to GGUF, or not with its proof; None if nothing of
    that is known."""
    known = architectures()
    if known and model.architecture not in known:
        why = tr("This version can't export models of the architecture {architecture} to GGUF: llama.cpp's converter "
                 "doesn't know it.", architecture=printable(model.architecture))
        return f"{why} {tr(_MERGED)}"
    if _is_tekken(model.path):
        why = tr("This version can't export this model to GGUF: llama.cpp splits words in Indian scripts differently "
                 "from the tokenizer of Mistral Nemo and Ministral.")
        return f"{why} {tr(_MERGED)}"
    if model.model_type == "gpt_oss":
        return tr("An export of gpt-oss to F16 or F32 won't pass its check. In our test, its answers differed "
                  "from what was trained by an NMSE of 3e-4, and only 1e-4 is allowed. The limits of other types are "
                  "wider.")
    return None


def _is_tekken(folder: Path) -> bool:
    """Whether tokenizer.json cuts text as Mistral's newer tokenizers do. The rule is in front of the vocabulary."""
    try:
        with open(folder / "tokenizer.json", "rb", opener=files.regular) as file:
            return TEKKEN in file.read(_HEAD)
    except OSError:
        return False


@functools.cache
def architectures() -> frozenset[str]:
    """The architectures that the installed converter knows; empty if none is installed. Its table is read, not run:
    it would import torch."""
    try:
        tree = ast.parse((paths.converter_dir() / "conversion" / "__init__.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return frozenset()
    tables = (node.value for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == TABLE)
    return frozenset(key for table in tables if table is not None for key in ast.literal_eval(table))
