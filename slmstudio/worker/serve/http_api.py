"""OpenAI's endpoints over an `Engine`: /v1/models, /v1/chat/completions, /v1/completions, and /health."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import json
import secrets
import socket
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from slmstudio.core.chat.assistant import Assistant
from slmstudio.core.errors import UserError
from slmstudio.worker.gguf_chat.generation import End, Generation, Piece
from slmstudio.worker.serve.engine import Engine, TooManyRequests
from slmstudio.worker.serve.request import ChatRequest, Common, CompletionRequest, Refused, parse

# -- Who may come in: only requests that name this machine, and only with the key.

OPEN_PATHS = ("/health",)


class Guard:
    """Wraps an ASGI application.

    A web page can let a name of its own point to 127.0.0.1 and then talk to what listens there (DNS rebinding), so a
    request that names another host is refused. No CORS header is ever sent, so no page can read an answer.

    Args:
        beyond_loopback: other machines may come too, by this machine's address or name.
        refused: hears what is said to those who are turned away.
    """

    def __init__(self, app: ASGIApp, key: str, beyond_loopback: bool, refused: Any):
        self._app, self._beyond, self._refused = app, beyond_loopback, refused
        self._digest = _digest(key.encode())
        self._names = {"localhost"}
        if beyond_loopback:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        error = self._problem(scope["path"], headers)
        if b"content-length" in headers and b"transfer-encoding" in headers:
            # Where the request ends can be read in two ways; what follows must not be taken for another one.
            error = Refused(400, "Content-Length and Transfer-Encoding exclude each other.", "invalid_request")
        if error is None:
            return await self._app(scope, receive, send)
        self._refused(error)
        extra = {400: {"Connection": "close"}, 401: {"WWW-Authenticate": "Bearer"}}.get(error.status)
        await JSONResponse(error.to_dict(), error.status, extra)(scope, receive, send)

    def _problem(self, path: str, headers: dict[bytes, bytes]) -> Refused | None:
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_us(host):
            return Refused(403, "This server doesn't answer to that host name. Use 127.0.0.1.", "host_not_allowed")
        if path in OPEN_PATHS:
            return None
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not given.strip():
            return Refused(401, "No API key was given. Send it as: Authorization: Bearer KEY.", "missing_api_key",
                           kind="authentication_error")
        if not secrets.compare_digest(_digest(given.strip()), self._digest):
            return Refused(401, "The API key is wrong. The Results tab and the command `serve` show the right one.",
                           "invalid_api_key", kind="authentication_error")
        return None

    def _is_us(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]").rstrip(".").lower()
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._beyond or address.is_loopback


def _digest(key: bytes) -> bytes:
    """A digest of fixed length, so that comparing takes the same time whatever was sent."""
    return hashlib.sha256(key).digest()


# -- Answers in the shape of OpenAI's objects.


class Form:
    """How /v1/completions words its answers."""

    param = "prompt"
    prefix, whole_object, part_object = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str):
        self._head = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, text: str, reason: str, usage: dict[str, Any]) -> dict[str, Any]:
        choice = {"index": 0, **self._content(text), "logprobs": None, "finish_reason": reason}
        return {**self._head, "object": self.whole_object, "choices": [choice], "usage": usage}

    def first(self) -> dict[str, Any] | None:
        return None

    def part(self, text: str) -> dict[str, Any]:
        return self._chunk([{"index": 0, **self._delta(text), "logprobs": None, "finish_reason": None}])

    def last(self, reason: str) -> dict[str, Any]:
        return self._chunk([{"index": 0, **self._delta(None), "logprobs": None, "finish_reason": reason}])

    def usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        return {**self._chunk([]), "usage": usage}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": self.part_object, "choices": choices}

    def _content(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _delta(self, text: str | None) -> dict[str, Any]:
        return {"text": text or ""}


class ChatForm(Form):
    """How /v1/chat/completions words them."""

    param = "messages"
    prefix, whole_object, part_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def first(self) -> dict[str, Any]:
        return self._chunk([{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None,
                             "finish_reason": None}])

    def _content(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def _delta(self, text: str | None) -> dict[str, Any]:
        return {"delta": {} if text is None else {"content": text}}


BYTES_PER_TOKEN = 64
"""No prompt needs more bytes for a token of it than this, markup included."""
RESERVED = 512
"""Tokens that rows to look up leave for an answer, where a client doesn't say how long it may be."""
MIN_BODY, MAX_BODY = 2**18, 2**24
DRAINED = 2**26
"""This much of a body that is too large is read and thrown away, so that the client hears why it was refused."""
BODY_SECONDS = 30.0
GONE = 499
"""Nobody hears it: the client has gone away."""


