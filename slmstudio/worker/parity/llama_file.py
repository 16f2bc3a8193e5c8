"""A GGUF file loaded for a proof: no more memory than its pages, the logits of a few tokens at chosen positions, and no
sampling."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slmstudio.core.chat.placement import Placement
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model import llama_gguf
from slmstudio.worker.model.llama_gguf import MMAP, ON_PROCESSOR, LlamaBatch, LlamaGguf

if TYPE_CHECKING:
    from slmstudio.worker.model.base_weights import Array

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

        try:
            super().__init__(gguf, placement, use_extra_bufts=False, load_mode=MMAP)
        except ValueError:
            raise self._refusal(gguf) from None
        self._batch = LlamaBatch(BATCH)
        settings = self._api.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_seq_max = context_length, BATCH, BATCH, 1
        settings.n_threads = settings.n_threads_batch = psutil.cpu_count(logical=False) or 1
        self.context = self._api.llama_init_from_model(self.model, settings)
        if not self.context:
            self.close()
            raise self._refusal(gguf)

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

    def _refusal(self, gguf: Path) -> UserError:
        return UserError(tr("{file} can't be loaded.", file=gguf.name),
                         tr("llama.cpp says: {reason}.", reason=llama_gguf.reason()), tr("Export it again."))


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
