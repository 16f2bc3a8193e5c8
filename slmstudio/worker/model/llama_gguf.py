"""A GGUF file that llama.cpp has loaded, a batch of tokens that it reads at once, and what it draws tokens with.

llama.cpp's C functions are called directly. `llama_cpp.Llama` would compile the file's chat template in a jinja
environment of its own, where a constant expression can eat all memory before our sandbox ever sees the template.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model import llama_vocab

MMAP = 1
"""llama.h, enum llama_load_mode: pages of the file, which the system can drop and read again."""


KEPT_LOGITS = 64
"""How many tokens of a batch keep their logits at most: 39 MB for a vocabulary of 151,936."""


class LlamaGguf:
    """A loaded file; what is built on it makes the context.

    Args:
        options: fields of llama.cpp's model parameters that aren't as it has them.

    Attributes:
        metadata: the key-value pairs that aren't arrays, as text.

    Raises:
        ValueError: llama.cpp can't load it; `llama_log` knows why.
        UserError: llama.cpp isn't set up.
    """

    def __init__(self, path: Path, **options: Any):
        llama_vocab.install()
        llama_vocab.RECENT.clear()
        import llama_cpp

        self._api = llama_cpp
        self.model: Any = None
        self.context: Any = None
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.check_tensors = True  # weights that aren't numbers would be answered with noise
        for name, value in options.items():
            setattr(parameters, name, value)
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise ValueError(f"llama.cpp can't load {path.name}")
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.vocabulary_size = int(llama_cpp.llama_vocab_n_tokens(self.vocabulary))
        self.metadata = {self._text(llama_cpp.llama_model_meta_key_by_index, index):
                         self._text(llama_cpp.llama_model_meta_val_str_by_index, index)
                         for index in range(llama_cpp.llama_model_meta_count(self.model))}

    def close(self) -> None:
        self.close_context()
        model, self.model = self.model, None
        if model:
            self._api.llama_model_free(model)

    def close_context(self) -> None:
        context, self.context = self.context, None
        if context:
            self._api.llama_free(context)

    def tokenize(self, text: bytes, add_bos: bool, special: bool) -> list[int]:
        room = len(text) + 2  # no tokenizer makes more tokens than bytes, a BOS and a space in front
        while True:
            found = (ctypes.c_int32 * room)()
            count = self._api.llama_tokenize(self.vocabulary, text, len(text), found, room, add_bos, special)
            if count >= 0:
                return list(found[:count])
            room = -count

    def read(self, batch: LlamaBatch, ids: Sequence[int], start: int, first: int, sequence: int = 0) -> Iterator[Any]:
        """Read tokens of one sequence from position `start` on; the logits behind those from number `first` on, each
        valid until the next one.

        Raises:
            UserError: as `compute`.
        """
        at = 0
        while at < len(ids):
            # Where all logits are wanted, fewer tokens go at once.
            most = batch.most if at + batch.most <= first else max(KEPT_LOGITS, min(batch.most, first - at))
            part = ids[at:at + most]
            self.compute(batch, [(token, start + at + place, sequence, at + place >= first)
                                 for place, token in enumerate(part)])
            yield from (self.logits(place) for place in range(len(part)) if at + place >= first)
            at += len(part)

    def compute(self, batch: LlamaBatch, tokens: Iterable[tuple[int, int, int, bool]]) -> None:
        """Compute a batch of (token, position, sequence, whether its logits are wanted).

        Raises:
            UserError: llama.cpp can't, as `failure` says it.
        """
        batch.clear()
        for each in tokens:
            batch.add(*each)
        status = self._api.llama_decode(self.context, batch.raw)
        if status != 0:
            raise self.failure(tr("llama.cpp says: {reason}.", reason=llama_vocab.last_error() or status))

    def failure(self, why: str) -> UserError:
        """What a person reads where llama.cpp can't compute a batch."""
        raise NotImplementedError

    def logits(self, place: int) -> Any:
        """Those behind a token of the last batch [vocabulary], float32; they hold until the next batch."""
        import numpy as np

        pointer = self._api.llama_get_logits_ith(self.context, place)
        return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (self.vocabulary_size,))

    def _text(self, get: Callable[..., int], index: int) -> str:
        size = 1024
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = get(self.model, index, buffer, size)
            if length < size:
                return buffer.value.decode("utf-8", "replace")
            size = length + 1


class LlamaBatch:
    """Tokens of one or several sequences.

    Attributes:
        most: how many there may be.
        raw: llama.cpp's own.
    """

    def __init__(self, most: int):
        import llama_cpp

        self._api, self.most = llama_cpp, most
        self.raw: Any = llama_cpp.llama_batch_init(most, 0, 1)

    def close(self) -> None:
        raw, self.raw = self.raw, None
        if raw is not None:
            self._api.llama_batch_free(raw)

    def clear(self) -> None:
        self.raw.n_tokens = 0

    def add(self, token: int, position: int, sequence: int, keep: bool) -> int:
        """Append a token; `keep` its logits. Returns its place."""
        batch, place = self.raw, self.raw.n_tokens
        batch.token[place], batch.pos[place] = token, position
        batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, sequence, keep
        batch.n_tokens = place + 1
        return int(place)


def sampler(api: Any, first: Sequence[Any], drawn: Any, seed: int) -> Any:
    """A chain of llama.cpp's samplers; whoever makes it frees it.

    Args:
        first: samplers that come before those of `drawn`, such as penalties.
        drawn: has temperature, top_k, top_p and min_p; at temperature 0 it's always the likeliest token.
        seed: counts where the temperature is above 0.
    """
    made = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
    last = [api.llama_sampler_init_greedy()] if drawn.temperature <= 0 else [
        api.llama_sampler_init_top_k(drawn.top_k), api.llama_sampler_init_top_p(drawn.top_p, 1),
        api.llama_sampler_init_min_p(drawn.min_p, 1), api.llama_sampler_init_temp(drawn.temperature),
        api.llama_sampler_init_dist(seed)]
    for part in (*first, *last):
        api.llama_sampler_chain_add(made, part)
    return made
