"""A model folder that answers and scores the rows of a test set."""

from __future__ import annotations

import inspect
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
from slmstudio.worker.answering.batch import Batch, logprobs
from slmstudio.worker.answering.rows import Ask, Gate, Reply, add_token, message_of
from slmstudio.worker.kernels import head_loss, ragged_attention
from slmstudio.worker.training.methods import load_tokenizer

PLAIN_LAYERS = {"full_attention", "sliding_attention"}


class TorchModel:
    """Has what `evaluate_rows.Model` asks.

    Args:
        model: on its device, in evaluation mode.
        memory: bytes that caches may take.
        template: that the model learned; None for its own.
    """

    def __init__(self, model: Any, folder: Path, memory: int, template: ChatTemplate | None = None):
        self.model, self.memory = model, memory
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
        self._layers = len(layers) or int(config.num_hidden_layers)
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.bytes_per_token = 2 * self._layers * heads * size * model.dtype.itemsize
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
            return [self._alone(ask, gate) for ask in asks]
        except torch.OutOfMemoryError:
            if len(asks) == 1:
                raise UserError(tr("The GPU has too little memory for the longest row."),
                                tr("It takes {length:,} tokens.", length=asks[0].length),
                                tr("Close other programs, or leave that row out of the test set.")) from None
        torch.cuda.empty_cache()
        middle = (len(asks) + 1) // 2
        return (self.run(asks[:middle], lambda share: gate(share / 2))
                + self.run(asks[middle:], lambda share: gate(0.5 + share / 2)))

    def _alone(self, ask: Ask, gate: Gate) -> Reply:
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
            logits = self.model(input_ids=step, use_cache=True, logits_to_keep=1, **cached(self.model, cache)).logits
            value, token = logits[0, -1].max(-1)
            reply.broken |= not bool(value.isfinite())
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

    @property
    def layers(self) -> int:
        return self._layers


def cached(model: Any, cache: Cache) -> dict[str, Cache]:
    """The cache under the name that this version of transformers has for it."""
    return {"cache" if "cache" in inspect.signature(type(model).forward).parameters else "past_key_values": cache}
