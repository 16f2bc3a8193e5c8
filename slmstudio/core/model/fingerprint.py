"""Tells two base models of the same architecture apart without reading all of their weights."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from slmstudio.core import files

SAMPLES = 64
SAMPLE_BYTES = 16 * 1024


def fingerprint(folder: Path) -> str | None:
    """SHA-256 over samples of a model's safetensors files, or None if there are none.

    Names don't count, so a copied or renamed folder has the same one. Training changes weights everywhere, so the
    samples, a megabyte of each file from its first byte to its last, differ from those of another version.

    Raises:
        OSError: a file can't be read.
    """
    weights = sorted(folder.glob("*.safetensors"))
    digest = hashlib.sha256()
    for path in weights:
        with open(path, "rb", opener=files.regular) as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(size.to_bytes(8, "little"))
            last = max(0, size - SAMPLE_BYTES)
            for place in sorted({last * number // (SAMPLES - 1) for number in range(SAMPLES)}):
                file.seek(place)
                digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest() if weights else None
