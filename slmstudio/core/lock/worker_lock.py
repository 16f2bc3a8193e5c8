"""Puts the lock on this process, and says what holds."""

from __future__ import annotations

import atexit
import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.lock import landlock, places, seccomp, syscalls
from slmstudio.core.lock.warden import Warden

_VARIABLE = "SLMSTUDIO_LOCK"
"""Tells the program that takes this process's place of the warden: "DESCRIPTOR PID"."""


@dataclass(frozen=True)
class LockState:
    """What holds in this process, as its `lock` event says.

    Attributes:
        enforced: whether the network is closed: tried by this process, and refused.
        seccomp: whether the filter of system calls is installed.
        landlock: the kernel's version of Landlock; 0 where it doesn't hold, so that the file system is open.
        files_open: why it doesn't, without a full stop; "" where it does.
        named: whether refused attempts are named in the log.
        tried: what was tried at the start, and `gave` what came of it.
        reason: why it isn't enforced; "" where it is.
    """

    enforced: bool = False
    seccomp: bool = False
    landlock: int = 0
    files_open: str = ""
    named: bool = False
    tried: str = ""
    gave: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_warden: Warden | None = None
_state: LockState | None = None


def warden() -> Warden | None:
    """The process that talks to the system for this one; None without a lock."""
    return _warden


def state() -> LockState:
    """What `install` said in this process."""
    return _state or LockState(reason="It isn't locked yet.")


def install(kind: str, request: Mapping[str, Any], folder: Path | None = None) -> LockState:
    """Lock this process and all that it will start, for good. Call it while it has one thread, before anything heavy is
    imported.

    What the system can't do is said, and the work continues without it, for most systems can't.

    Args:
        kind: of job, or "chat", "talk", "serve" or "libraries".
        request: of the job, or the first command of an interactive worker.
        folder: of the job; None for another worker.
    """
    global _state
    _state = _install(kind, request, folder)
    return _state


def _install(kind: str, request: Mapping[str, Any], folder: Path | None) -> LockState:
    processor = syscalls.here()
    if processor is None:
        return LockState(reason="This system offers no such lock: it's enforced on Linux alone.")
    online = kind in places.ONLINE
    ranks = kind == "train" and {"RANK", "MASTER_PORT"} <= os.environ.keys()  # as torchrun sets them
    network = not online and not ranks
    temporary = _temporary()
    os.environ.update(places.prepare(kind, temporary))
    tempfile.tempdir = None  # it may have been asked for before
    _wake_card()
    threads = _threads()
    reason, filtered = "", network and _take_over()
    if not filtered:
        try:
            _filter(processor, network, temporary)
            filtered = True
        except OSError as error:
            reason = f"The kernel refuses a filter of system calls: {error.strerror}."
    found, files_open = _close_files(processor, kind, request, folder, temporary, network)
    if threads > 1:
        found, files_open = 0, f"{threads} threads ran before the lock, and Landlock holds one of them"
    if not network:
        reason = ("This job fetches something, on your word." if online else
                  "Several processes share this run's work and talk to each other over the network.")
        return LockState(seccomp=filtered, landlock=found, files_open=files_open, reason=reason)
    tried, gave, refused = _try()
    return LockState(filtered and refused, filtered, found, files_open, _warden is not None, tried, gave,
                     reason or ("" if refused else "A socket was made all the same."))


def _temporary() -> Path | None:
    """A folder for temporary files that goes with this process; None where none can be made, on a full disk perhaps."""
    try:
        made = Path(tempfile.mkdtemp(prefix="slmstudio-"))
    except OSError:
        return None
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _threads() -> int:
    """How many this process has."""
    with suppress(OSError):
        return len(os.listdir("/proc/self/task"))
    return 1


def _close_files(processor: syscalls.Processor, kind: str, request: Mapping[str, Any], folder: Path | None,
                 temporary: Path | None, network: bool) -> tuple[int, str]:
    """Landlock's version, and why it doesn't hold where it doesn't."""
    try:
        return landlock.restrict(processor, places.rules(kind, request, folder, temporary), network), ""
    except landlock.Unavailable as error:
        return 0, str(error)
    except (OSError, UserError) as error:
        return 0, f"Landlock failed ({error})"


def environment_for_successor() -> dict[str, str]:
    """Variables for the program that takes this process's place by exec: the lock stays, and so does the warden."""
    return {} if _warden is None else {_VARIABLE: f"{_warden.fileno()} {_warden.pid}"}


def _take_over() -> bool:
    """Whether this process was locked before it became this program."""
    global _warden
    told = os.environ.pop(_VARIABLE, "").split()
    if len(told) != 2 or not seccomp.is_filtered():
        return False
    with suppress(ValueError, OSError):
        _warden = Warden.at(*map(int, told))
    return True


def _filter(processor: syscalls.Processor, network: bool, temporary: Path | None) -> None:
    """Install the filter of system calls, with a warden where the kernel can.

    Raises:
        OSError: the kernel has none, or refuses.
    """
    global _warden
    if network:
        with suppress(OSError):  # a kernel before 5.7, or a container that listens itself: then without names
            beside = Warden.fork(processor, temporary)
            listener = seccomp.install(processor, network, named=True)
            assert listener is not None
            beside.listen_at(listener)
            _warden = beside
            return
    seccomp.install(processor, network, named=False)


def _try() -> tuple[str, str, bool]:
    """Try to make a socket, as every connection begins.

    Returns:
        What was tried, what it gave, and whether it was refused.
    """
    if _warden is not None:
        _warden.next_is_a_trial()
    tried = "socket(AF_INET, SOCK_STREAM)"
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    except OSError as error:
        gave = errno.errorcode.get(error.errno or 0, str(error))
        return tried, gave, error.errno in (errno.EACCES, errno.ENOSYS)
    return tried, "a socket", False


def _wake_card() -> None:
    """Load NVIDIA's memory driver, which its libraries else do by a set-uid program when they are first used: under the
    lock nothing gains rights."""
    helper = shutil.which("nvidia-modprobe")
    if helper and os.path.exists("/dev/nvidiactl") and not os.path.exists("/dev/nvidia-uvm"):
        with suppress(OSError):
            subprocess.run([helper, "-c", "0", "-u"], check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr)
