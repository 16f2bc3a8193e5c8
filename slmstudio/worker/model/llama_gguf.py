"""A GGUF file that llama.cpp has loaded, a batch of tokens that it reads at once, and what it draws tokens with.

llama.cpp's C functions are called directly. `llama_cpp.Llama` would compile the file's chat template in a jinja
environment of its own, where a constant expression can eat all memory before our sandbox ever sees the template.
"""

from __future__ import annotations

import ctypes
import re
import sys
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from slmstudio.core.chat.placement import ON_PROCESSOR, Placement
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import control_tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.worker.model.gguf_vocabulary import NEAREST, NORMALIZER_KEY
from slmstudio.worker.runtime import llama_devices

# -- llama.cpp talks through one callback: its warnings and errors go to stderr, that is the job's worker.log.

RECENT: deque[str] = deque(maxlen=20)
"""The latest warnings and errors, oldest first: llama.cpp's Python calls raise without the reason."""

_CAUSE = re.compile(r".*?error loading model: (?:error loading model \w+: |check_tensor_dims: )*(.*)", re.DOTALL)

_WARN, _ERROR, _CONTINUED = 3, 4, 5  # ggml.h
_callback: Any = None


def install() -> None:
    """Send llama.cpp's messages to stderr and `RECENT`; call before loading a model. It imports llama_cpp.

    Raises:
        UserError: as of `llama_devices.llama_cpp`.
    """
    global _callback
    llama_cpp = llama_devices.llama_cpp()
    last_level = 0

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def receive(level: int, text: bytes, _user_data: Any) -> None:
        nonlocal last_level
        last_level = last_level if level == _CONTINUED else level
        if last_level in (_WARN, _ERROR):
            message = text.decode("utf-8", "replace")
            sys.stderr.write(message)
            if message.strip():
                RECENT.append(message.strip())

    _callback = receive  # llama.cpp keeps only the pointer
    llama_cpp.llama_log_set(receive, ctypes.c_void_p(0))


def reason() -> str:
    """Why llama.cpp didn't load a model, as far as it said so; its last words are only that it failed."""
    causes = [found[1] for line in RECENT if (found := _CAUSE.match(line)) and "failed to load" not in found[1]]
    others = [line.partition(": ")[2] or line for line in RECENT if "failed to" not in line]
    return " ".join((causes or others or [last_error()])[0].split()).rstrip(".")


def last_error() -> str:
    """What llama.cpp last complained about, or an empty text."""
    return RECENT[-1] if RECENT else ""


_UNKNOWN, _CONTROL, _LSTRIP, _RSTRIP = 1, 8, 128, 256
"""llama.h, enum llama_token_attr."""


class LlamaVocab:
    """Wraps a `LlamaGguf`.

    Attributes:
        template: the GGUF's own chat template, or None.
        is_sentencepiece: whether text starts with a space that belongs to no word.
        cuts_nearly: whether its pre-tokenizer is one that stands in for another, see `gguf_vocabulary.NEAREST`.
        normalizer: the Unicode form that the model was trained on, "NFC" for instance; None for text as it comes.
    """

    def __init__(self, model: Any):
        import llama_cpp

        self._api, self._model = llama_cpp, model
        self._vocab = llama_cpp.llama_model_get_vocab(model.model)
        self.normalizer: str | None = model.metadata.get(NORMALIZER_KEY)
        self.cuts_nearly = model.metadata.get("tokenizer.ggml.pre") in NEAREST
        self.is_sentencepiece = llama_cpp.llama_vocab_type(self._vocab) == llama_cpp.LLAMA_VOCAB_TYPE_SPM
        source = model.metadata.get("tokenizer.chat_template")
        self.template = ChatTemplate(source, self._special_tokens()) if source else None

    def encode(self, text: str) -> list[int]:
        """Ids of a rendered conversation: what looks like a special token is one, but where `marked` said that it is
        somebody's text; and nothing is added."""
        if control_tokens.MARK not in text:
            return self._tokenize(text, add_bos=False)
        strip_before, strip_after = (tuple(token for token, kind in self._controls.items() if kind & side)
                                     for side in (_LSTRIP, _RSTRIP))
        return [token for part in control_tokens.stretches(text, self._controls, strip_before, strip_after)
                for token in self._tokenize(part.text, add_bos=False, special=not part.is_plain)]

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Ids of a conversation up to where the answer begins; what somebody has written never makes a control token,
        nor does what the model has written as text.

        Raises:
            UserError: as of `ChatTemplate.render`; the model must have a template.
        """
        assert self.template is not None
        return self.encode(self.template.render(self.marked(messages), add_generation_prompt=True))

    def marked(self, messages: Sequence[Mapping[str, Any]], but: str = "") -> list[Any]:
        # A vocabulary has few control tokens among 100,000, so they are looked for where a text changes by them.
        controls = self._controls if any(map(self._has_control, control_tokens.texts(messages))) else ()
        return control_tokens.marked(messages, controls, but)

    def _has_control(self, text: str) -> bool:
        return self._tokenize(text, False) != self._tokenize(text, False, special=False)

    @cached_property
    def _controls(self) -> dict[str, int]:
        """The texts of the tokens that a text without a look for control tokens never makes, and their attributes."""
        count = self._api.llama_vocab_n_tokens(self._vocab)
        found = {token: self._api.llama_vocab_get_attr(self._vocab, token) for token in range(count)}
        return {text: kind for token, kind in found.items()
                if kind & (_CONTROL | _UNKNOWN) and (text := self.text(token))}

    def served(self, text: str) -> list[int]:
        """Ids as llama-server makes them: the tokenizer adds BOS where the file says so, the template's own is cut."""
        bos = self.text(self._api.llama_vocab_bos(self._vocab))
        if self._api.llama_vocab_get_add_bos(self._vocab) and bos:
            text = text.removeprefix(bos)
        return self._tokenize(text, add_bos=True)

    def _tokenize(self, text: str, add_bos: bool, special: bool = True) -> list[int]:
        text = unicodedata.normalize(self.normalizer, text) if self.normalizer else text  # type: ignore[arg-type]
        return list(self._model.tokenize(text.encode("utf-8"), add_bos=add_bos, special=special))

    def ends(self, token: int) -> bool:
        return bool(self._api.llama_vocab_is_eog(self._vocab, token))

    def named_ends(self) -> set[int]:
        """Tokens that end a text or a turn, as the file says; where it says nothing, as llama.cpp knows their names."""
        ids = (self._api.llama_vocab_eos(self._vocab), self._api.llama_vocab_eot(self._vocab))
        return {token for token in ids if token >= 0}

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; nothing for special tokens. A character may need several tokens."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self._api.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def _special_tokens(self) -> dict[str, str]:
        ids = {"bos_token": self._api.llama_vocab_bos(self._vocab), "eos_token": self._api.llama_vocab_eos(self._vocab),
               "pad_token": self._api.llama_vocab_pad(self._vocab),
               "unk_token": int(self._model.metadata.get("tokenizer.ggml.unknown_token_id", -1))}
        return {name: text for name, token in ids.items() if (text := self.text(token))}

    def text(self, token: int) -> str:
        """How the vocabulary writes a token; nothing for none."""
        if not 0 <= token < self._api.llama_vocab_n_tokens(self._vocab):  # llama.cpp would end the process
            return ""
        return str(self._api.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))


