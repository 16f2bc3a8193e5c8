"""A GGUF file loaded for a proof: no more memory than its pages, the logits of a few tokens, and no sampling."""

from __future__ import annotations

from pathlib import Path

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.worker.model import llama_log
from slmstudio.worker.model.llama_gguf import MMAP, LlamaGguf

BATCH = 64
"""Tokens that llama.cpp computes at a time. Its buffers hold that many logit vectors: 39 MB for 151,936 tokens."""


class LlamaFile(LlamaGguf):
    """llama.cpp would keep a second, rearranged copy of quantized weights: faster for long conversations, and as large
    as the file.

    Raises:
        UserError: llama.cpp can't load the file.
    """

    def __init__(self, gguf: Path, context_length: int):
        import psutil

        try:
            super().__init__(gguf, n_gpu_layers=0, use_extra_bufts=False, load_mode=MMAP)
        except ValueError:
            raise self._refusal(gguf) from None
        settings = self._api.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_seq_max = context_length, BATCH, BATCH, 1
        settings.op_offload = settings.offload_kqv = False  # the processor alone: a card may be busy with training
        settings.n_threads = settings.n_threads_batch = psutil.cpu_count(logical=False) or 1
        self.context = self._api.llama_init_from_model(self.model, settings)
        if not self.context:
            self.close()
            raise self._refusal(gguf)

    def _refusal(self, gguf: Path) -> UserError:
        return UserError(tr("{file} can't be loaded.", file=gguf.name),
                         tr("llama.cpp says: {reason}.", reason=llama_log.reason()), tr("Export it again."))
