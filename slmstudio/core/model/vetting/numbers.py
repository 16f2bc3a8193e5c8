"""Whether weights are numbers: NaN and infinity make a loss of NaN from the first step on."""

from __future__ import annotations

import time

from slmstudio.core import files
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import tr
from slmstudio.core.model.json_files import and_more, printable
from slmstudio.core.model.weights import Tensor, Weights, read_header

EXPONENTS = {"F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80), "F32": ("<u4", 0x7F800000),
             "F64": ("<u8", 0x7FF0000000000000)}
"""For each format, the unsigned type of its size, and the bits that are all set only in NaN and infinity (IEEE 754)."""
BLOCK = 1 << 20
MOST_BYTES = 512 << 20
"""This many are looked at of all weights together: whole models of 250 million parameters in 16 bits, blocks of larger
ones."""
SECONDS = 3.0
"""After that a slow disk isn't waited for."""
NAMED = 3


def look(found: Weights, problems: list[Problem]) -> float:
    """Look for values that aren't numbers. Training looks at all of them when it starts.

    Args:
        problems: gets one that names the tensors.

    Returns:
        The share of the weights that was looked at, 1 for all.
    """
    every = max(1, -(-found.disk_bytes // MOST_BYTES))  # only every n-th block of a large tensor is read
    seen = total = 0
    broken: list[str] = []
    end = time.monotonic() + SECONDS
    for path in found.files:
        with open(path, "rb", opener=files.regular) as file:
            for name, tensor in read_header(path).items():
                if tensor.dtype not in EXPONENTS:
                    continue
                total += tensor.bytes
                for at in range(0, tensor.bytes, BLOCK * every):
                    if time.monotonic() > end:
                        break
                    file.seek(tensor.offset + at)
                    block = file.read(min(BLOCK, tensor.bytes - at))
                    seen += len(block)
                    if _has_others(block, tensor):
                        broken.append(name)
                        break
    if broken:
        problems.append(Problem(tr("Some of the weights aren't numbers: NaN or infinity was found in {names}. "
                                   "Download the model again.", names=and_more(list(map(printable, broken)), NAMED))))
    return seen / total if total else 1.0


def _has_others(block: bytes, tensor: Tensor) -> bool:
    import numpy

    kind, mask = EXPONENTS[tensor.dtype]
    values = numpy.frombuffer(block, kind)
    return bool(((values & numpy.array(mask, kind)) == mask).any())


def sentence(share: float) -> str:
    """What is said where nothing was found."""
    if share >= 1:
        return tr("All of them are numbers.")
    return tr("{share:.0%} of them were checked, and all of those are numbers. The others are checked when training "
              "starts.", share=share)
