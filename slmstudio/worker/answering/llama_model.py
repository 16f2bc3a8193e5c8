"""A GGUF file that answers and scores the rows of a test set: several at once, each in a sequence of its own."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from slmstudio.core.chat.placement import ON_PROCESSOR, Placement, Wish
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.chat_template import answer_spans
from slmstudio.core.model.gguf.lora import check_fits, read_lora
from slmstudio.core.model.gguf.model import read_sound_gguf
from slmstudio.worker.answering.rows import Ask, Gate, Reply, add_token, message_of
from slmstudio.worker.gguf_chat.generation import Text
from slmstudio.worker.model import llama_gguf, placing
from slmstudio.worker.model.llama_gguf import LlamaBatch, LlamaGguf, LlamaVocab

SHARED = 64
"""Tokens at the beginning of all prompts that are worth being computed once for all of them."""
CANDIDATES = 64
"""Of the likeliest tokens that a grammar is asked about before it is asked about all."""
BATCH = 512
"""Tokens that llama.cpp computes at a time."""
READING = 0.5


TOKENS = 8192
"""Of the rows that are answered at once, where a card holds their cache."""


def load_gguf(path: Path, memory: int, wish: Wish, adapter: str | None = None) -> LlamaModel:
    """Raises UserError: as `LlamaModel`, or the wished device isn't there."""
    read_sound_gguf(path)
    return placing.load(path, TOKENS, wish, lambda placement: LlamaModel(path, memory, placement, adapter))[0]


