"""The process beside a locked worker: it names each refused attempt in the log, answers it with "permission denied",
lets calls through that lead to the worker's own processes, and keeps the machine awake for the worker, which
itself may talk to nobody.

It's forked before the lock, from a process that holds no data yet, so it costs about 10 MB. The worker can neither
reach into it nor end it; where it is gone all the same, the kernel refuses the calls by itself, and only their names
are missing. Everything that the worker may ask of it is one letter.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import select
import shutil
import signal
import socket
import struct
import sys
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from slmstudio.core.lock import attempts
from slmstudio.core.lock.attempts import status_number
from slmstudio.core.lock.seccomp import PROCESS_ARGUMENT, Processor, syscall

if sys.platform != "win32":
    import fcntl

# -- Connects for a locked process that trains with others, and to their addresses alone. A filter of system calls can't
# look at an address, because it is in memory. So the warden is asked: it reads the address, and where it is one of the
# allowed ones, makes the connection itself on the process's own socket (`pidfd_getfd`). What it has looked at is what
# it connects to, whatever another thread writes there meanwhile.

PEERS_VARIABLE = "SLMSTUDIO_PEERS"
"""Environment variable of such a process: the addresses of the others, as numbers, with commas between them."""
_MOST_ADDRESS = 128
"""Bytes of `struct sockaddr_storage`."""
_PR_SET_PTRACER = 0x59616D61


def allowed_peers() -> frozenset[str]:
    """The addresses that this process may connect to; empty if it trains with nobody."""
    return frozenset(filter(None, os.environ.get(PEERS_VARIABLE, "").split(",")))


def let_warden_look(warden: int) -> None:
    """Let the warden read this process's addresses and borrow its sockets, where the system asks for that (Yama)."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(warden), 0, 0, 0)


def ip_of(address: bytes) -> str:
    """The IP address in a `struct sockaddr`; "" of another kind.

    >>> ip_of(bytes([2, 0, 0, 80, 127, 0, 0, 1, 0, 0]))
    '127.0.0.1'
    """
    family = int.from_bytes(address[:2], "little")
    with suppress(ValueError):
        if family == socket.AF_INET:
            return str(ipaddress.IPv4Address(address[4:8]))
        if family == socket.AF_INET6:
            found = ipaddress.IPv6Address(address[8:24])
            return str(found.ipv4_mapped or found)
    return ""


def read_address(pid: int, place: int, length: int) -> bytes:
    """The address that a call of a process names. Raises OSError."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(place)
        return memory.read(min(length, _MOST_ADDRESS))


def borrow(processor: Processor, pid: int, descriptor: int) -> int:
    """A descriptor of this process for what one of another process's is. Raises OSError."""
    handle = os.pidfd_open(status_number(pid, "Tgid"))
    try:
        return syscall(processor, "pidfd_getfd", handle, descriptor, 0)
    finally:
        os.close(handle)


