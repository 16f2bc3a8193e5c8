"""What one client may take from the others: the number of connections, the time for a request, the patience with a
client that doesn't read. HTTP itself is read by h11, which is strict about lengths and framing.

Every client comes from the same machine, so they can't be told apart before they give the key. What can be told is who
has asked for something: connections without a whole request, whose body may still be coming, make room for new ones,
the one that has waited longest first.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from typing import Any, cast

import h11
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from slmstudio.worker.serve.request import Refused

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
