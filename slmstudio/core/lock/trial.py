"""The locked child of a proof: it really tries, as hostile code in a worker would, and says what each attempt gave.

    python -P -m slmstudio.core.lock.trial < REQUEST

REQUEST is a JSON object: {"lock": whether to lock itself first, "inside", "outside": files, "port": at which the parent
listens on this machine by TCP and UDP, "socket": path of a Unix socket at which it listens}. Prints one JSON object:
{"state": `LockState.to_dict()`, "attempts": [{"what", "network", "blocked", "gave"}]}.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slmstudio.core import i18n
from slmstudio.core.i18n import tr
from slmstudio.core.lock import seccomp, worker_lock

REFUSED = (errno.EACCES, errno.EPERM, errno.ENOSYS)
NOWHERE = worker_lock.NOWHERE
SECONDS = 2.0
CHILD = "import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
_PTRACE_ATTACH = 16
_NEW_USER_AND_NETWORK = 0x50000000


def main() -> int:
    i18n.use()  # before the lock closes the files
    request = json.loads(sys.stdin.read())
    state = worker_lock.LockState(reason=tr("The lock wasn't requested."))
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
    number = (seccomp.here() or seccomp.X86_64).numbers
    vsock, netlink, packet = getattr(socket, "AF_VSOCK", 40), getattr(socket, "AF_NETLINK", 16), 17
    python = [sys.executable, "-P", "-c", CHILD.format(port=port)]
    return [
        (tr("TCP to this machine, port {port}", port=port), True, lambda: _connect("127.0.0.1", port)),
        (tr("TCP to {address}", address=NOWHERE), True, lambda: _connect(NOWHERE, 80)),
        (tr("TCP over IPv6"), True, lambda: _connect("::1", port)),
        (tr("UDP to this machine, port {port}", port=port), True, lambda: _send("127.0.0.1", port)),
        (tr("UDP to {address}", address=NOWHERE), True, lambda: _send(NOWHERE, 53)),
        (tr("a raw socket"), True, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()),
        (tr("a packet socket"), True, lambda: socket.socket(packet, socket.SOCK_RAW).close()),
        (tr("the kernel's network settings (netlink)"), True, lambda: socket.socket(netlink, socket.SOCK_RAW).close()),
        (tr("a socket to the virtual machine's host"), True, lambda: socket.socket(vsock, streams).close()),
        (tr("looking up a name (DNS)"), True, lambda: socket.getaddrinfo("slmstudio.invalid", 443)),
        (tr("another program's Unix socket"), True, lambda: _connect_unix(request["socket"])),
        (tr("a Unix datagram socket"), True, lambda: socket.socket(socket.AF_UNIX, datagrams).close()),
        ("io_uring", True, lambda: _call(number["io_uring_setup"], 8, ctypes.create_string_buffer(120))),
        (tr("a child process: TCP to this machine"), True,
         lambda: subprocess.run(python, check=True, capture_output=True, text=True)),
        (tr("a thread in another namespace (unshare)"), False,
         lambda: _call(number["unshare"], _NEW_USER_AND_NETWORK)),
        (tr("reaching into the parent process (ptrace)"), False,
         lambda: _call(number["ptrace"], _PTRACE_ATTACH, parent, 0, 0)),
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
        trial.settimeout(SECONDS)
        trial.connect((host, port))


def _send(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        trial.sendto(b"here", (host, port))


def _connect_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as trial:
        trial.connect(path)


def _call(number: int, *arguments: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(each) if isinstance(each, int) else each
                                                   for each in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    sys.exit(main())
