"""Answers several prompts at once with one GGUF model: continuous batching over llama.cpp's sequences.

One thread owns llama.cpp's context, which has a few slots, each with a cache of its own. A step takes one token of each
answer that is being written, and as many tokens of new prompts as are read in about half a second; a free slot takes
the prompt that has waited longest. Where none is free, answers take turns: the one that has been written for longest
waits at the queue's end, and continues later. So a short question doesn't wait for a long answer, whether or not its
client reads it, and nobody waits forever.
"""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmstudio.core.chat.placement import ON_PROCESSOR, Placement
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.worker.gguf_chat.generation import End, Generation, Sampling, common
from slmstudio.worker.model import llama_gguf
from slmstudio.worker.model.llama_gguf import LlamaBatch, LlamaGguf, LlamaVocab, sampler

BATCH_TOKENS = 512
FIRST_CHUNK = 64
STEP_SECONDS = 0.5
"""A step reads as much of the prompts as takes about this long: others keep writing, and a stop is noticed."""
TURN_SECONDS, TURN_READINGS = 2.0, 2
"""While others wait, an answer is written for this long, or this many times as long as reading its prompt took: an
interrupted one has to be read again, and that must not take more than a third of the time."""
MAX_WAITING = 128
RANDOM_SEED = 0xFFFFFFFF
"""llama.cpp's number for "draw one"."""
PENALTY_TOKENS = 4096


class TooManyRequests(UserError):
    """The queue is full."""


@dataclass
class _Slot:
    """One sequence of the context.

    Attributes:
        known: the tokens in its cache.
        prompt: the tokens to read before the next one is drawn, with those of an answer that was interrupted.
        next_token: drawn, and not yet read by the model.
        taken, writing: when its turn and the first token of it began, in seconds; `writing` None before that.
    """

    number: int
    known: list[int] = field(default_factory=list)
    generation: Generation | None = None
    prompt: list[int] = field(default_factory=list)
    next_token: int | None = None
    taken: float = 0.0
    writing: float | None = None
    last_used: float = 0.0

    def turn_left(self, now: float) -> float:
        """Seconds until it may be interrupted; below 0 since then."""
        if self.writing is None:
            return math.inf
        return self.writing + max(TURN_SECONDS, TURN_READINGS * (self.writing - self.taken)) - now


