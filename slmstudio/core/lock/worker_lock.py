"""Puts the lock on this process, and says what holds."""

from __future__ import annotations

import atexit
import compileall
import errno
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.lock import attempts, places, seccomp
from slmstudio.core.lock.warden import Warden, allowed_peers, let_warden_look

NOWHERE = "192.0.2.1"
"""An address that is reserved for documentation (RFC 5737): nobody has it."""
_VARIABLE = "SLMSTUDIO_LOCK"
"""Tells the program that takes this process's place what holds already: the warden's "DESCRIPTOR PID" (-1 0 without
one), and Landlock's version (0 if it doesn't hold)."""


@dataclass(frozen=True)
class LockState:
    """What holds in this process, as its `lock` event says.

    Attributes:
        enforced: whether the network is closed: tried by this process, and refused.
        seccomp: whether the filter of system calls is installed.
        landlock: the kernel's version of Landlock; 0 if it doesn't hold, so that the file system is open.
        files_open: why it doesn't, without a full stop; "" if it does.
        named: whether refused attempts are named in the log.
        tried: what was tried at the start, and `gave` what came of it.
        reason: why it isn't enforced; "" if it is.
        peers: addresses that stay open, of the processes that it trains with or of the server that it asks.
    """

    enforced: bool = False
    seccomp: bool = False
    landlock: int = 0
    files_open: str = ""
    named: bool = False
    tried: str = ""
    gave: str = ""
    reason: str = ""
    peers: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_warden: Warden | None = None
_state: LockState | None = None


def warden() -> Warden | None:
    """The process that talks to the system for this one; None without a lock."""
    return _warden


def state() -> LockState:
    """What `install` said in this process."""
    return _state or LockState(reason=tr("It isn't locked yet."))


def install(kind: str, request: Mapping[str, Any], folder: Path | None = None) -> LockState:
    """Lock this process and all that it will start, for good. Call it while it has one thread, before anything heavy is
    imported.

    What the system can't do is said, and the work continues without it, since most systems can't.

    Args:
        kind: of job, or "chat", "talk", "serve" or "libraries".
        request: of the job, or the first command of an interactive worker.
        folder: of the job; None for another worker.
    """
    global _state
    _state = _install(kind, request, folder)
    return _state


def _install(kind: str, request: Mapping[str, Any], folder: Path | None) -> LockState:
    processor = seccomp.here()
    if processor is None:
        return LockState(reason=tr("This system has no such lock. The network lock works only on Linux."))
    online = kind in places.ONLINE
    ranks = kind == "train" and {"RANK", "MASTER_PORT"} <= os.environ.keys()  # as torchrun sets them
    # A teacher that is a server: the addresses that a person has named, and no others.
    served = frozenset(map(str, request.get("addresses") or ())) if kind == "documents" else frozenset()
    others = allowed_peers() if ranks else served
    network = scoped = not online and (not ranks or bool(others))
    temporary = _temporary()
    os.environ.update(places.prepare(kind, temporary))
    tempfile.tempdir = None  # it may have been asked for before
    _wake_card()
    threads = _threads()
    held = _take_over() if network else None
    reason, filtered = "", held is not None
    if not filtered:
        try:
            network = _filter(processor, network, temporary, others)
            filtered = True
        except OSError as error:
            reason = tr("The kernel refuses a filter of system calls: {reason}.", reason=error.strerror)
    found, files_open = (held, "") if held else _close_files(processor, kind, request, folder, temporary,
                                                            network and not others, scoped)
    if threads > 1:
        found, files_open = 0, tr("{threads} threads ran before the lock, and Landlock restricts only one of them",
                                  threads=threads)
    if not network:
        reason = (tr("This job downloads something that you asked for.") if online else
                  tr("This job asks a server, and this system can't tell its address from others.") if served else
                  tr("Several processes share this run's work and talk to each other over the network."))
        return LockState(seccomp=filtered, landlock=found, files_open=files_open, reason=reason)
    attempts.name_look_ups()
    tried, gave, refused = _try(bool(others))
    return LockState(filtered and refused, filtered, found, files_open, _warden is not None, tried, gave,
                     reason or ("" if refused else tr("A socket could still be opened.")), tuple(sorted(others)))