class LlamaModel(LlamaGguf):
    """Has what `rows.Model` asks.

    Args:
        adapter: a GGUF LoRA that is put on it, at the strength of its training.

    Attributes:
        end, prefix: tokens that lm_eval asks for: the end of a text, and what comes before one without context.

    Raises:
        UserError: llama.cpp can't load it, or it isn't a model that writes, or has no chat template.
    """

    def __init__(self, path: Path, memory: int, placement: Placement = ON_PROCESSOR, adapter: str | None = None):
        read_sound_gguf(path)
        self.memory = memory
        self._capacity = self._sequences = 0
        self._adapter: Any = None
        super().__init__(path, placement)
        llama_cpp = self._api
        self.vocab = LlamaVocab(self)
        if self.vocab.template is None:
            raise UserError(tr("{file} has no chat template.", file=path.name), "",
                            tr("Choose the instruct version of the model."))
        self.template = self.vocab.template
        self.context_length = int(llama_cpp.llama_model_n_ctx_train(self.model))
        self.shares_batches = not (llama_cpp.llama_model_is_recurrent(self.model)
                                   or llama_cpp.llama_model_has_encoder(self.model))
        heads = max(1, llama_cpp.llama_model_n_head(self.model))
        width = llama_cpp.llama_model_n_embd(self.model) * llama_cpp.llama_model_n_head_kv(self.model) // heads
        self.bytes_per_token = 2 * 2 * llama_cpp.llama_model_n_layer(self.model) * max(1, width)
        if placement.layers:
            self.memory = min(self.memory, self.bytes_per_token * TOKENS)
        ends = sorted(self.vocab.named_ends())
        self.end = ends[0] if ends else 0
        bos = int(llama_cpp.llama_vocab_bos(self.vocabulary))
        self.prefix = bos if bos >= 0 else self.end
        self._batch = LlamaBatch(BATCH)
        if adapter:
            facts = read_lora(adapter)
            check_fits(facts, path)
            self._adapter = self.load_adapter(facts.path)

    def close(self) -> None:
        self._batch.close()
        super().close()

    # -- texts ------------------------------------------------------------------------------------

    def encode(self, text: str) -> list[int]:
        return self.vocab.encode(text)

    def marked(self, messages: Sequence[Mapping[str, Any]]) -> list[Any]:
        return self.vocab.marked(messages, but="assistant")

    def served(self, text: str) -> list[int]:
        """As llama-server makes tokens: with BOS where the file asks for it."""
        return self.vocab.served(text)

    def decode(self, ids: Sequence[int]) -> str:
        text = Text(strip_space=self.vocab.is_sentencepiece)
        return "".join(text.add(self.vocab.piece(token)) for token in ids) + text.end()

    def reference(self, messages: Sequence[Mapping[str, Any]], answer: str | Mapping[str, Any],
                  tools: Sequence[Mapping[str, Any]] = ()) -> tuple[list[int], list[int]]:
        """The tokens before an answer, and the answer's with what ends it, as training would learn them."""
        chat = [*messages, message_of(answer)]
        self.template.check_tools(chat, tools)
        text = self.template.render(chat, tools=tools)
        begin, end = answer_spans(chat, self.template, text, tools=tools)[-1]
        before, whole = self.encode(text[:begin]), self.encode(text[:end])
        if not before or len(whole) <= len(before):
            raise UserError(tr("The reference leaves no token to score."), tr("It's empty."),
                            tr("Give every row an answer."))
        return before, whole[len(before):]

    # -- work -------------------------------------------------------------------------------------

    def run(self, asks: Sequence[Ask], gate: Gate) -> list[Reply]:
        """Read the prompts, score the continuations, write the answers. Raises UserError: llama.cpp failed."""
        self._make_context(max(ask.length for ask in asks) + 1, len(asks))
        replies = [Reply() for _ in asks]
        last = np.empty((len(asks), self.vocabulary_size), np.float32)
        since = time.monotonic()
        shared = self._read_shared([ask.prompt for ask in asks])
        for row, ask in enumerate(asks):
            gate(READING * row / len(asks))
            [last[row]] = self.read(self._batch, ask.prompt[shared:], shared, len(ask.prompt) - shared - 1, row)
            replies[row].reading, since = time.monotonic() - since, time.monotonic()
            replies[row].broken = not np.isfinite(last[row].max())
            for continuation in ask.continuations:
                replies[row].logprobs.append(self._score(row, ask, continuation, last[row]))
                since = time.monotonic()
        self._write(asks, replies, last, gate)
        for reply in replies:
            reply.broken |= any(value != value for value in reply.logprobs)
        return replies

    def _read_shared(self, prompts: Sequence[Sequence[int]]) -> int:
        """Read what all prompts begin with into every sequence. Returns how many tokens that are; 0 if it isn't worth
        it, or a sequence can't be copied because its memory isn't a plain cache."""
        shortest = min(prompts, key=len)
        shared = next((at for at, tokens in enumerate(zip(*prompts, strict=False)) if len(set(tokens)) > 1),
                      len(shortest) - 1)
        shared = min(shared, len(shortest) - 1)  # a last one is always read, for its logits
        plain = self.shares_batches and not self._api.llama_model_is_hybrid(self.model)
        if len(prompts) < 2 or shared < SHARED or not plain:
            return 0
        list(self.read(self._batch, shortest[:shared], 0, shared))
        memory = self._api.llama_get_memory(self.context)
        for row in range(1, len(prompts)):
            self._api.llama_memory_seq_cp(memory, 0, row, -1, -1)
        return shared

    def grow(self, prompt: list[int], most: int) -> Iterator[list[int]]:
        """A greedy answer as it grows, token by token."""
        self._make_context(len(prompt) + most + 1, 1)
        [logits] = self.read(self._batch, prompt, 0, len(prompt) - 1)
        ids: list[int] = []
        while len(ids) < most and not self.vocab.ends(token := int(logits.argmax())):
            ids.append(token)
            yield ids
            [logits] = self.read(self._batch, [token], len(prompt) + len(ids) - 1, 0)

    def _make_context(self, tokens: int, sequences: int) -> None:
        """A context with room for `tokens` in each of the sequences; the one that is there, if it fits."""
        if self.context is not None and tokens <= self._capacity and sequences <= self._sequences:
            self._api.llama_memory_clear(self._api.llama_get_memory(self.context), True)
            return
        self.close_context()
        settings = self._api.llama_context_default_params()
        tokens = -(-tokens // 256) * 256
        settings.n_ctx, settings.n_seq_max = tokens * sequences, sequences
        settings.n_batch = settings.n_ubatch = BATCH
        settings.n_threads = settings.n_threads_batch = psutil.cpu_count(logical=False) or 1
        settings.no_perf = True
        self.context = self._api.llama_init_from_model(self.model, settings)
        if self.context is None or self._api.llama_get_memory(self.context) is None:
            said = llama_gguf.last_error()
            raise UserError(tr("{model} can't answer.", model=self._name),
                            tr("llama.cpp says: {reason}.", reason=str(said).rstrip(".")) if said else "",
                            tr("Choose a model that writes text, fewer rows at once, or the processor (--device "
                               "cpu)."))
        self._capacity, self._sequences = tokens, sequences
        if self._adapter is not None:
            self.put_on(self._adapter, 1.0)

    def failure(self, why: str) -> UserError:
        return UserError(tr("{model} couldn't continue.", model=self._name), why,
                         tr("Choose fewer rows at once, or export the run again."))

    def _score(self, row: int, ask: Ask, continuation: Sequence[int], last: Any) -> float:
        """ln p of a continuation; the sequence is wound back to the prompt afterwards."""
        found = logprob(last, continuation[0])
        if len(continuation) > 1:
            following = self.read(self._batch, continuation[:-1], len(ask.prompt), 0, row)
            for logits, token in zip(following, continuation[1:], strict=True):
                found += logprob(logits, token)
            memory = self._api.llama_get_memory(self.context)
            if not self._api.llama_memory_seq_rm(memory, row, len(ask.prompt), -1):
                # A recurrent model can't forget only the end.
                self._api.llama_memory_seq_rm(memory, row, -1, -1)
                list(self.read(self._batch, ask.prompt, 0, len(ask.prompt) - 1, row))
        return found

    def _write(self, asks: Sequence[Ask], replies: Sequence[Reply], last: Any, gate: Gate) -> None:
        """Greedy answers; a row that has ended is no longer computed."""
        alive = [row for row, ask in enumerate(asks) if ask.most and not replies[row].broken]
        held = {row: Held(self, asks[row]) for row in alive if asks[row].grammar}
        try:
            logits, most = {row: last[row] for row in alive}, max((ask.most for ask in asks), default=0)
            if first := {row: tokens for row, each in held.items() if (tokens := each.forced())}:
                logits |= self._feed(asks, replies, first)
            while alive:
                chosen = {}
                for row in alive:
                    reply = replies[row]
                    token = held[row].choose(logits[row]) if row in held else int(logits[row].argmax())
                    if not np.isfinite(logits[row][token]):
                        reply.broken = True
                    elif self.vocab.ends(token):
                        reply.ended = True
                    elif add_token(reply, token, asks[row].most, self.decode):
                        chosen[row] = [token, *(held[row].forced() if row in held else ())]
                        reply.ids.pop()  # `_feed` puts it there with what follows
                alive = list(chosen)
                if alive:
                    gate(READING + (1 - READING) * min(1.0, max(len(replies[row].ids) for row in alive) / most))
                    logits = self._feed(asks, replies, chosen)
        finally:
            for each in held.values():
                each.close()

    def _feed(self, asks: Sequence[Ask], replies: Sequence[Reply], tokens: Mapping[int, Sequence[int]]
              ) -> dict[int, Any]:
        """Put tokens to the answers of some rows. Returns the logits behind each."""
        since, found, waiting = time.monotonic(), dict[int, Any](), list[tuple[int, int, int, bool]]()

        def compute() -> None:
            self.compute(self._batch, waiting)
            found.update({row: self.logits(place).copy() for place, (_, _, row, keep) in enumerate(waiting) if keep})
            waiting.clear()

        for row, own in tokens.items():
            for place, token in enumerate(own, 1):
                waiting.append((token, len(asks[row].prompt) + len(replies[row].ids), row, place == len(own)))
                replies[row].ids.append(token)
                if len(waiting) == BATCH:
                    compute()
        if waiting:
            compute()
        for row in tokens:
            replies[row].seconds += (time.monotonic() - since) / len(tokens)
        return found


class Held:
    """An answer that is held to a grammar. llama.cpp's own chooser asks it about the likeliest token first too: to ask
    about a whole vocabulary takes longer than to compute a token of a small model.

    Raises:
        RuntimeError: it isn't a grammar.
    """

    def __init__(self, model: LlamaModel, ask: Ask):
        self._api, self._size, self._vocab = model._api, model.vocabulary_size, model.vocab
        self._forced, self._most, self._count = ask.forced, ask.most, 0
        self._text, self._pieces = "", Text(strip_space=False)
        self._raw = self._api.llama_sampler_init_grammar(model.vocabulary, ask.grammar.encode(), b"root")
        if not self._raw:
            raise RuntimeError("llama.cpp did not take the grammar.")
        self._vocabulary = model.vocabulary
        self._tokens = np.zeros(self._size, self._api.llama_token_data)

    def choose(self, logits: Any) -> int:
        """The likeliest token [vocabulary] that the grammar allows, which counts as written then."""
        best = int(logits.argmax())
        found = self._allowed(logits, np.array([best]))
        for size in (min(CANDIDATES, self._size), self._size) if found is None else ():
            found = self._allowed(logits, np.argpartition(logits, -size)[-size:])
            if found is not None:
                break
        if found is None:  # nothing continues it: it ends unfinished
            return int(self._api.llama_vocab_eos(self._vocabulary))
        if not self._api.llama_vocab_is_eog(self._vocabulary, found):
            self._take([found])
        return found

    def forced(self) -> list[int]:
        """The tokens that must follow, which count as written then; none where there is a choice, or no room."""
        text = self._forced(self._text) if self._forced is not None and self._pieces.is_whole else ""
        tokens = self._vocab.encode(text) if text else []
        # Some vocabularies put a space before a text: nothing is forced with them.
        if b"".join(map(self._vocab.piece, tokens)) != text.encode() or self._count + len(tokens) >= self._most:
            return []
        self._take(tokens)
        return tokens

    def _take(self, tokens: Sequence[int]) -> None:
        self._count += len(tokens)
        for token in tokens:
            self._api.llama_sampler_accept(self._raw, token)
            self._text += self._pieces.add(self._vocab.piece(token))

    def _allowed(self, logits: Any, ids: Any) -> int | None:
        """The best of these tokens that the grammar allows."""
        size = len(ids)
        part = self._tokens[:size]
        part["id"], part["logit"] = ids, logits[ids]
        array = self._api.llama_token_data_array(
            data=part.ctypes.data_as(self._api.llama_token_data_p), size=size, selected=-1, sorted=False)
        self._api.llama_sampler_apply(self._raw, ctypes.byref(array))
        best = part[int(part["logit"].argmax())]
        return int(best["id"]) if best["logit"] > -np.inf else None

    def close(self) -> None:
        self._api.llama_sampler_free(self._raw)


def logprob(logits: Any, token: int) -> float:
    """ln p of a token, float64."""
    wide = logits.astype(np.float64)
    most = wide.max()
    return float(wide[token] - most - np.log(np.exp(wide - most).sum()))
