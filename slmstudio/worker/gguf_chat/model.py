"""A GGUF model that llama.cpp has loaded: what it has read, and how it continues."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core.chat import sampling
from slmstudio.core.chat.placement import ON_PROCESSOR, Placement
from slmstudio.core.chat.sampling import Sampling
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.gguf.lora import LoraFacts, check_fits, read_lora
from slmstudio.worker.gguf_chat.generation import common
from slmstudio.worker.model import llama_gguf
from slmstudio.worker.model.llama_gguf import MMAP, LlamaGguf, LlamaVocab, sampler

# -- A GGUF LoRA on the chat's model, at any strength: base + strength × update, without loading the model again.

STRONGEST = 2.0
"""Beyond twice of what was trained, answers fall apart."""


class ChatAdapter:
    """At most one adapter on a loaded model. It goes with the model.

    Attributes:
        scale: its strength: 1 as trained, 0 none.
    """

    def __init__(self, model: ChatModel, path: Path):
        self.facts: LoraFacts | None = None
        self.scale = 0.0
        self._model, self._path = model, path
        self._handle: Any = None
        self._changed = 0  # when the file was written; another export may have the same name

    def set(self, path: str | None, scale: Any) -> None:
        """Put the adapter in the file `path` on, instead of another one, or change its strength; None takes it off.

        What the model remembers of the conversation was computed with the old weights, so it is forgotten.

        Raises:
            UserError: no adapter, one for another model, or no strength from 0 to 2. Nothing is changed then.
        """
        if path is None:
            self._put_on(None, None, 0.0)
            return
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 <= scale <= STRONGEST:
            raise UserError(tr("The adapter's strength can't be {value}.", value=repr(scale)), "",
                            tr("Choose a number from 0 to 2."))
        facts = read_lora(path)
        changed = facts.path.stat().st_mtime_ns
        if facts == self.facts and changed == self._changed:
            self._put_on(self._handle, facts, float(scale))
            return
        check_fits(facts, self._path)
        self._put_on(self._model.load_adapter(facts.path), facts, float(scale))
        self._changed = changed

    def state(self) -> dict[str, Any]:
        facts = self.facts
        return {"path": str(facts.path) if facts else None, "scale": self.scale, "name": facts.name if facts else None,
                "rank": facts.rank if facts else None, "alpha": facts.alpha if facts else None}

    def _put_on(self, handle: Any, facts: LoraFacts | None, scale: float) -> None:
        import llama_cpp

        if (handle, scale) == (self._handle, self.scale):
            return
        self._model.put_on(handle if scale > 0 else None, scale)
        if self._handle is not None and handle is not self._handle:
            llama_cpp.llama_adapter_lora_free(self._handle)
        self._handle, self.facts, self.scale = handle, facts, scale
        self._model.forget()


GGML_TYPES = {"f16": 1, "q8_0": 8}
"""ggml.h, enum ggml_type."""


class CannotCompute(UserError):
    """llama.cpp failed in the middle of a conversation."""


class ChatModel(LlamaGguf):
    """One model with one conversation in its memory.

    Attributes:
        context_length: tokens that the memory holds.
        tokens: what is in the memory now.
    """

    def __init__(self, path: Path, context_length: int, placement: Placement = ON_PROCESSOR):
        """Raises UserError: llama.cpp can't load it, or it isn't a model that writes."""
        self.tokens: list[int] = []
        super().__init__(path, placement, load_mode=MMAP)
        llama_cpp = self._api
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch = context_length, min(placement.batch, context_length)
        settings.n_ubatch = settings.n_batch
        settings.type_k = settings.type_v = GGML_TYPES[placement.cache_type]
        if not placement.flash_attention:  # on the CPU it reads a prompt a third faster, and draws tokens half as fast
            settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.n_threads, settings.n_threads_batch = _threads(busy=False)
        self.make_context(settings)
        self.context_length, self._batch_tokens = context_length, int(settings.n_batch)
        try:
            self.vocab = LlamaVocab(self)
        except BaseException:
            self.close()
            raise

    def share_processor(self, busy: bool) -> None:
        """Take fewer threads while other work is on the machine. Threads that wait for one which doesn't get its turn
        are slower than fewer threads: beside one busy core of two, two threads drew 57 tokens a second and one 158."""
        self._api.llama_set_n_threads(self.context, *_threads(busy))

    def forget(self) -> None:
        """Read the next prompt from its start: what is remembered was computed with other weights, for instance."""
        self._api.llama_memory_clear(self._api.llama_get_memory(self.context), True)
        self.tokens = []

    def read(self, prompt: Sequence[int], stopped: Callable[[], bool]) -> int:
        """Read a prompt, as far as it isn't remembered. Returns how many tokens were.

        `stopped` ends it in the middle of a batch: llama.cpp asks before every operation. It is asked nothing more
        while tokens are drawn, where that would cost a tenth of the speed.
        """
        self._cut(common(self.tokens, prompt))
        same = len(self.tokens)
        api = self._api
        asked = api.ggml_abort_callback(lambda _: stopped())
        api.llama_set_abort_callback(self.context, asked, None)
        try:
            for start in range(same, len(prompt), self._batch_tokens):
                if stopped() or not self._decode(prompt[start:start + self._batch_tokens]):
                    break
        finally:
            api.llama_set_abort_callback(self.context, api.ggml_abort_callback(), None)
        return same

    def _cut(self, length: int) -> None:
        memory = self._api.llama_get_memory(self.context)
        if self._api.llama_memory_seq_rm(memory, -1, length, -1):
            del self.tokens[length:]
        else:  # a recurrent model can't forget only the end
            self.forget()

    def _decode(self, tokens: Sequence[int]) -> bool:
        """Read one batch; False when it was stopped, and then nothing of it is remembered.

        Raises:
            CannotCompute: llama.cpp failed.
        """
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        status = self._api.llama_decode(self.context, self._api.llama_batch_get_one(array, len(tokens)))
        if status == 0:
            self.tokens += tokens
            return True
        self._cut(len(self.tokens))
        if status == 2:
            return False
        raise self._failure(status)

    def _failure(self, status: int) -> CannotCompute:
        return CannotCompute(tr("The model couldn't continue."),
                             tr("llama.cpp says: {message}", message=llama_gguf.last_error() or status),
                             tr("Load it again, with a shorter context if memory is short."))

    def draw(self, settings: Sampling) -> Iterator[int]:
        """Tokens that follow what was read, without end. Each is read when the next one is asked for."""
        api = self._api
        chain = self._sampler(settings)
        token = (ctypes.c_int32 * 1)()
        batch = api.llama_batch_get_one(token, 1)
        try:
            while True:
                token[0] = api.llama_sampler_sample(chain, self.context, -1)
                yield token[0]
                status = api.llama_decode(self.context, batch)
                if status:
                    raise self._failure(status)
                self.tokens.append(token[0])
        finally:
            api.llama_sampler_free(chain)

    def _sampler(self, settings: Sampling) -> Any:
        api, first = self._api, []
        if settings.repeat_penalty != 1:
            first.append(api.llama_sampler_init_penalties(self.vocabulary_size, sampling.REPEAT_WINDOW,
                                                          settings.repeat_penalty, 0.0, 0.0))
        return sampler(api, first, settings, time.time_ns() % 2**32 if settings.seed is None else settings.seed)


def _threads(busy: bool) -> tuple[int, int]:
    """How many threads draw tokens, and how many read a prompt."""
    import psutil

    cores, logical = psutil.cpu_count(logical=False) or 1, psutil.cpu_count() or 1
    return (max(1, cores // 2), max(1, logical // 2)) if busy else (cores, logical)
