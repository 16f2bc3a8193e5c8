"""The socket at which the server listens: made before its process is locked, which then can make no other one.

Light: imported before everything else.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any

from slmstudio.core import serving
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

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