class Engine:
    """A loaded model and its thread.

    Attributes:
        context_length: tokens of one prompt with its answer.
        slots: how many answers are written at once.
    """

    def __init__(self, path: Path, context_length: int, slots: int, placement: Placement = ON_PROCESSOR):
        """Raises UserError: llama.cpp can't load the file."""
        self._model = LlamaGguf(path, placement)
        import llama_cpp
        from llama_cpp.llama_grammar import JSON_GBNF

        self._api = llama_cpp
        self.vocab = LlamaVocab(self._model)
        self._json_grammar = JSON_GBNF.encode()
        self.slots = slots
        self._make_context(context_length)
        self.context_length = min(context_length, int(llama_cpp.llama_n_ctx_seq(self._model.context)))
        self._memory = llama_cpp.llama_get_memory(self._model.context)
        self._batch = LlamaBatch(BATCH_TOKENS)
        self._slots = [_Slot(number) for number in range(slots)]
        self._waiting: deque[Generation] = deque()
        self._change = threading.Condition()
        self._closing = False
        self._chunk = FIRST_CHUNK
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)
        self._thread.start()

    def submit(self, generation: Generation) -> None:
        """Put a prompt into the queue. Thread-safe.

        Raises:
            TooManyRequests: the queue is full, or the engine is closing.
        """
        with self._change:
            if len(self._waiting) >= MAX_WAITING or self._closing:
                raise TooManyRequests(tr("The server is busy."),
                                      ntr("{n} request is waiting.", "{n} requests are waiting.", len(self._waiting)),
                                      tr("Try again in a moment."))
            self._waiting.append(generation)
            self._change.notify()

    def active(self) -> int:
        """How many answers are being written or waited for."""
        return len(self._waiting) + sum(slot.generation is not None for slot in self._slots)

    def close(self, seconds: float = 2.0) -> None:
        """End everything; answers that are under way fail."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join(seconds)
        if self._thread.is_alive() or self._model.context is None:
            return  # a step of a large model takes longer; it ends with the process
        self._batch.close()
        self._model.close()

    def _make_context(self, context_length: int) -> None:
        import psutil

        parameters = self._api.llama_context_default_params()
        parameters.n_ctx = context_length * self.slots
        parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        parameters.n_seq_max = self.slots
        parameters.n_threads = psutil.cpu_count(logical=False) or 1
        parameters.n_threads_batch = psutil.cpu_count() or 1
        parameters.no_perf = True
        self._model.make_context(parameters)

    # -- the engine's thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._closing and not self.active():
                    self._change.wait()
                if self._closing:
                    break
            try:
                with self._change:
                    self._drop_cancelled()
                    self._take_waiting()
                self._step()
            except Exception:  # a defect must not leave everybody waiting
                traceback.print_exc()
                self._fail_all(UserError(tr("Something went wrong in SLM Studio itself."), "",
                                         tr("See the log.")))
        self._fail_all(UserError(tr("The server was stopped."), "", tr("Start it again.")))

    def _drop_cancelled(self) -> None:
        for slot in self._slots:
            if slot.generation is not None and slot.generation.cancelled:
                self._end(slot, "cancelled")
        for generation in [each for each in self._waiting if each.cancelled]:
            self._waiting.remove(generation)
            self._close(generation, "cancelled")

    def _take_waiting(self) -> None:
        """Give free slots to those that have waited longest; the slot that knows most of the prompt is taken."""
        for _ in range(len(self._waiting)):
            if not (free := [slot for slot in self._slots if slot.generation is None] or self._interrupt()):
                return
            generation = self._waiting.popleft()
            prompt = generation.prompt + generation.drawn
            slot = max(free, key=lambda each: (common(each.known, prompt), -each.last_used))
            slot.generation, slot.prompt, slot.next_token = generation, prompt, None
            slot.taken, slot.writing = time.monotonic(), None
            same = common(slot.known, prompt)
            if same < len(slot.known) and not self._api.llama_memory_seq_rm(self._memory, slot.number, same, -1):
                self._api.llama_memory_seq_rm(self._memory, slot.number, -1, -1)
                same = 0  # a recurrent model can't forget only the end
            slot.known = prompt[:same]
            if generation.sampler is None:
                generation.cached, generation.sampler = same, self._make_sampler(generation.sampling)

    def _interrupt(self) -> list[_Slot]:
        """The slot whose turn has been over for longest, freed; none where every turn still lasts."""
        slot, now = min(self._slots, key=lambda each: each.turn_left(time.monotonic())), time.monotonic()
        if slot.generation is None or slot.turn_left(now) > 0:
            return []
        self._waiting.append(slot.generation)
        self._free(slot)
        return [slot]

    def _make_sampler(self, sampling: Sampling) -> Any:
        api, first = self._api, []
        if sampling.json:
            # First, while all tokens are there: later ones could leave none that the grammar allows.
            first.append(api.llama_sampler_init_grammar(self._model.vocabulary, self._json_grammar, b"root"))
        if sampling.frequency_penalty or sampling.presence_penalty:
            first.append(api.llama_sampler_init_penalties(
                self._model.vocabulary_size, PENALTY_TOKENS, 1.0, sampling.frequency_penalty,
                sampling.presence_penalty))
        seed = RANDOM_SEED if sampling.seed is None else sampling.seed % RANDOM_SEED
        return sampler(api, first, sampling, seed)

    def _step(self) -> None:
        """Let the model read one batch, and draw a token wherever it has read all there is."""
        self._batch.clear()
        drawn: list[tuple[_Slot, int]] = []
        busy = [slot for slot in self._slots if slot.generation is not None]
        read: list[tuple[_Slot, list[int]]] = [(slot, [slot.next_token]) for slot in busy
                                               if slot.next_token is not None]
        reading = [slot for slot in busy if slot.next_token is None]
        share = max(1, min(self._chunk, BATCH_TOKENS - len(read)) // max(1, len(reading)))
        read += [(slot, slot.prompt[len(slot.known):len(slot.known) + share]) for slot in reading]
        for slot, tokens in read:
            whole = slot.next_token is not None or len(slot.known) + len(tokens) == len(slot.prompt)
            places = [self._batch.add(token, len(slot.known) + offset, slot.number, whole and offset == len(tokens) - 1)
                      for offset, token in enumerate(tokens)]
            if whole:
                drawn.append((slot, places[-1]))
        if not read:
            return
        started = time.monotonic()
        code = self._api.llama_decode(self._model.context, self._batch.raw)
        if code != 0:
            return self._fail_all(UserError(tr("The model couldn't compute an answer."),
                                            tr("llama.cpp says: {message}",
                                               message=llama_gguf.last_error() or f"code {code}"),
                                            tr("Try again; a shorter context or fewer answers at once may help.")))
        self._adapt(sum(len(tokens) for _, tokens in read), time.monotonic() - started)
        for slot, tokens in read:
            slot.known += tokens
        for slot, at in drawn:
            assert slot.generation is not None
            self._take(slot, self._api.llama_sampler_sample(slot.generation.sampler, self._model.context, at))

    def _adapt(self, tokens: int, seconds: float) -> None:
        """Read more of a prompt at once where that is quick, less where it is slow."""
        if tokens >= self._chunk // 2:
            wanted = int(tokens / max(seconds, 1e-3) * STEP_SECONDS)
            self._chunk = max(FIRST_CHUNK // 2, min(BATCH_TOKENS, wanted))

    def _take(self, slot: _Slot, token: int) -> None:
        """A token was drawn: tell its text, and see whether the answer ends."""
        generation = slot.generation
        assert generation is not None
        if self.vocab.ends(token):
            return self._end(slot, "stop")
        slot.next_token = token
        slot.writing = slot.writing or time.monotonic()
        generation.drawn.append(token)
        stopped = generation.write(self.vocab.piece(token))
        full = len(generation.prompt) + generation.written >= self.context_length
        if stopped:
            self._end(slot, "stop")  # nothing is held back then
        elif full or generation.written >= generation.sampling.max_tokens:
            self._end(slot, "length")

    def _end(self, slot: _Slot, reason: str, error: UserError | None = None) -> None:
        """Say the last word and free the slot; its cache stays for a prompt that begins the same way."""
        generation = slot.generation
        assert generation is not None
        self._free(slot)
        if reason in ("stop", "length"):
            generation.flush()
        self._close(generation, reason, error)

    def _free(self, slot: _Slot) -> None:
        slot.generation = slot.next_token = slot.writing = None
        slot.last_used = time.monotonic()

    def _close(self, generation: Generation, reason: str, error: UserError | None = None) -> None:
        """Say the last word on an answer that has no slot."""
        if generation.sampler is not None:
            self._api.llama_sampler_free(generation.sampler)
            generation.sampler = None
        generation.tell(End(reason, generation.written, generation.cached, error))

    def _fail_all(self, error: UserError) -> None:
        """After a failed step nobody knows what the caches hold."""
        for slot in self._slots:
            if slot.generation is not None:
                self._end(slot, "failed", error)
            slot.known = []
            self._api.llama_memory_seq_rm(self._memory, slot.number, -1, -1)
        if self._closing:
            while self._waiting:
                self._close(self._waiting.popleft(), "failed", error)
