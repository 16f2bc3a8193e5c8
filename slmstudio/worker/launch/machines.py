"""The machines of a run meet at torchrun's store on the first one: each says its address, because the processes of the
others may connect to no other (`core.lock.warden`). Then torchrun's own rendezvous takes place there."""

from __future__ import annotations

import ipaddress
import socket
import time
from datetime import timedelta
from pathlib import Path

from torch.distributed import DistError, PrefixStore, Store, TCPStore

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.run import launch
from slmstudio.worker.launch import ranks_of
from slmstudio.worker.runtime.context import Cancelled, JobContext

CONNECT_SECONDS = 20.0
LOOK_SECONDS = 0.25
WAIT_SECONDS = 3600.0


def meet(job: JobContext, launched: launch.Launch, number: int) -> ranks_of.Meeting:
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
        store: Store = ranks_of.open_store(launched.host, launched.port)
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
    return ranks_of.Meeting(store, first, launched.port, launched.id, address, number, peers)


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
