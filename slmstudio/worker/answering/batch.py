"""Rows of a batch in one cache: prompts are read, continuations scored, answers written.

The rows are at the right end of the cache, which is as large as it will ever be: nothing is copied while it fills.
Prompts are read a few at a time, on the processor one by one where they are long, so that no time goes into padding;
what is expensive alone, the reading of all weights for one token, is then done once for all rows. Positions and masks
are each row's own, so that an answer doesn't depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from transformers import Cache
from transformers.cache_utils import DynamicLayer

from slmstudio.worker.answering.rows import Ask, Gate, Reply, add_token
from slmstudio.worker.kernels import ragged_attention

READ_TOKENS = {"cpu": 256, "cuda": 8192}
"""Prompt tokens that are read at a time. On the processor more of them make the reading no faster."""
PADDING_TOKENS = {"cpu": 48, "cuda": 4096}
"""Padding that may be computed so that continuations are scored together: reading all weights again takes as long."""
LOGIT_BYTES = 256 * 2**20
READING = 0.5
"""The share of a batch's time that reading takes, until it is known better."""


def logprobs(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """ln p of the tokens `ids` under `logits` [..., vocabulary], in fp32."""
    wide = logits.float()
    return wide.gather(-1, ids[..., None])[..., 0] - wide.logsumexp(-1)


class Room(DynamicLayer):
    """A layer's keys and values [rows, heads, tokens, size], with space for all that will come."""

    def __init__(self, capacity: int, keys: torch.Tensor | None = None, values: torch.Tensor | None = None,
                 length: int = 0):
        super().__init__()
        self.capacity, self.length = capacity, length
        self.keys, self.values, self.is_initialized = keys, values, keys is not None

    def make(self, rows: int, like: torch.Tensor, like_values: torch.Tensor) -> None:
        """Zeros: what is masked is still multiplied by nothing, and that must be a number."""
        self.keys = like.new_zeros((rows, like.shape[1], self.capacity, like.shape[3]))
        self.values = like_values.new_zeros((rows, like_values.shape[1], self.capacity, like_values.shape[3]))
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any,
               **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.keys is not None and self.values is not None
        end = self.length + key_states.shape[-2]
        self.keys[:, :, self.length:end], self.values[:, :, self.length:end] = key_states, value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.length

    def part(self, rows: slice | torch.Tensor, length: int) -> Room:
        """Some of the rows, wound back: a view for a slice, a copy for a list of rows."""
        assert self.keys is not None and self.values is not None
        return Room(self.capacity, self.keys[rows], self.values[rows], length)


class Computes(Protocol):
    """What a batch needs of a model.

    Attributes:
        model: of transformers.
    """

    model: Any

    @property
    def layers(self) -> int: ...

    def tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor: ...

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor, cache: Cache,
                keep: slice | torch.Tensor) -> torch.Tensor: ...

    def is_end(self, token: int) -> bool: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class Batch:
    def __init__(self, model: Computes, asks: Sequence[Ask], gate: Gate):
        self.model, self.asks, self.gate = model, asks, gate
        self.lengths = [len(ask.prompt) for ask in asks]
        self.longest = max(self.lengths)
        # The last token of an answer and of a continuation is never read.
        more = max(max([ask.most, *map(len, ask.continuations)]) for ask in asks)
        self.capacity = self.longest + more
        self.rooms = [Room(self.capacity) for _ in range(model.layers)]
        self.replies = [Reply() for _ in asks]
        device = model.model.device
        self.mask = torch.ones((len(asks), self.capacity), dtype=torch.long, device=device)
        for row, length in enumerate(self.lengths):
            self.mask[row, :self.longest - length] = 0
        self.last: torch.Tensor = torch.empty(0)

    def run(self) -> list[Reply]:
        self._read()
        self._score()
        self._write()
        return self.replies

    def _read(self) -> None:
        """Read all prompts; `last` becomes the logits behind each."""
        last, begin = [], 0
        most = READ_TOKENS.get(self.model.model.device.type, READ_TOKENS["cpu"])
        while begin < len(self.asks):
            self.gate(READING * begin / len(self.asks))
            end = begin + 1
            while end < len(self.asks) and max(self.lengths[begin:end + 1]) * (end + 1 - begin) <= most:
                end += 1
            last.append(self._read_rows(begin, end))
            begin = end
        self.last = torch.cat(last)
        for reply, value in zip(self.replies, self.last.max(-1).values.isfinite().tolist(), strict=True):
            reply.broken = not value

    def _read_rows(self, begin: int, end: int) -> torch.Tensor:
        lengths = self.lengths[begin:end]
        width = max(lengths)
        ids = self.model.tensor([[0] * (width - len(ask.prompt)) + ask.prompt for ask in self.asks[begin:end]])
        start = self.longest - width
        # Without a mask the attention computes only the half that counts.
        mask = None if min(lengths) == width else self.mask[begin:end, start:self.longest]
        positions = torch.arange(width, device=ids.device)[None] - self.model.tensor([[width - n] for n in lengths])
        cache: Any = Cache(layers=[DynamicLayer() for _ in self.rooms])
        logits = self.model.forward(ids, mask, positions.clamp(min=0), cache, keep=1)
        for room, layer in zip(self.rooms, cache.layers, strict=True):
            if room.keys is None:
                room.make(len(self.asks), layer.keys, layer.values)
            for row, length in enumerate(lengths):
                place = slice(self.longest - length, self.longest)
                room.keys[begin + row, :, place] = layer.keys[row, :, width - length:]
                room.values[begin + row, :, place] = layer.values[row, :, width - length:]
            room.length = self.longest
        return logits[:, -1].float()

    def _score(self) -> None:
        """ln p of all continuations. The first token of each is known from the prompt; the others are read behind it,
        and the cache is wound back."""
        for number in range(max(len(ask.continuations) for ask in self.asks)):
            rows = [row for row, ask in enumerate(self.asks) if number < len(ask.continuations)]
            first = self.model.tensor([self.asks[row].continuations[number][0] for row in rows])
            for row, value in zip(rows, logprobs(self.last[rows], first).tolist(), strict=True):
                self.replies[row].logprobs.append(value)
            for run in self._runs([row for row in rows if len(self.asks[row].continuations[number]) > 1], number):
                self.gate(READING)
                self._score_rows(run, number)
        for reply in self.replies:
            reply.broken |= any(value != value for value in reply.logprobs)

    def _runs(self, rows: list[int], number: int) -> list[range]:
        """Neighbouring rows that are scored together: their logits fit into memory, and little of it is padding."""
        vocabulary = self.last.shape[-1]
        most = PADDING_TOKENS.get(self.model.model.device.type, PADDING_TOKENS["cpu"])
        runs: list[range] = []
        for row in rows:
            last = runs[-1] if runs else range(0)
            lengths = [len(self.asks[at].continuations[number]) for at in (*last, row)]
            size = len(lengths) * max(lengths)
            if (last and last.stop == row and size * vocabulary * 4 <= LOGIT_BYTES
                    and size - sum(lengths) <= most):
                runs[-1] = range(last.start, row + 1)
            else:
                runs.append(range(row, row + 1))
        return runs

    def _score_rows(self, rows: range, number: int) -> None:
        found = [self.asks[row].continuations[number] for row in rows]
        width = max(map(len, found)) - 1
        ids = self.model.tensor([row[:-1] + [0] * (width + 1 - len(row)) for row in found])
        part = slice(rows.start, rows.stop)
        cache: Any = Cache(layers=[room.part(part, self.longest) for room in self.rooms])
        positions = self.model.tensor([[self.lengths[row]] for row in rows]) + torch.arange(width, device=ids.device)
        logits = self.model.forward(ids, self.mask[part, :self.longest + width], positions, cache, keep=0)
        for at, row in enumerate(rows):
            rest = self.model.tensor(found[at][1:])
            self.replies[row].logprobs[number] += float(logprobs(logits[at, :len(rest)], rest).sum())

    def _write(self) -> None:
        """Greedy answers. Rows that have ended continue unheard until half of the batch has; then they are dropped."""
        alive = [row for row, ask in enumerate(self.asks) if ask.most and not self.replies[row].broken]
        kept, step = list(range(len(self.asks))), 0
        cache: Any = Cache(layers=[room.part(slice(None), self.longest) for room in self.rooms])
        logits, mask = self.last, self.mask
        most = max((self.asks[row].most for row in alive), default=0)
        parts = self._parts(kept)
        while alive:
            values, chosen = logits.max(-1)
            alive = self._take(alive, dict(zip(kept, zip(chosen.tolist(), values.isfinite().tolist(), strict=True),
                                               strict=True)))
            if not alive:
                return
            if 2 * len(alive) <= len(kept):
                places = self.model.tensor([[kept.index(row) for row in alive]])[0]
                cache = Cache(layers=[layer.part(places, layer.length) for layer in cache.layers])
                mask, chosen, kept = mask[places], chosen[places], list(alive)
                self.rooms, parts = [], self._parts(kept)
            self.gate(READING + (1 - READING) * step / most)
            positions = self.model.tensor([[self.lengths[row] + step] for row in kept])
            with ragged_attention.reading(parts):
                logits = self.model.forward(chosen[:, None], mask[:, :self.longest + step + 1], positions, cache,
                                            keep=1)[:, -1].float()
            step += 1

    def _parts(self, rows: Sequence[int]) -> list[ragged_attention.Part]:
        return ragged_attention.parts_of([self.longest - self.lengths[row] for row in rows])

    def _take(self, alive: list[int], chosen: Mapping[int, tuple[int, bool]]) -> list[int]:
        """Give each row its token; those that continue."""
        going = []
        for row in alive:
            reply, (token, fine) = self.replies[row], chosen[row]
            if not fine:
                reply.broken = True
            elif self.model.is_end(token):
                reply.ended = True
            elif add_token(reply, token, self.asks[row].most, self.model.decode):
                going.append(row)
        return going
