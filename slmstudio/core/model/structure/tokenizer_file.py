"""Whether a model folder has its tokenizer, as tokenizer.json."""

from __future__ import annotations

import os
from pathlib import Path

from slmstudio.core import files
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import tr
from slmstudio.core.model.json_files import what_is
from slmstudio.core.units import format_bytes

MAX_TOKENIZER = 64 * 2**20
"""The largest tokenizer.json, in bytes; Gemma 3's, with 262,144 tokens, has 33 MB."""


def check(folder: Path, problems: list[Problem]) -> None:
    """tokenizer.json must be there and look whole. Reading it takes half a second, so only its ends are looked at."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        others = [name for name in ("tokenizer.model", "tekken.json", "vocab.json", "merges.txt", "spiece.model")
                  if (folder / name).is_file()]
        problems.append(Problem(
            tr("tokenizer.json is missing. The folder has {others}, which must be converted first: transformers' "
               "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes tokenizer.json.",
               others=", ".join(others)) if others else
            tr("There is no tokenizer: neither tokenizer.json nor tokenizer.model (which would need conversion).")))
        return
    with open(path, "rb", opener=files.regular) as file:
        head = file.read(64)
        file.seek(max(0, file.seek(0, os.SEEK_END) - 64))
        tail = file.read()
    if not head.lstrip().startswith(b"{"):
        problems.append(Problem(what_is("tokenizer.json", head)
                                or tr("{file} isn't a JSON object.", file="tokenizer.json")))
    elif path.stat().st_size > MAX_TOKENIZER:
        problems.append(Problem(tr("tokenizer.json is larger than {size}, which no model needs. Replace it with the "
                                   "model's own tokenizer.json.", size=format_bytes(MAX_TOKENIZER))))
    elif not tail.rstrip().endswith(b"}"):
        problems.append(Problem(tr("tokenizer.json is truncated: its end is missing.")))
