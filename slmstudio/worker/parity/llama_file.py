"""A GGUF file loaded for a proof, and the quick part of the proof on the graphics card that Chat would use.

No more memory than its pages, the logits of a few tokens at chosen positions, and no sampling.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slmstudio.core.chat.placement import ON_PROCESSOR, Placement, Wish
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model import placing
from slmstudio.worker.model.llama_gguf import MMAP, LlamaBatch, LlamaGguf
from slmstudio.worker.runtime import child, llama_devices
from slmstudio.worker.runtime.context import JobContext

if TYPE_CHECKING:
    from slmstudio.worker.model.base_weights import Array
    from slmstudio.worker.parity.reference import Row

BATCH = 64
"""Tokens that llama.cpp computes at a time. Its buffers hold that many logit vectors: 39 MB for 151,936 tokens."""


class LlamaFile(LlamaGguf):
    """llama.cpp would keep a second, rearranged copy of quantized weights: faster for long conversations, and as large
    as the file.

    Raises:
        UserError: llama.cpp can't load the file.
    """

    def __init__(self, gguf: Path, context_length: int, placement: Placement = ON_PROCESSOR):
        import psutil

        super().__init__(gguf, placement, use_extra_bufts=False, load_mode=MMAP)
        self._batch = LlamaBatch(BATCH)
        settings = self._api.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_seq_max = context_length, BATCH, BATCH, 1
        settings.n_threads = settings.n_threads_batch = psutil.cpu_count(logical=False) or 1
        self.make_context(settings)

    def close(self) -> None:
        self._batch.close()
        super().close()

    def failure(self, why: str) -> UserError:
        return UserError(tr("The exported file couldn't be run."), why, tr("Export it again."))

    def after(self, ids: Sequence[int], first: int) -> Iterator[Array]:
        """Read a new row; the logits behind its tokens from position `first` on, each valid until the next one.

        Raises:
            UserError: llama.cpp can't compute them.
        """
        self._api.llama_memory_clear(self._api.llama_get_memory(self.context), True)
        yield from self.read(self._batch, ids, 0, first)

    def greedy(self, ids: list[int], most: int, ends: Callable[[int], bool]) -> list[int]:
        """The most likely continuation of a row, until a token at which it `ends`, that one included."""
        found: list[int] = []
        [logits] = self.after(ids, len(ids) - 1)
        while len(found) < most:
            found.append(int(logits.argmax()))
            if ends(found[-1]):
                break
            [logits] = self.read(self._batch, found[-1:], len(ids) + len(found) - 1, 0)
        return found


TRIM_SECONDS = 0.01
_MADV_DONTNEED = 4  # sys/mman.h


@contextlib.contextmanager
def pages_released(path: Path) -> Iterator[None]:
    """While it lasts, pages of `path` that this process read go back to the system's cache a hundred times a second.

    llama.cpp maps a model's file and reads all of it for every batch, so that the whole file counts as this process's
    memory. The pages are only read and shared with the system's cache: giving them back loses nothing, and reading
    them again costs little as long as the cache has them. Linux only; elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_trim, args=(path.resolve(), ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _trim(path: Path, ended: threading.Event) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    while not ended.wait(TRIM_SECONDS):
        for start, length in _shared_mappings(path):
            libc.madvise(start, length, _MADV_DONTNEED)  # a mapping that has gone in the meantime does no harm


def _shared_mappings(path: Path) -> list[tuple[int, int]]:
    """Start and length of the read-only shared mappings of a file; private ones could hold changes (proc(5))."""
    found = []
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if " r--s " not in line:
                continue
            place, permissions, _, _, _, *name = line.rstrip("\n").split(maxsplit=5)
            if permissions == "r--s" and name == [str(path)]:
                start, end = (int(part, 16) for part in place.split("-"))
                found.append((start, end - start))
    return found


# -- The same on a card, whose kernels aren't the processor's; in a process of its own, which a broken driver may end.

ROWS, POSITIONS = 4, 8
"""How many conversations, and of each how many tokens of the answer."""


def compare_on_card(job: JobContext, rows: Sequence[Row], gguf: Path, file: LlamaFile, sums: Any) -> dict[str, Any]:
    """Compare a file's predictions on the card with those on the processor.

    Args:
        file: the same, loaded on the processor.
        sums: counts a position with `add(ours, theirs)`.

    Returns:
        `{"card": {"name", "layers", "reason", "positions", "nmse", "top1", "near_ties", "kl"}}`: with only a reason
        where the card had no room or its driver failed; `{}` where nothing but the processor can compute.
    """
    device = Wish.of(job.request).device
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
        return {"card": {"reason": error.what, "positions": 0}}
    finally:
        out.unlink(missing_ok=True)
    if not len(theirs):
        return {"card": {"reason": placed["reason"], "positions": 0}}
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
    file, placement = placing.load(gguf, tokens, Wish(request["device"]), lambda found: LlamaFile(gguf, tokens, found))
    if placement.layers:
        logits += [each.copy() for ids, first in parts for each in file.after(ids, first)]
    np.savez(request["out"], logits=np.array(logits, np.float32), placement=json.dumps(placement.to_dict()))


if __name__ == "__main__":
    sys.exit(child.serve(Path(sys.argv[1]), work))
