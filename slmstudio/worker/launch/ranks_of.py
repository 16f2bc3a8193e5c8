"""Starts the processes of this machine by torchrun's elastic agent, and waits for their end.

Its rendezvous is the static one, over a store that this program opens itself: so it listens at one address alone,
which nobody else can reach where the run has one machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from torch.distributed import DistError, Store, TCPStore
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import processes
from slmstudio.core.lock import warden
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime import ending

SECONDS = 30
"""That machines wait for each other, and processes for the store."""
LEAVING_SECONDS = 5
"""That the other processes have to end once one of them has."""
NO_UNIX_SOCKETS = {"NCCL_CUMEM_ENABLE": "0", "NCCL_CUMEM_HOST_ENABLE": "0"}
"""NCCL's newer ways to share memory hand it over by Unix sockets, which the processes' lock refuses."""
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Meeting:
    """Where the processes of a run find each other.

    Attributes:
        host, port: of the store, on the first machine.
        id: of this start of the run.
        address: this machine's own, on the way to the others.
        peers: addresses of all machines, which their processes may connect to.
        store: which the first machine serves as long as this exists.
    """

    store: Store
    host: str
    port: int
    id: str
    address: str
    node: int = 0
    peers: tuple[str, ...] = ()


def open_store(host: str, port: int = 0) -> TCPStore:
    """The store by which processes and machines find each other, at one address of this machine alone.

    Raises:
        UserError: it can't listen there.
    """
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise UserError(tr("This machine can't wait for others at {host}:{port}.", host=host, port=port),
                        tr("The system says: {strerror}.", strerror=error.strerror),
                        tr("Choose another port, or another address of this machine.")) from error
    return TCPStore(host, listener.getsockname()[1], None, True, timedelta(seconds=SECONDS), wait_for_workers=False,
                    multi_tenant=True, master_listen_fd=listener.detach())


def _interface_of(address: str) -> str:
    """The name of the network interface with this address; "" if none has it, or the libraries don't take names."""
    if os.name == "nt":
        return ""
    return next((name for name, each in psutil.net_if_addrs().items()
                 if any(address == found.address for found in each)), "")


def train(folder: Path, config: RunConfig, meeting: Meeting) -> dict[int, int]:
    """Run this machine's processes to their end.

    Returns:
        The exit statuses of those that failed, by rank, less than 0 for a signal; empty if all did their work.

    Raises:
        UserError: the other machines didn't come to the meeting.
        SignalException: somebody asked this process to end. The processes have ended.
    """
    command = [*processes.worker_command(), str(folder)]
    asked: dict[str, Any] = {"rank": meeting.node, "timeout": SECONDS}
    launch = LaunchConfig(
        min_nodes=config.nodes, max_nodes=config.nodes, nproc_per_node=config.processes, run_id=meeting.id,
        rdzv_backend="static", rdzv_endpoint=f"{meeting.host}:{meeting.port}", rdzv_configs=asked, max_restarts=0,
        shutdown_timeout=LEAVING_SECONDS)
    with _environment(config, meeting):
        try:
            elastic_launch(launch, command[0])(*command[1:])
        except ChildFailedError as error:
            return {rank: failure.exitcode for rank, failure in error.failures.items()}
        except DistError as error:
            raise UserError(tr("The machines didn't find each other within {seconds} seconds.", seconds=SECONDS),
                            tr("A machine that had joined is gone, or the network between them broke."),
                            tr("Look at the other machines, and start again on all of them.")) from error
    return {}


def end_by(error: SignalException) -> None:
    """End as the signal would have ended this process at once."""
    signal.signal(error.sigval, signal.SIG_DFL)
    os.kill(os.getpid(), error.sigval)


@contextlib.contextmanager
def _environment(config: RunConfig, meeting: Meeting) -> Iterator[None]:
    """What the processes are given beside torchrun's own variables."""
    given = {ending.AGENT: str(os.getpid()), ending.ADDRESS: meeting.address,
             warden.PEERS_VARIABLE: ",".join(meeting.peers or (meeting.address,)), **NO_UNIX_SOCKETS}
    if "OMP_NUM_THREADS" not in os.environ:
        cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
        given["OMP_NUM_THREADS"] = str(max(1, cores // config.processes))
    if interface := _interface_of(meeting.address):
        given |= {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": f"={interface}"}
    before = dict(os.environ)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