@dataclass
class Status:
    """What the window shows of the server.

    Attributes:
        served: requests that were answered in full.
        refused: requests that weren't.
        last_error: what was said to the last one of those.
    """

    served: int = 0
    refused: int = 0
    last_error: str = ""

    def fail(self, error: Refused) -> None:
        self.refused += 1
        self.last_error = error.message


@dataclass
class Api:
    """The endpoints.

    Attributes:
        assistant: what is shown with each question of a chat, if the user has kept something.
    """

    engine: Engine
    name: str
    assistant: Assistant | None = None
    status: Status = field(default_factory=Status)
    created: int = field(default_factory=lambda: int(time.time()))
    _watchers: set[asyncio.Task[None]] = field(default_factory=set)

    def app(self, key: str, beyond_loopback: bool) -> Guard:
        routes = [Route("/health", self.health), Route("/v1/models", self.models),
                  Route("/v1/models/{name:path}", self.model),
                  Route("/v1/chat/completions", self.chat, methods=["POST"]),
                  Route("/v1/completions", self.complete, methods=["POST"])]
        handlers = {Refused: self._refuse, HTTPException: self._no_such_path, ClientDisconnect: _gone,
                    Exception: self._defect}
        return Guard(Starlette(routes=routes, exception_handlers=handlers), key, beyond_loopback, self.status.fail)

    # -- endpoints -------------------------------------------------------------------------------------------

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        self._check_model(request.path_params["name"])
        return JSONResponse(self._model())

    async def chat(self, request: Request) -> Response:
        wanted: ChatRequest = parse(await self._body(request), ChatRequest)
        self._check_model(wanted.model)
        prompt = await asyncio.to_thread(self._chat_prompt, wanted)
        return await self._answer(request, wanted, prompt, ChatForm(self.name))

    async def complete(self, request: Request) -> Response:
        wanted: CompletionRequest = parse(await self._body(request), CompletionRequest)
        self._check_model(wanted.model)
        prompt = await asyncio.to_thread(self.engine.vocab.served, str(wanted.prompt))
        return await self._answer(request, wanted, prompt, Form(self.name))

    # -- what they share -------------------------------------------------------------------------------------

    def _model(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": self.created, "owned_by": "slm-studio",
                "context_length": self.engine.context_length}

    def _check_model(self, name: str) -> None:
        if name != self.name:
            raise Refused(404, f"There is no model {name[:100]!r} here. This server has {self.name!r}.",
                          "model_not_found", "model")

    async def _body(self, request: Request) -> bytes:
        """
        Raises:
            Refused: it is larger than any prompt that fits, or doesn't come.
        """
        most = max(MIN_BODY, min(MAX_BODY, self.engine.context_length * BYTES_PER_TOKEN))
        size, parts = 0, []
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    size += len(part)
                    if size <= most:
                        parts.append(part)
                    elif size > DRAINED:
                        break
        except TimeoutError as error:
            raise Refused(408, "The request did not arrive in time.", "timeout") from error
        if size > most:
            raise Refused(413, f"The request is larger than {most:,} bytes, so it can't fit into the context of "
                          f"{self.engine.context_length:,} tokens. Shorten the messages.", "context_length_exceeded",
                          "messages")
        return b"".join(parts)

    def _chat_prompt(self, wanted: ChatRequest) -> list[int]:
        template = self.engine.vocab.template
        if template is None:
            raise Refused(400, "The model has no chat template. Use /v1/completions, or an instruct model.",
                          "no_chat_template")
        try:
            messages, vocab = [message.plain() for message in wanted.messages], self.engine.vocab
            if self.assistant is None:
                return vocab.prompt(messages)
            room = self.engine.context_length - min(wanted.limit() or RESERVED, self.engine.context_length // 2)
            return vocab.prompt(self.assistant.ask(messages, lambda made: len(vocab.prompt(made)), room,
                                                   template.takes_system()))
        except UserError as error:
            raise Refused(400, str(error), "chat_template_refused", "messages") from error

    async def _answer(self, request: Request, wanted: Common, prompt: list[int], form: Form) -> Response:
        room = self.engine.context_length - len(prompt)
        if room < 1 or not prompt:
            if not prompt:
                raise Refused(400, "The prompt is empty.", "empty_prompt", "prompt")
            raise Refused(400, f"The context holds {self.engine.context_length:,} tokens, and the prompt alone has "
                          f"{len(prompt):,}. Shorten the messages.", "context_length_exceeded", form.param)
        events: asyncio.Queue[Piece | End] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def hear(event: Piece | End) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        generation = Generation(prompt, wanted.sampling(room), hear,
                                strip_space=isinstance(form, ChatForm) and self.engine.vocab.is_sentencepiece)
        try:
            self.engine.submit(generation)
        except TooManyRequests as error:
            raise Refused(429, str(error), "too_many_requests", kind="rate_limit_error") from error
        watcher = asyncio.create_task(_cancel_with_client(request, generation))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        if wanted.stream:
            usage = wanted.stream_options is not None and bool(wanted.stream_options.include_usage)
            return StreamingResponse(self._stream(generation, watcher, events, form, usage),
                                     media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        return await self._whole(generation, watcher, events, form)

    async def _whole(self, generation: Generation, watcher: asyncio.Task[None], events: asyncio.Queue[Piece | End],
                     form: Form) -> Response:
        text = ""
        with _until_the_end(generation, watcher):
            while isinstance(event := await events.get(), Piece):
                text += event.text
        if event.reason == "cancelled":
            return Response(status_code=GONE)
        if event.error is not None:
            raise Refused(503, str(event.error), "not_finished", kind="server_error")
        self.status.served += 1
        return JSONResponse(form.whole(text, event.reason, _usage(generation, event)))

    async def _stream(self, generation: Generation, watcher: asyncio.Task[None], events: asyncio.Queue[Piece | End],
                      form: Form, with_usage: bool) -> AsyncIterator[bytes]:
        with _until_the_end(generation, watcher):
            if (first := form.first()) is not None:
                yield _event(first)
            while isinstance(event := await events.get(), Piece):
                yield _event(form.part(event.text))
            if event.error is not None:
                error = Refused(503, str(event.error), "not_finished", kind="server_error")
                self.status.fail(error)
                yield _event(error.to_dict())
                return
            yield _event(form.last(event.reason))
            if with_usage:
                yield _event(form.usage(_usage(generation, event)))
            self.status.served += event.reason != "cancelled"
            yield b"data: [DONE]\n\n"

    # -- errors ----------------------------------------------------------------------------------------------

    async def _refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        self.status.fail(error)
        return JSONResponse(error.to_dict(), error.status)

    async def _no_such_path(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return await self._refuse(request, Refused(
            error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}.", "unknown_path"))

    async def _defect(self, request: Request, error: Exception) -> Response:
        traceback.print_exception(error)
        return await self._refuse(request, Refused(500, "Something went wrong in SLM Studio itself.",
                                                   kind="server_error"))


async def _cancel_with_client(request: Request, generation: Generation) -> None:
    """A client that goes away ends its answer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    generation.cancel()


@contextlib.contextmanager
def _until_the_end(generation: Generation, watcher: asyncio.Task[None]) -> Iterator[None]:
    """However the answer ends, nothing of it keeps running."""
    try:
        yield
    finally:
        watcher.cancel()
        generation.cancel()


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=GONE)


def _usage(generation: Generation, end: End) -> dict[str, Any]:
    prompt = len(generation.prompt)
    return {"prompt_tokens": prompt, "completion_tokens": end.tokens, "total_tokens": prompt + end.tokens,
            "prompt_tokens_details": {"cached_tokens": end.cached}}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"
