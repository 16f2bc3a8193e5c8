"""Who may come in: only requests that name this machine, and only with the key."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import socket
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from slmstudio.worker.serve.request import Refused

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
