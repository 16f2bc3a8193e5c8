"""A GGUF file loaded for a proof: no more memory than its pages, the logits of a few tokens, and no sampling."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model import llama_log

BATCH = 64
"""Tokens that llama.cpp computes at a time. Its buffers hold that many logit vectors: 39 MB for 151,936 tokens."""


class LlamaFile:
    """Has what `LlamaVocab` asks of a `llama_cpp.Llama`. That one lets llama.cpp keep a second, rearranged copy of
    quantized weights: faster for long conversations, and as large as the file.

    Attributes:
        metadata: the key-value pairs that aren't arrays, as text.

    Raises:
        UserError: llama.cpp can't load the file.
    """

    def __init__(self, gguf: Path, context_length: int):
        llama_log.install()
        llama_log.RECENT.clear()
        import llama_cpp
        import psutil

        self._api = llama_cpp
        llama_cpp.llama_backend_init()
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers, parameters.use_extra_bufts, parameters.check_tensors = 0, False, True
        parameters.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP
        self.model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), parameters)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_seq_max = context_length, BATCH, BATCH, 1
        settings.op_offload = settings.offload_kqv = False  # the processor alone: a card may be busy with training
        settings.n_threads = settings.n_threads_batch = psutil.cpu_count(logical=False) or 1
        self.context = llama_cpp.llama_init_from_model(self.model, settings) if self.model else None
        if not self.context:
            self.close()
            raise UserError(tr("{file} can't be loaded.", file=gguf.name),
                            tr("llama.cpp says: {reason}.", reason=llama_log.reason()), tr("Export it again."))
        self._vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocabulary_size = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self.metadata = {self._text(llama_cpp.llama_model_meta_key_by_index, index):
                         self._text(llama_cpp.llama_model_meta_val_str_by_index, index)
                         for index in range(llama_cpp.llama_model_meta_count(self.model))}

    def close(self) -> None:
        if self.context:
            self._api.llama_free(self.context)
        if self.model:
            self._api.llama_model_free(self.model)
        self.model = self.context = None

    def tokenize(self, text: bytes, add_bos: bool, special: bool) -> list[int]:
        size = len(text) + 2  # no tokenizer makes more tokens than bytes, a BOS and a space in front
        tokens = (self._api.llama_token * size)()
        count = self._api.llama_tokenize(self._vocab, text, len(text), tokens, size, add_bos, special)
        if count < 0:
            raise ValueError(f"llama.cpp needs {-count} tokens for {len(text)} bytes")
        return list(tokens[:count])

    def _text(self, get: Callable[..., int], index: int) -> str:
        size = 1024
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = get(self.model, index, buffer, size)
            if length < size:
                return buffer.value.decode("utf-8", "replace")
            size = length + 1