MMAP = 1
"""llama.h, enum llama_load_mode: pages of the file, which the system can drop and read again."""


KEPT_LOGITS = 64
"""How many tokens of a batch keep their logits at most: 39 MB for a vocabulary of 151,936."""


class LlamaGguf:
    """A loaded file; what is built on it makes the context.

    Args:
        placement: where it computes.
        options: fields of llama.cpp's model parameters that aren't as it has them.

    Attributes:
        metadata: the key-value pairs that aren't arrays, as text.

    Raises:
        UserError: llama.cpp isn't set up, or can't load it.
    """

    def __init__(self, path: Path, placement: Placement = ON_PROCESSOR, **options: Any):
        install()
        RECENT.clear()
        import llama_cpp

        self._api, self._name = llama_cpp, path.name
        self.model: Any = None
        self.context: Any = None
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.check_tensors = True  # weights that aren't numbers would be answered with noise
        devices = llama_devices.pointers(placement.devices)
        split = (ctypes.c_float * llama_cpp.llama_max_devices())(*map(float, placement.split))
        parameters.devices = ctypes.cast(devices, ctypes.c_void_p)
        parameters.n_gpu_layers, parameters.tensor_split = placement.layers, split
        for name, value in options.items():
            setattr(parameters, name, value)
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise self._refusal()
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.vocabulary_size = int(llama_cpp.llama_vocab_n_tokens(self.vocabulary))
        self.metadata = {self._text(llama_cpp.llama_model_meta_key_by_index, index):
                         self._text(llama_cpp.llama_model_meta_val_str_by_index, index)
                         for index in range(llama_cpp.llama_model_meta_count(self.model))}

    def _refusal(self) -> UserError:
        return UserError(tr("{model} can't be loaded.", model=self._name),
                         tr("llama.cpp says: {message}", message=reason() or "–"),
                         tr("Choose another GGUF file, a shorter context, or export the run again."))

    def make_context(self, settings: Any) -> None:
        """Raises UserError: memory is short, or it isn't a model that writes. The model is closed then."""
        self.context = self._api.llama_init_from_model(self.model, settings)
        error = None if self.context else self._refusal()
        if self.context and (self._api.llama_get_memory(self.context) is None
                             or self._api.llama_model_has_encoder(self.model)):
            error = UserError(tr("{model} can't chat.", model=self._name),
                              tr("It's a model that turns text into numbers, for search for example; it doesn't write "
                                 "text."), tr("Choose a model that writes text."))
        if error is not None:
            self.close()
            raise error

    def load_adapter(self, path: Path) -> Any:
        """A GGUF LoRA for `put_on`; it goes with the model. Raises UserError: it can't be loaded."""
        RECENT.clear()
        handle = self._api.llama_adapter_lora_init(self.model, str(path).encode("utf-8"))
        if not handle:  # a null pointer, which isn't None
            raise UserError(tr("The adapter {file} can't be loaded.", file=path.name),
                            tr("llama.cpp says: {message}", message=last_error() or "–"),
                            tr("Export the run's adapter again, or choose another one."))
        return handle

    def put_on(self, handle: Any, scale: float) -> None:
        """Let the context compute with an adapter at this strength; with none for None."""
        if handle is None:
            failed = self._api.llama_set_adapters_lora(self.context, None, 0, None)
        else:
            adapters = (self._api.llama_adapter_lora_p_ctypes * 1)(handle)
            failed = self._api.llama_set_adapters_lora(self.context, adapters, 1, (ctypes.c_float * 1)(scale))
        if failed:
            raise RuntimeError("llama.cpp did not take the adapter.")

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
            raise self.failure(tr("llama.cpp says: {reason}.", reason=last_error() or status))

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
