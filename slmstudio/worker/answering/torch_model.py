"""A model folder that answers and scores the rows of a test set."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.worker.answering.rows import Ask, Gate, Reply, add_token, message_of
from slmstudio.worker.kernels import head_loss, ragged_attention
from slmstudio.worker.training.methods import load_tokenizer

# -- Rows of a batch in one cache: prompts are read, continuations scored, answers written.

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


class PreallocatedLayer(DynamicLayer):
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

    def part(self, rows: slice | torch.Tensor, length: int) -> PreallocatedLayer:
        """Some of the rows, wound back: a view for a slice, a copy for a list of rows."""
        assert self.keys is not None and self.values is not None
        return PreallocatedLayer(self.capacity, self.keys[rows], self.values[rows], length)


class Batch:
    def __init__(self, model: TorchModel, asks: Sequence[Ask], gate: Gate):
        self.model, self.asks, self.gate = model, asks, gate
        self.lengths = [len(ask.prompt) for ask in asks]
        self.longest = max(self.lengths)
        # The last token of an answer and of a continuation is never read.
        more = max(max([ask.most, *map(len, ask.continuations)]) for ask in asks)
        self.capacity = self.longest + more
        self.rooms = [PreallocatedLayer(self.capacity) for _ in range(model.layer_count)]
        self.replies = model.replies = [Reply() for _ in asks]
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
        last, begin, spent = [], 0, 0.0
        most = READ_TOKENS.get(self.model.model.device.type, READ_TOKENS["cpu"])
        while begin < len(self.asks):
            self.gate(READING * begin / len(self.asks))
            end = begin + 1
            while end < len(self.asks) and max(self.lengths[begin:end + 1]) * (end + 1 - begin) <= most:
                end += 1
            since = time.monotonic()
            last.append(self._read_rows(begin, end))
            spent += time.monotonic() - since
            begin = end
        since = time.monotonic()
        self.last = torch.cat(last)
        finite = self.last.max(-1).values.isfinite().tolist()  # a card has finished reading only now
        spent += time.monotonic() - since
        for reply, value, length in zip(self.replies, finite, self.lengths, strict=True):
            reply.broken, reply.reading = not value, spent * length / sum(self.lengths)

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
        parts, since = self._parts(kept), 0.0
        while alive:
            values, chosen = logits.max(-1)
            drawn = dict(zip(kept, zip(chosen.tolist(), values.isfinite().tolist(), strict=True), strict=True))
            for row in alive if step else ():
                self.replies[row].seconds += (time.monotonic() - since) / len(kept)
            alive = self._take(alive, drawn)
            if not alive:
                return
            if 2 * len(alive) <= len(kept):
                places = self.model.tensor([[kept.index(row) for row in alive]])[0]
                cache = Cache(layers=[layer.part(places, layer.length) for layer in cache.layers])
                mask, chosen, kept = mask[places], chosen[places], list(alive)
                self.rooms, parts = [], self._parts(kept)
            self.gate(READING + (1 - READING) * step / most)
            since = time.monotonic()
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


PLAIN_LAYERS = {"full_attention", "sliding_attention"}


class TorchModel:
    """Has what `rows.Model` asks.

    Args:
        model: on its device, in evaluation mode.
        memory: bytes that caches may take.
        template: that the model learned; None for its own.

    Attributes:
        replies: those of the batch that is at work, or was last, as far as they are written.
    """

    def __init__(self, model: Any, folder: Path, memory: int, template: ChatTemplate | None = None):
        self.model, self.memory = model, memory
        self.replies: list[Reply] = []
        self.template = template or ChatTemplate.from_folder(folder)
        self.tokenizer = load_tokenizer(folder)
        config = model.config.get_text_config()
        self.context_length = int(getattr(config, "max_position_embeddings", None) or 2048)
        layers = DynamicCache(config=config).layers
        takes_positions = "position_ids" in inspect.signature(type(model).forward).parameters
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        self.shares_batches = takes_positions and kinds <= PLAIN_LAYERS and all(
            isinstance(layer, DynamicLayer) for layer in layers)
        if self.shares_batches:
            ragged_attention.use(model)
        self.layer_count = len(layers) or int(config.num_hidden_layers)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.bytes_per_token = 2 * self.layer_count * heads * size * model.dtype.itemsize
        self._ends = self._find_ends()
        self._hook = head_loss.in_one_piece(model)

    def close(self) -> None:
        self._hook.remove()  # another may be made of the same base
        del self.model

    # -- texts ------------------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        """As training does: what the template writes is all there is, and no BOS is put before it."""
        return tokens.ids_of(text, self.tokenizer.backend_tokenizer)[0]

    def marked(self, messages: Sequence[Mapping[str, Any]]) -> list[Any]:
        return tokens.marked(messages, self.tokenizer.backend_tokenizer)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def reference(self, messages: Sequence[Mapping[str, Any]], answer: str | Mapping[str, Any],
                  tools: Sequence[Mapping[str, Any]] = ()) -> tuple[list[int], list[int]]:
        """What training would learn of this answer: its tokens, and the one that ends it."""
        chat = [*messages, message_of(answer)]
        encoded = tokens.encode(chat, self.tokenizer.backend_tokenizer, self.template, tools=tools)
        last = max((at for at, learned in enumerate(encoded.learned) if learned), default=-1)
        first = last
        while first > 0 and encoded.learned[first - 1]:
            first -= 1
        if last < 1 or first < 1:
            raise UserError(tr("The reference leaves no token to score."), tr("It's empty."),
                            tr("Give every row an answer."))
        return encoded.ids[:first], encoded.ids[first:last + 1]

    def _find_ends(self) -> frozenset[int]:
        """Tokens at which an answer ends: those that the model's files name, and the one that ends a turn."""
        found: set[int] = set()
        for value in (self.model.generation_config.eos_token_id, self.model.config.eos_token_id,
                      self.tokenizer.eos_token_id):
            found |= set(value if isinstance(value, list) else [] if value is None else [value])
        special = set(self.tokenizer.added_tokens_decoder)
        try:
            turn = self.reference([{"role": "user", "content": "x"}], "x")[1][-1]
        except UserError:
            return frozenset(found)
        return frozenset(found | ({turn} & special))

    # -- work -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def run(self, asks: Sequence[Ask], gate: Gate) -> list[Reply]:
        """Read the prompts, score the continuations, write the answers.

        Raises:
            UserError: memory is too short for one row alone.
        """
        try:
            if self.shares_batches:
                return Batch(self, asks, gate).run()
            return [self._run_one(ask, gate) for ask in asks]
        except torch.OutOfMemoryError:
            if len(asks) == 1:
                raise UserError(tr("The GPU has too little memory for the longest row."),
                                tr("It takes {length:,} tokens.", length=asks[0].length),
                                tr("Close other programs, or leave that row out of the test set.")) from None
        torch.cuda.empty_cache()
        middle = (len(asks) + 1) // 2
        return (self.run(asks[:middle], lambda share: gate(share / 2))
                + self.run(asks[middle:], lambda share: gate(0.5 + share / 2)))

    def _run_one(self, ask: Ask, gate: Gate) -> Reply:
        """One row of a model whose memory isn't a plain cache: it can neither be padded nor wound back."""
        reply = Reply()
        for continuation in ask.continuations:
            gate(0.0)
            ids = self.tensor([ask.prompt + continuation])
            logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits[0, len(ask.prompt) - 1:]
            reply.logprobs.append(float(logprobs(logits, ids[0, len(ask.prompt):]).sum()))
        cache: Any = DynamicCache(config=self.model.config)
        step = self.tensor([ask.prompt])
        going = ask.most > 0
        while going:
            gate(len(reply.ids) / ask.most)
            since = time.monotonic()
            logits = self.model(input_ids=step, use_cache=True, logits_to_keep=1, **cached(self.model, cache)).logits
            value, token = logits[0, -1].max(-1)
            reply.broken |= not bool(value.isfinite())
            if reply.ids:
                reply.seconds += time.monotonic() - since
            else:
                reply.reading = time.monotonic() - since
            if reply.broken or int(token) in self._ends:
                reply.ended = not reply.broken
                break
            going = add_token(reply, int(token), ask.most, self.decode)
            step = token.view(1, 1)
        reply.broken |= any(value != value for value in reply.logprobs)
        return reply

    def tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.long, device=self.model.device)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor, cache: Cache,
                keep: int) -> torch.Tensor:
        """Logits of the last `keep` tokens of each row (all for 0): [rows, tokens, vocabulary]."""
        found: torch.Tensor = self.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True,
                                         logits_to_keep=keep, **cached(self.model, cache)).logits
        return found

    def is_end(self, token: int) -> bool:
        return token in self._ends


def cached(model: Any, cache: Cache) -> dict[str, Cache]:
    """The cache under the name that this version of transformers has for it."""
    return {"cache" if "cache" in inspect.signature(type(model).forward).parameters else "past_key_values": cache}
