"""Shows that the lock holds on this machine, now: a locked child really tries to get out (`trial`), and this process
listens where it tries to arrive."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.i18n import noop, tr
from slmstudio.core.jobs import processes
from slmstudio.core.lock import seccomp
from slmstudio.core.lock.worker_lock import LockState

# -- Whether a job ran locked, from its `lock` events: one for each time that its process was started.

LOCKED = noop("The system blocked its access to the network and to all files but its own.")
WITH_PEERS = noop("The system blocked its access to the network except to the machines that trained with it ({peers}), "
                  "and to all files but its own.")
NETWORK_ONLY = noop("The system blocked its access to the network. Files were open to it: {reason}.")
NO_LANDLOCK = noop("this kernel has no Landlock")
NOT_KNOWN = noop("Whether its access to the network was blocked isn't recorded.")


def sentence(events: Sequence[dict[str, Any]]) -> str:
    """One sentence or two on all starts of a job."""
    if not events:
        return tr(NOT_KNOWN)
    open_ = [event for event in events if event.get("enforced") is not True]
    if open_:
        reason = str(open_[-1].get("reason") or tr("The reason isn't recorded."))
        if len(open_) == len(events):
            return tr("Its access to the network wasn't blocked: {reason}", reason=reason)
        return tr("Its access to the network wasn't blocked in {open:,} of {events:,} starts: {reason}",
                  open=len(open_), events=len(events), reason=reason)
    with_peers = [event["peers"] for event in events if event.get("peers")]
    reasons = [event.get("files_open") or tr(NO_LANDLOCK) for event in events if not event.get("landlock")]
    if reasons:
        return tr(NETWORK_ONLY, reason=reasons[-1])
    return tr(WITH_PEERS, peers=", ".join(map(str, with_peers[-1]))) if with_peers else tr(LOCKED)


SECONDS = 60.0
NOT_LINUX = noop("This system has no lock that a program can apply to itself without special rights. The network "
                 "lock works only on Linux.")


@dataclass(frozen=True)
class Attempt:
    """One way out that was tried.

    Attributes:
        network: whether it leads to the network or to another program; otherwise to files or into the system.
        blocked: whether it was refused.
        gave: the system's answer.
    """

    what: str
    network: bool
    blocked: bool
    gave: str


@dataclass(frozen=True)
class Proof:
    """What was tried, and what came of it.

    Attributes:
        enforced: whether the lock is on and every way to the network was refused.
        files: whether every way to files outside was refused, too.
        state: what the child said about its lock.
        arrived: what reached this process's own sockets: nothing, where it is enforced.
        log: how the attempts are named in a worker's log.
        reason: why it isn't enforced; "" if it is.
    """

    enforced: bool
    files: bool
    state: LockState
    attempts: tuple[Attempt, ...] = ()
    arrived: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def prove(locked: bool = True) -> Proof:
    """Start the child and let it try. Takes about a second; on another system than Linux, nothing is started.

    Args:
        locked: False lets it try without a lock: what the attempts give then is what the lock prevents.
    """
    if seccomp.here() is None:
        return Proof(False, False, LockState(reason=tr(NOT_LINUX)), reason=tr(NOT_LINUX))
    try:
        return _prove(locked)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = tr("The lock couldn't be tested: {reason}", reason=error)
        return Proof(False, False, LockState(reason=reason), reason=reason)


def _prove(locked: bool) -> Proof:
    with (tempfile.TemporaryDirectory(prefix="slmstudio-proof-") as name, socket.create_server(("127.0.0.1", 0)) as tcp,
          socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket(socket.AF_UNIX) as unix):
        place, port = Path(name), tcp.getsockname()[1]
        inside, outside = place / "inside", place / "outside"
        inside.write_text("inside")
        outside.write_text("outside")
        udp.bind(("127.0.0.1", port))
        unix.bind(str(place / "socket"))
        unix.listen()
        request = {"lock": locked, "inside": str(inside), "outside": str(outside), "port": port,
                   "socket": str(place / "socket")}
        done = subprocess.run([sys.executable, "-P", "-m", "slmstudio.core.lock.trial"], input=json.dumps(request),
                              capture_output=True, text=True, timeout=SECONDS,
                              env=processes.worker_environment())
        if done.returncode != 0:
            raise ValueError(f"the locked process ended with {done.returncode}. {done.stderr.strip()[-300:]}")
        said = json.loads(done.stdout)
        reached = select.select([tcp, udp, unix], [], [], 0)[0]
        arrived = [name for name, each in (("TCP", tcp), ("UDP", udp), (tr("a Unix socket"), unix)) if each in reached]
        wrote = os.path.exists(f"{outside}.new")
    state = LockState(**said["state"])
    attempts = tuple(Attempt(**each) for each in said["attempts"])
    through = [each.what for each in attempts if each.network and not each.blocked]
    enforced = state.enforced and not through and not arrived
    reason = "" if enforced else state.reason or tr("These attempts weren't blocked: {attempts}.",
                                                    attempts=", ".join(through or arrived))
    return Proof(enforced, all(each.blocked for each in attempts if not each.network) and not wrote, state, attempts,
                 (*arrived, *([tr("a file")] if wrote else [])), tuple(done.stderr.splitlines()), reason)
