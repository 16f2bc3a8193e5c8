"""The quick part of a proof on the graphics card that Chat would use, since its kernels aren't the processor's.

It's computed in a process of its own: a broken driver may end it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmstudio.core.chat.placement import Wish
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model import placing
from slmstudio.worker.parity.llama_file import LlamaFile
from slmstudio.worker.runtime import child, llama_devices
from slmstudio.worker.runtime.context import JobContext

if TYPE_CHECKING:
    from slmstudio.worker.model.base_weights import Array
    from slmstudio.worker.parity.reference import Row

ROWS, POSITIONS = 4, 8
"""How many conversations, and of each how many tokens of the answer."""


def compare(job: JobContext, rows: Sequence[Row], gguf: Path, file: LlamaFile, sums: Any) -> dict[str, Any]:
    """Compare a file's predictions on the card with those on the processor.

    Args:
        file: the same, loaded on the processor.
        sums: counts a position with `add(ours, theirs)`.

    Returns:
        `{"card": {"name", "layers", "reason", "positions", "nmse", "top1", "near_ties", "kl"}}`: no positions where the
        card had no room or its driver failed, as the reason says; `{}` where nothing but the processor can compute.
    """
    device = str(job.request.get("device") or "auto")
    if not rows or device == "cpu" or not llama_devices.has_backends_of_cards():
        return {}
    parts = [(row.ids[:row.answer + POSITIONS], row.answer) for row in sorted(rows, key=lambda row: not row.own)[:ROWS]]
    out = job.folder / "on_card.npz"
    job.phase("checking", tr("on the graphics card"))
    try:
        child.run(job, __name__, {"gguf": str(gguf), "device": device, "parts": parts, "out": str(out)}, [],
                  lambda report: None, crashed=tr("The graphics card's driver crashed."))
        with np.load(out, allow_pickle=False) as saved:
            theirs, placed = saved["logits"], json.loads(str(saved["placement"]))
    except UserError as error:
        return {"card": {"name": "", "layers": 0, "reason": error.what, "positions": 0}}
    finally:
        out.unlink(missing_ok=True)
    if not placed["layers_on_device"]:
        return {"card": {"name": "", "layers": 0, "reason": placed["reason"], "positions": 0}}
    for ours, other in zip((logits for ids, first in parts for logits in file.after(ids, first)), theirs, strict=True):
        sums.add(ours, other)
    count = len(sums.errors)
    return {"card": {"name": placed["device_name"], "layers": placed["layers_on_device"], "reason": placed["reason"],
                     "positions": count, "nmse": sums.nmse(False)[0], "top1": sums.equal / count,
                     "near_ties": sums.near, "kl": max(0.0, sums.divergence / count)}}


def work(request: dict[str, Any], report: Callable[..., None]) -> None:
    """The child's side: write where the file was loaded, and its logits on a card."""
    parts, gguf = request["parts"], Path(request["gguf"])
    tokens = max(len(ids) for ids, _ in parts)
    logits: list[Array] = []
    placement = placing.place(gguf, tokens, Wish(request["device"]))
    if placement.layers:
        file, placement = placing.load(gguf, tokens, Wish(request["device"]),
                                       lambda found: LlamaFile(gguf, tokens, found))
        logits += [each.copy() for ids, first in parts for each in file.after(ids, first)]
        file.close()
    np.savez(request["out"], logits=np.array(logits, np.float32), placement=json.dumps(placement.to_dict()))


if __name__ == "__main__":
    sys.exit(child.serve(Path(sys.argv[1]), work))
