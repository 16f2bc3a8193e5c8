"""The OpenAI-compatible server: an interactive worker that ends with whoever started it."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import h11
import uvicorn
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from slmstudio.core import serving
from slmstudio.core.chat import assistant
from slmstudio.core.chat.placement import Wish, cache_bytes, read_shape
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.lock import worker_lock
from slmstudio.core.model.gguf.model import read_sound_gguf
from slmstudio.worker.gguf_chat.service import DEFAULT_CONTEXT
from slmstudio.worker.model import placing
from slmstudio.worker.serve.engine import Engine
from slmstudio.worker.serve.http_api import Api
from slmstudio.worker.serve.request import Refused

# -- The socket at which the server listens: made before its process is locked, which then can make no other one.

BACKLOG = 256
_made: socket.socket | None = None


def prepare(message: dict[str, Any], emit: Callable[..., None]) -> bool:
    """Listen where a "start" command wants it. False: it can't be, which was said, and another command may come."""
    global _made
    try:
        if message.get("command") != "start":
            raise UserError(tr("No model is being served yet."), "", tr("Start the server first."))
        host, port = message.get("host") or serving.LOOPBACK, message.get("port")
        serving.check_host(host, bool(message.get("allow_network")))
        if not message.get("key"):
            raise UserError(tr("The server needs a key."), tr("Without one, any program could use it."),
                            tr("Make a new key."))
        _made = listen(host, serving.DEFAULT_PORT if port is None else port, search=port is None)
    except serving.PortInUse as error:
        emit("error", error=error.to_dict(), free_port=error.free_port)
    except UserError as error:
        emit("error", error=error.to_dict())
    return _made is not None


def taken() -> socket.socket | None:
    """The socket, for the one who serves at it."""
    global _made
    made, _made = _made, None
    return made


def listen(host: str, port: int, search: bool) -> socket.socket:
    """A socket that listens at the address, or at the next free port.

    Raises:
        serving.PortInUse: another program listens there.
        UserError: the address is none of this machine's.
    """
    while True:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if sys.platform != "win32":
            # Just after a stop the port is still remembered; on Windows the flag would let two programs share it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(BACKLOG)
            listener.setblocking(False)
            return listener
        except OSError as error:
            listener.close()
            free = serving.free_port(host, port + 1)
            refusal = serving.bind_error(error, host, port, free)
            if not search or free is None or not isinstance(refusal, serving.PortInUse):
                raise refusal from error
            port, search = free, False


# -- What one client may take from the others: the number of connections, the time for a request, the patience with a
# client that doesn't read. HTTP itself is read by h11, which is strict about lengths and framing.

MOST = 256
RESERVED_FILES = 128
"""Open files that the model, its libraries and the worker itself need."""
REQUEST_SECONDS = 10.0
READ_SECONDS = 60.0
HEADER_BYTES = 2**16


