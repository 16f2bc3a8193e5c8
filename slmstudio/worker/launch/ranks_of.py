"""Starts the processes of this machine by torchrun's elastic agent, and waits for their end.

Its rendezvous is the static one, over a store that this program opens itself: so it listens at one address alone,
which nobody else can reach where the run has one machine.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from torch.distributed import DistError, PrefixStore, Store, TCPStore
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.jobs import processes
from slmstudio.core.lock import warden
from slmstudio.core.run import launch
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.runtime import ending
from slmstudio.worker.runtime.context import Cancelled, JobContext

# -- The machines of a run meet at torchrun's store on the first one: each says its address, because the processes of
# the others may connect to no other (`core.lock.warden`). Then torchrun's own rendezvous takes place there.

CONNECT_SECONDS = 20.0
LOOK_SECONDS = 0.25
WAIT_SECONDS = 3600.0


def meet(job: JobContext, launched: launch.Launch, number: int) -> Meeting:
    """Wait until each machine of the run has come.

    Args:
        number: of this machine, 0 for the first one.

    Raises:
        UserError: the first machine can't be reached, another machine has this number, or not all came in time.
        Cancelled: the user asked for it.
    """
    wanted = launched.config.nodes
    if number == 0:
        address, first = launched.host, launched.host
        store: Store = open_store(launched.host, launched.port)
    else:
        job.phase("looking for the first machine", launched.address)
        address, first, store = _connect(job, launched)
    room = PrefixStore(f"machines/{launched.id}", store)
    try:
        if room.check([str(number)]):
            raise UserError(tr("Machine {number} of this run is there already.", number=number + 1), "",
                            tr("Give each machine another number, from 2 to {count}, with --machine.", count=wanted))
        room.set(str(number), address)
        try:
            _wait_for_all(job, room, wanted, job.folder / launch.FILE if number == 0 else None)
        except Cancelled:
            room.delete_key(str(number))
            raise
        peers = tuple(checked_address(room.get(str(each)).decode(), address) for each in range(wanted))
    except DistError as error:
        raise UserError(tr("The first machine is no longer waiting: the run was ended there, or the connection "
                           "was lost."), "", tr("Start the run on that machine again, then join again.")) from error
    except ValueError as error:
        raise UserError(tr("A machine names an address that doesn't belong to another machine."), str(error),
                        tr("Look at the network between the machines, and start again on all of them.")) from error
    return Meeting(store, first, launched.port, launched.id, address, number, peers)


def _wait_for_all(job: JobContext, room: Store, wanted: int, file: Path | None) -> None:
    """Wait until all `wanted` machines have come; `file` is the launch.json that they need, on the first one."""
    before, deadline = 0, time.monotonic() + WAIT_SECONDS
    while (there := sum(room.check([str(each)]) for each in range(wanted))) < wanted:
        job.check_cancelled()
        if there != before:
            before = there
            if file is not None:
                job.emit("machines", joined=there, wanted=wanted, file=str(file))
            job.phase("waiting for machines", tr("{count} of {wanted} have joined", count=there, wanted=wanted))
        if time.monotonic() > deadline:
            raise UserError(ntr("Only {n:,} machine of {wanted} joined within an hour.",
                                "Only {n:,} machines of {wanted} joined within an hour.", there, wanted=wanted), "",
                            tr("Start it again when the others are ready."))
        time.sleep(LOOK_SECONDS)
    if file is not None:
        job.emit("machines", joined=wanted, wanted=wanted)


def _connect(job: JobContext, launched: launch.Launch) -> tuple[str, str, Store]:
    """This machine's own address on the way to the first one, that one's, and its store.

    Raises:
        UserError: it can't be reached.
        Cancelled: the user asked for it.
    """
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            with socket.create_connection((launched.host, launched.port), CONNECT_SECONDS) as trial:
                own, first = str(trial.getsockname()[0]), str(trial.getpeername()[0])
            return own, first, TCPStore(first, launched.port, None, False, timedelta(seconds=CONNECT_SECONDS),
                                        wait_for_workers=False)
        except (OSError, DistError) as error:
            if not isinstance(error, ConnectionRefusedError) or time.monotonic() > deadline:
                raise UserError(
                    tr("The first machine can't be reached at {address}: {error}.", address=launched.address,
                       error=getattr(error, "strerror", None) or str(error)),
                    tr("It isn't waiting, it has another address now, or a firewall is blocking the connection."),
                    tr("Start the run there, and open TCP port {port} on it for this machine.", port=launched.port)
                ) from error
        job.check_cancelled()
        time.sleep(LOOK_SECONDS)  # it shows the command before it waits


def checked_address(text: str, own: str) -> str:
    """The address that a machine says to be its own, as numbers: the processes here may connect to it.

    Args:
        own: address by which this machine takes part; where it's this machine's loopback, others may be too.

    Raises:
        ValueError: it isn't one address, or it leads to this machine itself, or to nobody in particular.
    """
    found = ipaddress.ip_address(text)
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:  # may hold anything
            raise ValueError(f"{text!r} names an interface")
        found = found.ipv4_mapped or found
    if found.is_unspecified or found.is_multicast or (
            found.is_loopback and not ipaddress.ip_address(own).is_loopback):
        raise ValueError(f"{text!r} isn't another machine's address")
    return str(found)


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
    settings = LaunchConfig(
        min_nodes=config.nodes, max_nodes=config.nodes, nproc_per_node=config.processes, run_id=meeting.id,
        rdzv_backend="static", rdzv_endpoint=f"{meeting.host}:{meeting.port}", rdzv_configs=asked, max_restarts=0,
        shutdown_timeout=LEAVING_SECONDS)
    with _environment(config, meeting):
        try:
            elastic_launch(settings, command[0])(*command[1:])
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
