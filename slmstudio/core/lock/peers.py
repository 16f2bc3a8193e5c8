"""Connects for a locked process that trains with others, and to their addresses alone.

A filter of system calls can't look at an address, because it is in memory. So the warden is asked: it reads the
address, and where it is one of the allowed ones, makes the connection itself on the process's own socket
(`pidfd_getfd`). What it has looked at is what it connects to, whatever another thread writes there meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
from collections.abc import Collection
from contextlib import suppress

from slmstudio.core.lock.attempts import status_number
from slmstudio.core.lock.program import Processor

VARIABLE = "SLMSTUDIO_PEERS"
"""Environment variable of such a process: the addresses of the others, as numbers, with commas between them."""
_MOST_ADDRESS = 128
"""Bytes of `struct sockaddr_storage`."""
_PR_SET_PTRACER = 0x59616D61


def allowed() -> frozenset[str]:
    """The addresses that this process may connect to; empty if it trains with nobody."""
    return frozenset(filter(None, os.environ.get(VARIABLE, "").split(",")))


def let_look(warden: int) -> None:
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
        libc = ctypes.CDLL(None, use_errno=True)
        found = int(libc.syscall(ctypes.c_long(processor.numbers["pidfd_getfd"]), ctypes.c_int(handle),
                                 ctypes.c_int(descriptor), ctypes.c_uint(0)))
        if found < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return found
    finally:
        os.close(handle)


def connect(descriptor: int, address: bytes) -> int:
    """Connect a borrowed socket, and close it here. Returns 0 or the error's number."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        done = libc.connect(ctypes.c_int(descriptor), address, ctypes.c_uint(len(address)))
        return 0 if done == 0 else ctypes.get_errno() or errno.EACCES
    finally:
        os.close(descriptor)


def may(address: bytes, peers: Collection[str]) -> bool:
    return ip_of(address) in peers