def most() -> int:
    """How many connections fit below this process's limit of open files. As many again may be accepted before the
    surplus is closed, and as many be closing."""
    if sys.platform == "win32":
        return MOST
    import resource

    return max(4, min(MOST, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - RESERVED_FILES) // 3))


@dataclass
class Limits:
    """What all connections of a server share.

    Attributes:
        request_seconds: for the headers of a request, and for the rest of a body that was refused unread.
        read_seconds: a client that takes nothing of its answer for this long has gone.
        idle: connections that wait for a request or for the rest of its body, the one that has waited longest first.
    """

    most: int = field(default_factory=most)
    request_seconds: float = REQUEST_SECONDS
    read_seconds: float = READ_SECONDS
    idle: dict[Connection, None] = field(default_factory=dict)


class Connection(H11Protocol):
    """One client's connection. uvicorn makes it with its own arguments, and `limits` beside them."""

    def __init__(self, *arguments: Any, limits: Limits, **named: Any):
        super().__init__(*arguments, **named)
        self._limits = limits
        self._late: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # `pause_writing` whenever the client hasn't read all
        while self._limits.idle and len(self.connections) > self._limits.most:
            next(iter(self._limits.idle)).drop()
        if len(self.connections) > self._limits.most:
            self.app = cast(Any, _busy)
        self._limits.idle[self] = None
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limits.idle.pop(self, None)
        self._forget_deadline()
        self.resume_writing()
        super().connection_lost(exc)

    def drop(self) -> None:
        self._limits.idle.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self._is_answering():
            self._expect_request()
        super().data_received(data)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self._is_answering():
            self._forget_deadline()  # the body has its own
            if self.conn.their_state is not h11.SEND_BODY:
                self._limits.idle.pop(self, None)
            elif self.cycle is not before and self in self._limits.idle:
                self._limits.idle[self] = self._limits.idle.pop(self)  # its wait begins here

    def on_response_complete(self) -> None:
        self._limits.idle[self] = None
        if self.conn.their_state is h11.SEND_BODY:
            self._expect_request()  # what still comes of a body that nobody wants is thrown away until then
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._limits.read_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_request(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self._limits.request_seconds, self._give_up)

    def _forget_deadline(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        """The request didn't come in time; whoever has begun one is told."""
        if self.conn.trailing_data[0] and self.conn.our_state is h11.IDLE:
            body = json.dumps(Refused(408, "The request did not arrive in time.", "timeout").to_dict()).encode()
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json"
                                 b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    error = Refused(503, "Every connection of the server is in use.", "too_many_connections", kind="server_error")
    await JSONResponse(error.to_dict(), 503, {"Retry-After": "1", "Connection": "close"})(scope, receive, send)


MAX_SLOTS = 4
CACHE_SHARE = 4
"""The caches of all slots take at most one part in this many of the memory that is free."""
STATUS_SECONDS = 0.25
KEEP_ALIVE_SECONDS = 30


class ServeService:
    """start {path, assistant, key, host, port, allow_network, context_length, parallel, device, gpu_layers} → serving,
    then status whenever it is different; stop → stopped. One process serves once: it listens before it is locked
    (`listening`)."""

    def __init__(self, emit: Callable[..., None]):
        self._emit = emit
        self._listener = taken()
        self._engine: Engine | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def handle(self, message: dict[str, Any]) -> None:
        """Raises UserError: the model can't be loaded, or the process has served already."""
        command = message.get("command")
        if command == "start":
            self._start(message)
        elif command == "stop":
            self._stop()
            self._emit("stopped")
        else:
            raise UserError(f"The server doesn't know the command {command!r}.")

    def interrupt(self, message: dict[str, Any]) -> bool:
        """"close" ends everything before the process ends: llama.cpp must not compute while it is taken down."""
        if message.get("command") == "close":
            self._stop()
        return False

    def _start(self, message: dict[str, Any]) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            raise UserError(tr("This server has ended."), tr("Its process is locked, so it can't start listening "
                                                             "again."),
                            tr("Start another server."))
        host, path, key = message.get("host") or serving.LOOPBACK, Path(message["path"]), message["key"]
        try:
            facts = read_sound_gguf(path)
            kept = assistant.of_model(Path(message.get("assistant") or path))
            _ = kept and kept.rows  # what is wrong with them is told now, and not to the first client
            wanted = message.get("context_length") or DEFAULT_CONTEXT
            length = min(wanted, facts.context_length or wanted)
            slots = message.get("parallel") or _slots(cache_bytes(read_shape(path), length))
            wish = replace(Wish.of(message), cache_type="f16")
            engine, placement = placing.load(path, length * slots, wish,
                                             lambda found: Engine(path, length, slots, found))
        except BaseException:
            listener.close()
            raise
        self._engine = engine
        api = Api(engine, path.stem, kept)
        self._server = server = _Server(api, key, host, listener, self._emit)
        self._thread = threading.Thread(target=server.run, name="http", daemon=True)
        self._thread.start()
        server.ready.wait()
        self._emit("serving", url=serving.url(host, listener.getsockname()[1]), host=host,
                   port=listener.getsockname()[1], model=api.name, pid=os.getpid(),
                   context_length=engine.context_length, parallel=slots,
                   chat_template=engine.vocab.template is not None, lock=worker_lock.state().to_dict(),
                   **placement.to_dict())

    def _stop(self) -> None:
        server, self._server = self._server, None
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
        if server is not None:
            server.should_exit = True
            assert self._thread is not None
            self._thread.join(2)


class _Server(uvicorn.Server):
    """uvicorn in a thread; it reports requests as they come."""

    def __init__(self, api: Api, key: str, host: str, listener: socket.socket, emit: Callable[..., None]):
        limits = Limits()
        super().__init__(uvicorn.Config(
            api.app(key, not serving.is_loopback(host)), log_config=None, access_log=False, lifespan="off", ws="none",
            http=cast(Any, functools.partial(Connection, limits=limits)), backlog=limits.most,
            server_header=False, proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1, h11_max_incomplete_event_size=HEADER_BYTES))
        self.ready = threading.Event()
        self._api, self._listener, self._emit = api, listener, emit

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.run(self._serve_and_tell())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def _serve_and_tell(self) -> None:
        telling = asyncio.create_task(self._report())
        try:
            await self.serve([self._listener])
        finally:
            telling.cancel()

    async def _report(self) -> None:
        """At most four times a second, however many requests come."""
        told: dict[str, Any] = {}
        while True:
            await asyncio.sleep(STATUS_SECONDS)
            now = {**asdict(self._api.status), "active": self._api.engine.active()}
            if now != told:
                told = now
                self._emit("status", **now)


def _slots(cache_bytes: int) -> int:
    import psutil

    return max(1, min(MAX_SLOTS, psutil.virtual_memory().available // CACHE_SHARE // max(1, cache_bytes)))


def create(emit: Callable[..., None]) -> ServeService:
    return ServeService(emit)