def connect_borrowed(descriptor: int, address: bytes) -> int:
    """Connect a borrowed socket, and close it here. Returns 0 or the error's number."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        done = libc.connect(ctypes.c_int(descriptor), address, ctypes.c_uint(len(address)))
        return 0 if done == 0 else ctypes.get_errno() or errno.EACCES
    finally:
        os.close(descriptor)


AWAKE, ASLEEP, TRIAL, YES, NO = b"+", b"-", b"t", b"1", b"0"
RECEIVE, SEND, IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
"""SECCOMP_IOCTL_NOTIF_RECV, _SEND and _ID_VALID (linux/seccomp.h)."""
CONTINUE = 1
"""SECCOMP_USER_NOTIF_FLAG_CONTINUE: the kernel does what was asked."""
_NOTIFICATION = struct.Struct("=QII iIQ 6Q")
_ANSWER = struct.Struct("=QqiI")
_FAMILIES = {int(value): name for name, value in vars(socket).items() if name.startswith("AF_")} | {16: "AF_NETLINK"}
_TYPES = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 5: "SOCK_SEQPACKET"}
_PR_SET_DUMPABLE, _PR_SET_NAME = 4, 15


class Warden:
    """The worker's side of it.

    Attributes:
        pid: of the process.
    """

    def __init__(self, channel: socket.socket, pid: int):
        self._channel, self.pid = channel, pid

    @classmethod
    def fork(cls, processor: Processor, temporary: Path | None, peers: Collection[str] = ()) -> Warden:
        """Start it. This process must have one thread. The child closes all files at once, so that no pipe and no lock
        of this process stays with it.

        Args:
            temporary: a folder that is deleted when this process has ended; None if there is none.
            peers: addresses to which it connects for this process.

        Raises:
            OSError: the system has no room for another process.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        sys.stdout.flush()
        sys.stderr.flush()
        worker, pid = os.getpid(), os.fork()
        if pid == 0:
            _become(processor, theirs, temporary, peers, worker)
        theirs.close()
        return cls(ours, pid)

    def listen_at(self, listener: int) -> None:
        """Hand over the filter's listener, which this process must not keep.

        Raises:
            OSError: the warden is gone.
        """
        try:
            socket.send_fds(self._channel, [b"l"], [listener])
            if self._channel.recv(1) != YES:
                raise BrokenPipeError(errno.EPIPE, "the warden is gone")
        finally:
            os.close(listener)

    def next_is_a_trial(self) -> None:
        """The attempt that comes next is this process's own, to see whether the lock holds."""
        self._ask(TRIAL)

    def keep_awake(self) -> bool:
        """Whether the system stays awake from now on."""
        return self._ask(AWAKE) == YES

    def let_sleep(self) -> None:
        self._ask(ASLEEP)

    def _ask(self, letter: bytes) -> bytes:
        try:
            self._channel.sendall(letter)
            return self._channel.recv(1)
        except OSError:
            return NO

    def fileno(self) -> int:
        """The channel's file descriptor, which a program that takes this process's place needs (`at`)."""
        os.set_inheritable(self._channel.fileno(), True)
        return self._channel.fileno()

    @classmethod
    def at(cls, descriptor: int, pid: int) -> Warden:
        """The one that the program before this one in the same process had."""
        channel = socket.socket(fileno=descriptor)
        channel.set_inheritable(False)
        return cls(channel, pid)


