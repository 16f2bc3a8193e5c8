"""Chat with a GGUF model: loads it, streams answers, stops at once.

The commands and messages are those of `ChatService.handle`.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.model.gguf import read_gguf
from slmstudio.worker import llama_log
from slmstudio.worker.llama_vocab import LlamaVocab

DEFAULT_CONTEXT = 4096
"""Tokens, where neither the user nor the model sets less: the cache of an 8B model then takes half a gigabyte."""
MIN_REPLY_SHARE = 8
"""At least one part in so many of the context is kept free for the answer."""
BATCH_TOKENS = 512


class ChatService:
    """One model at a time, and one answer at a time."""

    def __init__(self, emit: Callable[..., None]):
        self._emit = emit
        self._model: Any = None
        self._vocab: LlamaVocab | None = None
        self._context_length = 0
        self._current: Any = None
        self._stopped: set[Any] = set()
        self._closing = False

    def handle(self, message: dict[str, Any]) -> None:
        """load {path, context_length, gpu_layers} → loaded; generate {id, messages, temperature, top_p, max_tokens,
        seed} → token*, done; count {messages} → count; unload → unloaded.

        Raises:
            UserError: the model cannot be loaded, or the conversation not be answered.
        """
        command = message.get("command")
        if command == "load":
            self._load(message)
        elif command == "generate":
            self._generate(message)
        elif command == "count":
            self._emit("count", tokens=len(self._encode(message["messages"], prompt=True)))
        elif command == "unload":
            self._unload()
            self._emit("unloaded")
        else:
            raise UserError(f"The chat worker does not know the command {command!r}.")

    def interrupt(self, message: dict[str, Any]) -> bool:
        """"stop" marks one answer, running or still waiting; ids must not be used twice. "close" ends all of them."""
        if message.get("command") == "stop":
            self._stopped.add(message.get("id"))
            return True
        self._closing |= message.get("command") == "close"
        return False

    def _load(self, message: dict[str, Any]) -> None:
        path = Path(message["path"])
        facts = read_gguf(path)
        self._unload()
        llama_log.install()
        llama_log.RECENT.clear()
        import llama_cpp
        import psutil

        wanted = message.get("context_length") or DEFAULT_CONTEXT
        length = min(wanted, facts.context_length or wanted)
        layers = message.get("gpu_layers")
        if layers is None:
            layers = -1 if llama_cpp.llama_supports_gpu_offload() else 0
        started = time.monotonic()
        try:
            self._model = llama_cpp.Llama(
                str(path), n_ctx=length, n_batch=min(BATCH_TOKENS, length), n_gpu_layers=layers,
                n_threads=psutil.cpu_count(logical=False) or 1, verbose=False)
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path.name} cannot be loaded.", f"llama.cpp says: {llama_log.last_error() or error}",
                            "Choose another GGUF file, a shorter context, or export the run again.") from error
        self._vocab = LlamaVocab(self._model)
        self._context_length = length
        self._emit("loaded", path=str(path), name=facts.name, context_length=length,
                   trained_context_length=facts.context_length, quantization=facts.quantization, gpu_layers=layers,
                   chat_template=self._vocab.template is not None, seconds=round(time.monotonic() - started, 3))

    def _unload(self) -> None:
        if self._model is not None:
            self._model.close()
        self._model = self._vocab = None

    def _generate(self, message: dict[str, Any]) -> None:
        self._current = message.get("id")
        started = time.monotonic()
        prompt, dropped = self._fit(message["messages"], message.get("max_tokens") or self._context_length)
        room = self._context_length - len(prompt)
        limit = min(message.get("max_tokens") or room, room)
        first = 0.0
        count, reason = 0, "length"
        text = Text(strip_space=bool(self._vocab and self._vocab.is_sentencepiece))
        try:
            cached = self._read_prompt(prompt)
            for token in self._draw(prompt, message):
                first = first or time.monotonic()
                assert self._vocab is not None
                if self._vocab.ends(token):
                    reason = "stop"
                    break
                count += 1
                if ready := text.add(self._vocab.piece(token)):
                    self._emit("token", id=self._current, text=ready)
                if count >= limit:
                    break
            else:
                reason = "stopped"
        finally:
            self._stopped.discard(self._current)
        if rest := text.end():
            self._emit("token", id=self._current, text=rest)
        spent = time.monotonic() - first if first else 0.0
        self._emit("done", id=self._current, reason=reason, prompt_tokens=len(prompt), cached_tokens=cached,
                   completion_tokens=count,
                   seconds_to_first_token=round(first - started, 3) if first else None,
                   tokens_per_second=round((count - 1) / spent, 1) if count > 1 and spent > 0 else None,
                   context_length=self._context_length, dropped_messages=dropped)

    def _draw(self, prompt: list[int], message: dict[str, Any]) -> Iterator[int]:
        """Tokens as they are drawn, until a stop."""
        seed = message.get("seed")
        self._model.set_seed(time.time_ns() % 2**32 if seed is None else seed)
        if self._is_stopped():
            return
        for token in self._model.generate(prompt, temp=float(message.get("temperature", 0.7)),
                                          top_p=float(message.get("top_p", 0.95))):
            if self._is_stopped():
                return
            yield token

    def _read_prompt(self, prompt: list[int]) -> int:
        """Let the model read all of the prompt but its last token; returns how many it remembered from the last turn.

        A stop ends it in the middle of a batch: llama.cpp asks before every operation. It is asked nothing more while
        tokens are drawn, where that would cost a tenth of the speed.
        """
        import llama_cpp

        model = self._model
        same = 0
        for old, new in zip(model.input_ids[:model.n_tokens].tolist(), prompt[:-1], strict=False):
            if old != new:
                break
            same += 1
        if same < model.n_tokens:
            if model._ctx.kv_cache_seq_rm(-1, same, -1):
                model.n_tokens = same
            else:  # a recurrent model cannot forget only the end
                model.reset()
                same = 0
        asked = llama_cpp.ggml_abort_callback(lambda _: self._is_stopped())
        llama_cpp.llama_set_abort_callback(model.ctx, asked, None)
        try:
            model.eval(prompt[same:-1])
        except RuntimeError:
            if not self._is_stopped():
                raise
        finally:
            llama_cpp.llama_set_abort_callback(model.ctx, llama_cpp.ggml_abort_callback(), None)
        return same

    def _is_stopped(self) -> bool:
        return self._closing or self._current in self._stopped

    def _fit(self, messages: list[dict[str, str]], max_tokens: int) -> tuple[list[int], int]:
        """The prompt, and how many of the oldest messages were left out so that it fits. A system message always stays.

        Raises:
            UserError: not even the last message fits.
        """
        room = self._context_length - max(1, min(max_tokens, self._context_length // MIN_REPLY_SHARE))
        system = [message for message in messages[:1] if message["role"] == "system"]
        turns = messages[len(system):]
        dropped = 0
        while True:
            prompt = self._encode([*system, *turns], prompt=True)
            if len(prompt) <= room:
                return prompt, dropped
            # The next user message is where a shorter conversation can begin.
            following = next((i for i in range(1, len(turns)) if turns[i]["role"] == "user"), None)
            if following is None:
                raise UserError("The message is too long for the context.",
                                f"It takes {len(prompt)} tokens; {room} of {self._context_length} are free for it.",
                                "Shorten it, or load the model with a longer context.")
            turns = turns[following:]
            dropped += following

    def _encode(self, messages: list[dict[str, str]], prompt: bool) -> list[int]:
        if self._vocab is None:
            raise UserError("No model is loaded.", "", "Choose a model first.")
        if self._vocab.template is None:
            raise UserError("This model has no chat template.", "The GGUF file stores none, so nobody can know how it "
                            "was taught to chat.", "Choose an instruct model, or one that was exported here.")
        return self._vocab.encode(self._vocab.template.render(messages, add_generation_prompt=prompt))


class Text:
    """Puts characters together from tokens' bytes: a character may need several tokens.

    Args:
        strip_space: take off one space at the start, which sentencepiece puts before the first word.
    """

    def __init__(self, strip_space: bool):
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._strip_space = strip_space

    def add(self, piece: bytes) -> str:
        """The characters that are complete by now."""
        return self._stripped(self._decoder.decode(piece))

    def end(self) -> str:
        """What is left over: half a character becomes U+FFFD."""
        return self._stripped(self._decoder.decode(b"", final=True))

    def _stripped(self, text: str) -> str:
        if self._strip_space and text:
            self._strip_space = False
            return text.removeprefix(" ")
        return text


def create(emit: Callable[..., None]) -> ChatService:
    return ChatService(emit)
