"""A GGUF LoRA on the chat's model, at any strength: base + strength × update, without loading the model again."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.gguf.lora import LoraFacts, check_fits, read_lora
from slmstudio.worker.gguf_chat.model import ChatModel
from slmstudio.worker.model import llama_gguf

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
        self._put_on(self._load(facts), facts, float(scale))
        self._changed = changed

    def state(self) -> dict[str, Any]:
        facts = self.facts
        return {"path": str(facts.path) if facts else None, "scale": self.scale, "name": facts.name if facts else None,
                "rank": facts.rank if facts else None, "alpha": facts.alpha if facts else None}

    def _load(self, facts: LoraFacts) -> Any:
        import llama_cpp

        llama_gguf.RECENT.clear()
        handle = llama_cpp.llama_adapter_lora_init(self._model.model, str(facts.path).encode("utf-8"))
        if not handle:  # a null pointer, which isn't None
            raise UserError(tr("The adapter {file} can't be loaded.", file=facts.path.name),
                            tr("llama.cpp says: {message}", message=llama_gguf.last_error() or "–"),
                            tr("Export the run's adapter again, or choose another one."))
        return handle

    def _put_on(self, handle: Any, facts: LoraFacts | None, scale: float) -> None:
        import llama_cpp

        if (handle, scale) == (self._handle, self.scale):
            return
        if handle is not None and scale > 0:
            adapters = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(handle)
            failed = llama_cpp.llama_set_adapters_lora(self._model.context, adapters, 1, (ctypes.c_float * 1)(scale))
        else:
            failed = llama_cpp.llama_set_adapters_lora(self._model.context, None, 0, None)
        if failed:
            raise RuntimeError("llama.cpp did not take the adapter.")
        if self._handle is not None and handle is not self._handle:
            llama_cpp.llama_adapter_lora_free(self._handle)
        self._handle, self.facts, self.scale = handle, facts, scale
        self._model.forget()