def _become(processor: Processor, channel: socket.socket, temporary: Path | None, peers: Collection[str],
            worker: int) -> None:
    """Never returns: the child is a warden and nothing else."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1):  # a pipe's end that stays open here would keep others waiting
            os.dup2(nothing, standard)
        os.closerange(3, channel.fileno())
        os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 65536 else 65536)
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NAME, b"slmstudio-lock", 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        _Watch(processor, channel, peers, worker).run()
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)  # of a worker that was killed
    except BaseException as error:  # whatever the error: a second worker must never result
        with suppress(OSError):
            os.write(2, f"{attempts.BEGIN} attempts are no longer named: {error!r}\n".encode())
    finally:
        os._exit(0)


class _Watch:
    """The process's loop, until the worker and whatever it forked are gone."""

    def __init__(self, processor: Processor, channel: socket.socket, peers: Collection[str], worker: int):
        self._processor, self._peers, self._worker = processor, peers, worker
        self._names = {number: name for name, number in processor.numbers.items()}
        self._channel = channel
        self._listener: int | None = None
        self._awake: Any = None
        self._trial = False
        self._attempts = attempts.Attempts()

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        while True:
            for descriptor, event in poll.poll():
                if descriptor == self._listener:
                    if event & select.POLLIN:
                        self._notice()
                    else:
                        poll.unregister(descriptor)  # nobody is left whom the filter holds
                elif not self._hear(poll):
                    if self._listener is None:
                        os._exit(0)  # the filter couldn't be installed, and the worker continues without
                    return

    def _hear(self, poll: Any) -> bool:
        """One letter of the worker; False when it is gone."""
        letter, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
        if not letter:
            return False
        if descriptors and self._listener is None:
            self._listener = descriptors[0]
            poll.register(self._listener, select.POLLIN)
        else:  # from a worker that is locked already: whatever it is, it's not the listener
            for each in descriptors:
                os.close(each)
        self._trial |= letter == TRIAL
        answer = YES
        if letter == AWAKE:
            answer = YES if self._stay_awake() else NO
        elif letter == ASLEEP and self._awake is not None:
            self._awake.__exit__(None, None, None)
            self._awake = None
        self._channel.sendall(answer)
        return True

    def _stay_awake(self) -> bool:
        from wakepy import keep

        if self._awake is None:
            self._awake = keep.running(on_fail="pass")
            self._awake.__enter__()
        return bool(self._awake.active)

    def _notice(self) -> None:
        assert self._listener is not None
        received = bytearray(_NOTIFICATION.size)
        with suppress(OSError):  # whoever asked is gone, or asks again after a signal
            fcntl.ioctl(self._listener, RECEIVE, received)
            number, pid, _, call, _, _, *arguments = _NOTIFICATION.unpack(received)
            name = self._names.get(call, f"system call {call}")
            if name == "connect" and self._peers and self._connects(number, pid, arguments):
                return
            if name in PROCESS_ARGUMENT and self._is_own(name, arguments, pid):
                self._answer(number, 0, CONTINUE)
                return
            self._report(describe(name, arguments), pid)
            self._answer(number, errno.EACCES)

    def _is_own(self, name: str, arguments: list[int], pid: int) -> bool:
        try:
            return attempts.is_own(name, arguments, pid, self._worker)
        except (OSError, StopIteration):  # gone meanwhile
            return False

    def _answer(self, number: int, error: int, flags: int = 0) -> None:
        assert self._listener is not None
        with suppress(OSError):  # whoever asked is gone
            fcntl.ioctl(self._listener, SEND, _ANSWER.pack(number, 0, -error, flags))

    def _connects(self, number: int, pid: int, arguments: list[int]) -> bool:
        """Connect for a process, if that leads to one that it trains with; whether it does."""
        assert self._listener is not None
        try:
            address = read_address(pid, arguments[1], arguments[2] & 0xFFFFFFFF)
            if ip_of(address) not in self._peers:
                return False
            borrowed = borrow(self._processor, pid, arguments[0] & 0x7FFFFFFF)
        except (OSError, StopIteration):
            return False
        try:
            fcntl.ioctl(self._listener, IS_VALID, struct.pack("=Q", number))  # else it was another process's by now
        except OSError:
            os.close(borrowed)
            return False

        def connect() -> None:
            self._answer(number, connect_borrowed(borrowed, address))

        if os.get_blocking(borrowed):  # the others must not wait for it
            threading.Thread(target=connect, daemon=True).start()
        else:
            connect()
        return True

    def _report(self, attempt: str, pid: int) -> None:
        line = f"refused {attempt}, asked for by {_program(pid)}"
        if self._trial:
            self._trial, line = False, f"tried at the start: {attempt} was refused"
        self._attempts.tell(line)


def describe(call: str, arguments: list[int]) -> str:
    """
    >>> describe("socket", [2, 1 | 0o2000000, 0, 0, 0, 0])
    'socket(AF_INET, SOCK_STREAM)'
    """
    if call not in ("socket", "socketpair"):
        return call
    family, kind = arguments[0] & 0xFFFFFFFF, arguments[1] & 0xF
    return f"{call}({_FAMILIES.get(family, f'family {family}')}, {_TYPES.get(kind, f'type {kind}')})"


def _program(pid: int) -> str:
    """The command line as the process itself states it, which may be anything: printable, and cut."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({attempts.printable(' '.join(words).strip())[:attempts.MOST_NAME]})"