def keep_compiled() -> None:
    """Compile the workers' modules that have changed, and PyTorch where whatever installed it hasn't (as pip does).

    Python keeps a compiled module beside it, where a locked process can't write: else each start compiles it again.
    """
    folders = [Path(__file__).parents[2] / "worker"]
    torch = importlib.util.find_spec("torch")
    if torch and torch.origin and not Path(torch.origin).with_name("__pycache__").is_dir():
        folders.append(Path(torch.origin).parent)
    for folder in folders:
        if os.access(folder, os.W_OK):
            compileall.compile_dir(folder, quiet=2)


def _temporary() -> Path | None:
    """A folder for temporary files that goes with this process; None if none can be made, on a full disk perhaps."""
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


def _close_files(processor: seccomp.Processor, kind: str, request: Mapping[str, Any], folder: Path | None,
                 temporary: Path | None, network: bool, scoped: bool) -> tuple[int, str]:
    """Landlock's version, and why it doesn't hold where it doesn't."""
    try:
        return places.restrict(processor, places.rules(kind, request, folder, temporary), network, scoped), ""
    except places.Unavailable as error:
        return 0, str(error)
    except (OSError, UserError) as error:
        return 0, tr("Landlock failed ({reason})", reason=error)


def environment_for_successor() -> dict[str, str]:
    """Variables for the program that takes this process's place by exec: the lock stays, and so does the warden."""
    if not state().seccomp:
        return {}
    beside = (-1, 0) if _warden is None else (_warden.fileno(), _warden.pid)
    return {_VARIABLE: f"{beside[0]} {beside[1]} {state().landlock}"}


def _take_over() -> int | None:
    """Landlock's version where this process was locked before it became this program, 0 if only the network was
    closed; None for one that wasn't locked. Another layer of Landlock would change nothing, and the kernel allows 16.
    """
    global _warden
    told = os.environ.pop(_VARIABLE, "").split()
    if len(told) != 3 or not seccomp.is_filtered():
        return None
    with suppress(ValueError, OSError):
        descriptor, pid, version = map(int, told)
        if pid:
            _warden = Warden.at(descriptor, pid)
        return version if places.holds() else 0
    return None


def _filter(processor: seccomp.Processor, network: bool, temporary: Path | None, others: Collection[str]) -> bool:
    """Install the filter of system calls, with a warden where the kernel can.

    Args:
        others: addresses that stay open. Only a warden can tell them from others: without one, all do.

    Returns:
        Whether the network is closed.

    Raises:
        OSError: the kernel has none, or refuses.
    """
    global _warden
    if network:
        with suppress(OSError):  # a kernel before 5.7, or a container that listens itself: then without names
            beside = Warden.fork(processor, temporary, others)
            if others:
                let_warden_look(beside.pid)
            listener = seccomp.install(processor, network, named=True, peers=bool(others))
            assert listener is not None
            beside.listen_at(listener)
            _warden = beside
            return True
    seccomp.install(processor, network and not others, named=False)
    return network and not others


def _try(with_others: bool) -> tuple[str, str, bool]:
    """Try to make a socket, as every connection begins; to connect one to nobody, where some may be made.

    Returns:
        What was tried, what it gave, and whether it was refused.
    """
    if _warden is not None:
        _warden.next_is_a_trial()
    tried = f"connect({NOWHERE})" if with_others else "socket(AF_INET, SOCK_STREAM)"
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
            if with_others:
                made.setblocking(False)
                made.connect((NOWHERE, 9))
    except OSError as error:
        gave = errno.errorcode.get(error.errno or 0, str(error))
        return tried, gave, error.errno in (errno.EACCES, errno.ENOSYS)
    return tried, "a connection" if with_others else "a socket", False


def _wake_card() -> None:
    """Load NVIDIA's memory driver, which its libraries else do by a set-uid program when they are first used: under the
    lock nothing gains rights."""
    helper = shutil.which("nvidia-modprobe")
    if helper and os.path.exists("/dev/nvidiactl") and not os.path.exists("/dev/nvidia-uvm"):
        with suppress(OSError):
            subprocess.run([helper, "-c", "0", "-u"], check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr)
