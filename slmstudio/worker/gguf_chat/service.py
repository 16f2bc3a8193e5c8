"""Chat with any model: it streams answers and stops at once. `ChatService.handle` says which commands there are."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from slmstudio.core.chat import assistant, conversation, reply, sampling
from slmstudio.core.chat.assistant import Assistant
from slmstudio.core.chat.placement import Placement, Wish
from slmstudio.core.chat.sampling import TAIL, Sampling, ends_in_loop
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.lock import worker_lock
from slmstudio.core.model.gguf.model import read_sound_gguf
from slmstudio.core.run import folder as run_folder
from slmstudio.worker.gguf_chat.generation import StopStrings, Text
from slmstudio.worker.gguf_chat.model import CannotCompute, ChatAdapter, ChatModel
from slmstudio.worker.model import placing

# -- Chat with a GGUF model, loaded onto the card as far as it fits.

DEFAULT_CONTEXT = 4096
"""Tokens, where neither the user nor the model sets less: the cache of an 8B model then takes half a gigabyte."""


def load_gguf(message: dict[str, Any], tell: Callable[[Placement], None] = lambda found: None) -> Loaded:
    """Load a GGUF file.

    Args:
        tell: hears on which card it is tried.

    Raises:
        UserError: it isn't sound, or llama.cpp can't load it.
    """
    path = Path(message["path"])
    facts = read_sound_gguf(path)
    wanted = message.get("context_length") or DEFAULT_CONTEXT
    length = min(wanted, facts.context_length or wanted)
    model, placement = placing.load(path, length, Wish.of(message), lambda found: ChatModel(path, length, found), tell)
    return Loaded(model, facts.name, facts.context_length, facts.quantization, placement, ChatAdapter(model, path))


def create(emit: Callable[..., None]) -> ChatService:
    def tell(placement: Placement) -> None:
        emit("placed", **placement.to_dict())

    return ChatService(emit, partial(load_gguf, tell=tell))


MIN_REPLY_SHARE = 8
"""At least one part in this many of the context is kept free for the answer."""
SPARE_TOKENS = 64
"""Left free beside documents: a question grows while it is typed."""
TAG_TOKENS = 12
"""Tokens at the end of a prompt that may hold the tag which opens thoughts."""
EMIT_SECONDS = 0.02
"""Text that is drawn faster than this goes out together."""
LOOK_CHARACTERS = 48
"""After as much new text it is looked whether an answer repeats itself."""


class Vocab(Protocol):
    template: Any
    is_sentencepiece: bool

    def prompt(self, messages: Sequence[Mapping[str, Any]]) -> list[int]: ...

    def served(self, text: str) -> list[int]: ...

    def ends(self, token: int) -> bool: ...

    def piece(self, token: int) -> bytes: ...


class Model(Protocol):
    context_length: int

    @property
    def vocab(self) -> Vocab: ...

    def read(self, prompt: Sequence[int], stopped: Callable[[], bool]) -> int: ...

    def draw(self, settings: Sampling) -> Generator[int, None, None]: ...

    def share_processor(self, busy: bool) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Loaded:
    """A loaded model and its facts.

    Attributes:
        trained_context_length: tokens; None if its file doesn't say.
        placement: where it computes.
        adapter: what puts a GGUF LoRA on it; None if none can be put on.
    """

    model: Model
    name: str
    trained_context_length: int | None
    quantization: str
    placement: Placement
    adapter: ChatAdapter | None = None


class ChatService:
    """One model at a time, and one answer at a time.

    Args:
        load: makes a model of a "load" command, the one before being gone.
    """

    def __init__(self, emit: Callable[..., None], load: Callable[[dict[str, Any]], Loaded]):
        self._emit, self._make = emit, load
        self.model: Model | None = None
        self._adapter: ChatAdapter | None = None
        self._assistant: Assistant | None = None
        self._on_card = False
        self._current: Any = None
        self._stopped: set[Any] = set()
        self._closing = False
        self._commands = {"load": self._load, "generate": self._generate, "count": self._count,
                          "unload": self._unload_loudly, "adapter": self._set_adapter}

    def handle(self, message: dict[str, Any]) -> None:
        """load {path, assistant, context_length, device, gpu_layers, cache_type, flash_attention, batch} → placed*,
        loaded; unload → unloaded;
        generate {id, messages, completion, and the fields of Sampling} → token*, done, whose reason is "stop",
        "stop_string", "length", "stopped" by the user, or "repeated": the answer was stopped in a loop;
        count {messages, max_tokens, completion, documents} → count: of each document, the text of which isn't among the
        messages, {of: its characters, read: those that fit beside the last message, tokens, left_out: tokens};
        adapter {path, scale} → adapter: a GGUF LoRA on the model, at a strength from 0 to 2; path null takes it off.

        `assistant` is a folder with what is shown with each question (`core.chat.assistant`); by default, the run's
        that the model is of. What else a "load" leaves out is chosen by free memory. `completion` continues the
        messages' bare text, for a model without a chat template.

        Raises:
            UserError: the model can't be loaded, or the conversation not be answered.
        """
        command = self._commands.get(str(message.get("command")))
        if command is None:
            raise UserError(f"The chat worker doesn't know the command {message.get('command')!r}.")
        command(message)

    def interrupt(self, message: dict[str, Any]) -> bool:
        """"stop" marks one answer, running or still waiting; ids must not be used twice. "close" ends all of them."""
        if message.get("command") == "stop":
            self._stopped.add(message.get("id"))
            return True
        self._closing |= message.get("command") == "close"
        return False

    def _load(self, message: dict[str, Any]) -> None:
        self._unload()
        started = time.monotonic()
        self._assistant = assistant.of_model(Path(message.get("assistant") or message["path"]))
        found = self._make(message)
        self.model, self._adapter = found.model, found.adapter
        self._on_card = found.placement.layers > 0
        self._emit("loaded", path=message["path"], name=found.name, context_length=found.model.context_length,
                   trained_context_length=found.trained_context_length, quantization=found.quantization,
                   **found.placement.to_dict(), lock=worker_lock.state().to_dict(),
                   chat_template=found.model.vocab.template is not None, seconds=round(time.monotonic() - started, 3))

    def _unload(self) -> None:
        model, self.model, self._adapter = self.model, None, None
        if model is not None:
            model.close()

    def _unload_loudly(self, _: dict[str, Any]) -> None:
        self._unload()
        self._emit("unloaded")

    def _set_adapter(self, message: dict[str, Any]) -> None:
        self._loaded()
        if self._adapter is None:
            raise UserError(tr("No other adapter can be put on this model."), "",
                            tr("Choose a GGUF file to put an adapter on."))
        try:
            self._adapter.set(message.get("path"), message.get("scale", 1.0))
        finally:
            self._emit("adapter", **self._adapter.state())

    def _loaded(self) -> Model:
        if self.model is None:
            raise UserError(tr("No model is loaded."), "", tr("Choose a model first."))
        return self.model

    def _count(self, message: dict[str, Any]) -> None:
        model, messages = self._loaded(), message["messages"]
        completion = bool(message.get("completion"))
        whole = len(_encode(model, messages, completion))
        try:
            prompt, dropped = self._fit(model, messages, message.get("max_tokens"), completion)
            fitted: int | None = len(prompt)
        except UserError:
            fitted, dropped = None, 0  # not even the last message fits, which the answer will say
        self._emit("count", tokens=whole, prompt_tokens=fitted, dropped_messages=dropped,
                   context_length=model.context_length, documents=_measured(model, message))

    def _generate(self, message: dict[str, Any]) -> None:
        self._current = message.get("id")
        settings = sampling.parse(message)
        try:
            self._answer(self._loaded(), message, settings)
        except CannotCompute:
            if self._on_card:  # whoever started this process loads the model on the processor, as after a crash
                sys.exit(1)
            raise
        finally:
            self._stopped.discard(self._current)

    def _answer(self, model: Model, message: dict[str, Any], settings: Sampling) -> None:
        started = time.monotonic()
        prompt, dropped = self._fit(model, message["messages"], settings.max_tokens, bool(message.get("completion")))
        room = model.context_length - len(prompt)
        out = _Outlet(lambda text: self._emit("token", id=self._current, text=text), settings.stop,
                      model.vocab.is_sentencepiece)
        prompt_end = b"".join(map(model.vocab.piece, prompt[-TAG_TOKENS:])).decode("utf-8", "replace")
        if tag := reply.opening_tag(prompt_end):  # so that whoever reads the answer knows where its thoughts are
            self._emit("token", id=self._current, text=f"{tag}\n")
        model.share_processor(busy=run_folder.running() is not None)
        reading = time.monotonic()
        cached = model.read(prompt, self._is_stopped)
        read = time.monotonic() - reading
        first = 0.0
        count, reason = 0, "length"
        with closing(model.draw(settings)) as tokens:
            while count < min(settings.max_tokens or room, room):
                if self._is_stopped():
                    reason = "stopped"
                    break
                token = next(tokens)
                first = first or time.monotonic()
                if model.vocab.ends(token):
                    reason = "stop"
                    break
                count += 1
                if out.add(model.vocab.piece(token)):
                    reason = "stop_string"
                    break
                if out.repeats():
                    reason = "repeated"
                    break
        spent = time.monotonic() - first if first else 0.0
        out.end(cut=reason == "stop_string")
        self._emit("done", id=self._current, reason=reason, prompt_tokens=len(prompt), cached_tokens=cached,
                   completion_tokens=count,
                   seconds_to_first_token=round(first - started, 3) if first else None,
                   prompt_tokens_per_second=round((len(prompt) - cached) / read, 1) if read > 0 else None,
                   tokens_per_second=round((count - 1) / spent, 1) if count > 1 and spent > 0 else None,
                   context_length=model.context_length, dropped_messages=dropped)

    def _fit(self, model: Model, messages: list[dict[str, Any]], max_tokens: int | None,
             completion: bool) -> tuple[list[int], int]:
        """As `_fit`, with what was kept to be shown with each question, as far as the conversation leaves room."""
        if self._assistant is None or completion or model.vocab.template is None:
            return _fit(model, messages, max_tokens, completion)
        takes_system = model.vocab.template.takes_system()
        messages = self._assistant.with_system(messages, takes_system)
        prompt, dropped = _fit(model, messages, max_tokens, False)
        if (rows := self._assistant.rows) is None:
            return prompt, dropped
        system = [message for message in messages[:1] if message["role"] == "system"]
        asked = rows.ask([*system, *messages[len(system) + dropped:]], lambda made: len(_encode(model, made, False)),
                         _prompt_room(model, max_tokens), takes_system)
        return _encode(model, asked.messages, False), dropped

    def _is_stopped(self) -> bool:
        return self._closing or self._current in self._stopped


class _Outlet:
    """Lets an answer's text out, whole characters only and nothing of a stop string."""

    def __init__(self, emit: Callable[[str], None], stops: tuple[str, ...], strip_space: bool):
        self._emit, self._text, self._stops = emit, Text(strip_space), StopStrings(stops)
        self._waiting, self._not_before = "", 0.0
        self._tail, self._new = "", 0

    def add(self, piece: bytes) -> bool:
        """One token's bytes. Returns whether a stop string was found."""
        shown, found = self._stops.add(self._text.add(piece))
        self._waiting += shown
        self._tail, self._new = (self._tail + shown)[-TAIL:], self._new + len(shown)
        now = time.monotonic()
        if self._waiting and now >= self._not_before:
            self._emit(self._waiting)
            self._waiting, self._not_before = "", now + EMIT_SECONDS
        return found

    def repeats(self) -> bool:
        """Whether the text says the same over and over. It is looked at once in a while."""
        if self._new < LOOK_CHARACTERS:
            return False
        self._new = 0
        return ends_in_loop(self._tail)

    def end(self, cut: bool) -> None:
        """Nothing follows.

        Args:
            cut: a stop string was found, and what may be left of it isn't let out.
        """
        if not cut:
            shown, found = self._stops.add(self._text.end())
            self._waiting += shown + ("" if found else self._stops.end())
        if self._waiting:
            self._emit(self._waiting)


