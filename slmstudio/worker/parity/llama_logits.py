"""Logits of a loaded GGUF at chosen positions, one after the other: no more than a few of them are ever in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model import llama_log
from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.model.llama_gguf import LlamaBatch
from slmstudio.worker.parity.llama_file import BATCH, LlamaFile


class LlamaLogits:
    """Runs token rows through a loaded file."""

    def __init__(self, file: LlamaFile):
        import llama_cpp

        self._api, self._file, self._batch = llama_cpp, file, LlamaBatch(BATCH)
        self._done = 0

    def close(self) -> None:
        self._batch.close()

    def after(self, ids: list[int], first: int) -> Iterator[Array]:
        """Feed a new row; the logits behind its tokens from position `first` on, each valid until the next one.

        Raises:
            UserError: llama.cpp couldn't compute them.
        """
        self._api.llama_memory_clear(self._api.llama_get_memory(self._file.context), True)
        self._done = 0
        yield from self._feed(ids, first)

    def greedy(self, ids: list[int], most: int, ends: Callable[[int], bool]) -> list[int]:
        """The most likely continuation of a row, until a token at which it `ends`, that one included."""
        found: list[int] = []
        [logits] = self.after(ids, len(ids) - 1)
        while len(found) < most:
            found.append(int(logits.argmax()))
            if ends(found[-1]):
                break
            [logits] = self._feed(found[-1:], self._done)
        return found

    def _feed(self, ids: list[int], first: int) -> Iterator[Array]:
        start = self._done
        for begin in range(0, len(ids), BATCH):
            part = ids[begin:begin + BATCH]
            wanted = [place for place in range(len(part)) if start + begin + place >= first]
            self._compute(part, start + begin, set(wanted))
            yield from map(self._file.logits, wanted)
        self._done = start + len(ids)

    def _compute(self, part: list[int], position: int, wanted: set[int]) -> None:
        self._batch.clear()
        for place, token in enumerate(part):
            self._batch.add(token, position + place, 0, place in wanted)
        status = self._api.llama_decode(self._file.context, self._batch.raw)
        if status != 0:
            raise UserError(tr("The exported file couldn't be run."),
                            tr("llama.cpp says: {reason}.", reason=llama_log.last_error() or status),
                            tr("Export it again."))
