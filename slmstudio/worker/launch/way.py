"""The way from another machine to the first one of a run: who answers there, and what is in between."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta

from torch.distributed import DistError, Store, TCPStore

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import together, tr

CONNECT_SECONDS = 20.0
AGAIN_SECONDS = 1.0


def reach(host: str, port: int) -> tuple[str, str]:
    """This machine's own address on the way to the first one, and that one's.

    Raises:
        UserError: nobody answers there, with the reason as far as it can be told.
    """
    remedy = tr("Check the address, and that the first machine is waiting.")
    try:
        return _knock(host, port)
    except socket.gaierror as error:
        raise UserError(tr("{host} can't be found: it isn't the name or address of a known machine.",
                           host=host), "", remedy) from error
    except TimeoutError as error:
        raise UserError(tr("{host}:{port} didn't answer within {seconds:.0f} seconds: the machine is off, or a "
                           "firewall is blocking the connection.", host=host, port=port, seconds=CONNECT_SECONDS),
                        "",
                        together(tr("Open TCP port {port} on the first machine for this one.", port=port),
                                 remedy)) from error
    except ConnectionRefusedError as error:
        raise UserError(tr("Nothing is waiting at {host}:{port}: the first machine hasn't started the run, or has "
                           "ended it.", host=host, port=port), "", remedy) from error
    except OSError as error:
        raise UserError(tr("{host}:{port} can't be reached: {error}.", host=host, port=port,
                           error=error.strerror), "", remedy) from error


def _knock(host: str, port: int) -> tuple[str, str]:
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            with socket.create_connection((host, port), CONNECT_SECONDS) as trial:
                return str(trial.getsockname()[0]), str(trial.getpeername()[0])
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(AGAIN_SECONDS)  # it shows the command before it waits


def connect(host: str, port: int) -> Store:
    """Raises UserError: what answers there isn't the first machine of a run."""
    found: list[Store] = []

    def ask() -> None:
        with suppress(DistError, RuntimeError):
            found.append(TCPStore(host, port, None, False, timedelta(seconds=CONNECT_SECONDS), wait_for_workers=False))

    # It waits without end for a program that takes the connection and says nothing.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not found:
        raise UserError(tr("What answers at {host}:{port} isn't SLM Studio waiting for machines.", host=host,
                           port=port), "", tr("Check the address and the port."))
    return found[0]