def _fit(model: Model, messages: list[dict[str, str]], max_tokens: int | None,
         completion: bool) -> tuple[list[int], int]:
    """The prompt, and how many of the oldest messages were left out so that it fits. A system message always stays.

    Raises:
        UserError: not even the last message fits.
    """
    length, room = model.context_length, _prompt_room(model, max_tokens)
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = messages[len(system):]
    # A shorter conversation can begin at each of the user's messages.
    starts = [0, *(number for number in range(1, len(turns)) if turns[number]["role"] == "user")]
    low, high = 0, len(starts) - 1
    found: list[int] = []
    while low <= high:
        middle = (low + high) // 2 if found or low else 0  # most often all of it fits
        prompt = _encode(model, [*system, *turns[starts[middle]:]], completion)
        if len(prompt) <= room:
            found, dropped, high = prompt, starts[middle], middle - 1
        else:
            low = middle + 1
    if not found:
        raise UserError(tr("The message is too long for the context."),
                        tr("It has {tokens} tokens, and {room} of the context's {length} are free for it.",
                           tokens=len(prompt), room=room, length=length),
                        tr("Shorten it, or load the model with a longer context."))
    return found, dropped


def _prompt_room(model: Model, max_tokens: int | None) -> int:
    """How many tokens a prompt may have."""
    length = model.context_length
    return length - max(1, min(max_tokens or length, length // MIN_REPLY_SHARE))


def _measured(model: Model, message: dict[str, Any]) -> list[dict[str, int]]:
    """How much of each document of a "count" command fits beside its system prompt and its last message; the shortest
    ones come first, so that the longest is cut."""
    if not message.get("documents"):
        return []
    last = message["messages"][-1:]
    system = [each for each in message["messages"][:1] if each["role"] == "system" and each not in last]
    found: dict[int, dict[str, int]] = {}
    room = _prompt_room(model, message.get("max_tokens")) - SPARE_TOKENS - len(
        _encode(model, [*system, *last], bool(message.get("completion"))))
    for place, text in sorted(enumerate(message["documents"]), key=lambda each: len(each[1])):
        tokens, fitting, read = _fitting(model.vocab, text, room)
        found[place] = {"of": len(text), "read": read, "tokens": tokens, "left_out": tokens - fitting}
        room -= fitting
    return [found[place] for place in sorted(found)]


def _fitting(vocab: Vocab, text: str, room: int) -> tuple[int, int, int]:
    """The tokens of a text; and of its beginning that fits into `room` tokens, the tokens and the characters."""
    tokens = count = len(vocab.served(text))
    end = len(text)
    while count > max(0, room):
        end = conversation.cut_before(text, min(end - 1, int(end * max(0, room) / count)))
        count = len(vocab.served(text[:end])) if end > 0 else 0
    return tokens, count, max(0, end)


def _encode(model: Model, messages: list[dict[str, str]], completion: bool) -> list[int]:
    if completion:
        text = "".join(message["content"] for message in messages)
        if not text:
            raise UserError(tr("There is nothing to continue."), tr("The text is empty."), tr("Write how it begins."))
        return model.vocab.served(text)
    if model.vocab.template is None:
        raise UserError(tr("This model has no chat template."),
                        tr("The GGUF file has none, so there's no telling how it was trained to chat."),
                        tr("Choose an instruct model, or one that was exported here."))
    tokens = model.vocab.prompt(messages)
    if not tokens:
        raise UserError(tr("The chat template turns this conversation into an empty text."),
                        tr("The model would have nothing to read."), tr("Choose a model with a different chat "
                                                                        "template."))
    return tokens
