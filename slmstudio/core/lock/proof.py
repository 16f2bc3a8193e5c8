"""Shows that the lock holds on this machine, now: a locked child really tries to get out, as hostile code in a worker
would, and this process listens where it tries to arrive.

    python -P -m slmstudio.core.lock.proof < REQUEST

is the child. REQUEST is a JSON object: {"lock": whether to lock itself first, "inside", "outside": files, "port": at
which the parent listens on this machine by TCP and UDP, "socket": path of a Unix socket at which it listens}. It prints
one JSON object: {"state": `LockState.to_dict()`, "attempts": [{"what", "network", "blocked", "gave"}]}.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import i18n
from slmstudio.core.i18n import noop, tr
from slmstudio.core.jobs import processes
from slmstudio.core.lock import seccomp, worker_lock
from slmstudio.core.lock.seccomp import syscall
from slmstudio.core.lock.worker_lock import LockState

# -- The child.

REFUSED = (errno.EACCES, errno.EPERM, errno.ENOSYS)
ATTEMPT_SECONDS = 2.0
CHILD = "import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
_PTRACE_ATTACH = 16
_NEW_USER_AND_NETWORK = 0x50000000


def try_to_escape() -> int:
    i18n.use()  # before the lock closes the files
    request = json.loads(sys.stdin.read())
    state = LockState(reason=tr("The lock wasn't requested."))
    if request["lock"]:
        state = worker_lock.install("trial", {"path": request["inside"]})
    attempts = [_made(what, network, attempt) for what, network, attempt in _attempts(request)]
    print(json.dumps({"state": state.to_dict(), "attempts": attempts}))
    return 0


def _made(what: str, network: bool, attempt: Callable[[], object]) -> dict[str, Any]:
    try:
        attempt()
    except socket.gaierror as error:  # no address at all; why, the library doesn't say
        return {"what": what, "network": network, "blocked": True, "gave": str(error.strerror)}
    except OSError as error:
        return {"what": what, "network": network, "blocked": error.errno in REFUSED,
                "gave": errno.errorcode.get(error.errno or 0, str(error))}
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:] or [tr("exit status {code}", code=error.returncode)]
        return {"what": what, "network": network, "blocked": "PermissionError" in last[0], "gave": last[0][:160]}
    return {"what": what, "network": network, "blocked": False, "gave": tr("it worked")}


def _attempts(request: dict[str, Any]) -> list[tuple[str, bool, Callable[[], object]]]:
    import resource  # Windows, where nothing is tried, has none

    port, streams, datagrams = request["port"], socket.SOCK_STREAM, socket.SOCK_DGRAM
    parent = os.getppid()
    processor = seccomp.here() or seccomp.X86_64
    vsock, netlink, packet = getattr(socket, "AF_VSOCK", 40), getattr(socket, "AF_NETLINK", 16), 17
    python = [sys.executable, "-P", "-c", CHILD.format(port=port)]
    return [
        (tr("TCP to this machine, port {port}", port=port), True, lambda: _connect("127.0.0.1", port)),
        (tr("TCP to {address}", address=worker_lock.NOWHERE), True, lambda: _connect(worker_lock.NOWHERE, 80)),
        (tr("TCP over IPv6"), True, lambda: _connect("::1", port)),
        (tr("UDP to this machine, port {port}", port=port), True, lambda: _send("127.0.0.1", port)),
        (tr("UDP to {address}", address=worker_lock.NOWHERE), True, lambda: _send(worker_lock.NOWHERE, 53)),
        (tr("a raw socket"), True, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()),
        (tr("a packet socket"), True, lambda: socket.socket(packet, socket.SOCK_RAW).close()),
        (tr("the kernel's network settings (netlink)"), True, lambda: socket.socket(netlink, socket.SOCK_RAW).close()),
        (tr("a socket to the virtual machine's host"), True, lambda: socket.socket(vsock, streams).close()),
        (tr("looking up a name (DNS)"), True, lambda: socket.getaddrinfo("slmstudio.invalid", 443)),
        (tr("another program's Unix socket"), True, lambda: _connect_unix(request["socket"])),
        (tr("a Unix datagram socket"), True, lambda: socket.socket(socket.AF_UNIX, datagrams).close()),
        ("io_uring", True, lambda: syscall(processor, "io_uring_setup", 8, ctypes.create_string_buffer(120))),
        (tr("a child process: TCP to this machine"), True,
         lambda: subprocess.run(python, check=True, capture_output=True, text=True)),
        (tr("a thread in another namespace (unshare)"), False,
         lambda: syscall(processor, "unshare", _NEW_USER_AND_NETWORK)),
        (tr("reaching into the parent process (ptrace)"), False,
         lambda: syscall(processor, "ptrace", _PTRACE_ATTACH, parent, 0, 0)),
        # What the parent process has already: where nothing is refused, nothing changes.
        (tr("the parent process's limits (prlimit)"), False,
         lambda: resource.prlimit(parent, resource.RLIMIT_CPU, resource.getrlimit(resource.RLIMIT_CPU))),
        (tr("the parent process's priority (setpriority)"), False,
         lambda: os.setpriority(os.PRIO_PROCESS, parent, os.getpriority(os.PRIO_PROCESS, parent))),
        (tr("the parent process's processor cores (sched_setaffinity)"), False,
         lambda: os.sched_setaffinity(parent, os.sched_getaffinity(parent))),
        (tr("the parent process's scheduling (sched_setscheduler)"), False,
         lambda: os.sched_setscheduler(parent, os.SCHED_OTHER, os.sched_param(0))),
        (tr("a signal to the parent process (kill)"), False, lambda: os.kill(parent, signal.SIGCONT)),
        (tr("reading a file outside"), False, lambda: Path(request["outside"]).read_bytes()),
        (tr("writing a file outside"), False, lambda: Path(request["outside"] + ".new").write_text("here")),
    ]


def _connect(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.settimeout(ATTEMPT_SECONDS)
        trial.connect((host, port))


def _send(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.sendto(b"here", (host, port))


def _connect_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as trial:
        trial.connect(path)


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
        done = subprocess.run([sys.executable, "-P", "-m", "slmstudio.core.lock.proof"], input=json.dumps(request),
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


if __name__ == "__main__":
    sys.exit(try_to_escape())
