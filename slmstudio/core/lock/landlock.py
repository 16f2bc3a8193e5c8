"""Closes the file system to this thread and whatever it starts, except for some folders (Linux 5.19 and newer).

https://docs.kernel.org/userspace-api/landlock.html. What Landlock doesn't see: metadata (chmod, times), and whether a
file is there.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from slmstudio.core.i18n import tr
from slmstudio.core.lock.seccomp import Processor, syscall

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK, REFER, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 13, 1 << 14, 1 << 15
FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = READ_FILE | READ_DIR
RUN = READ | EXECUTE
WRITE = ((1 << 15) - 1) & ~(MAKE_CHAR | MAKE_BLOCK | EXECUTE)
"""Everything below a folder, except making devices and starting programs."""
DEVICE = READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV
_LEAST = 2
"""The first version that knows `REFER`: the one before refuses each move of a file to another folder."""
_KNOWN = ((1, (1 << 13) - 1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
"""Rights of the file system by the version that has them."""
_TCP_BIND_AND_CONNECT, _NET_SINCE = 3, 4
_ABSTRACT_SOCKETS_AND_SIGNALS, _SCOPES_SINCE = 3, 6


class Unavailable(OSError):
    """This kernel's Landlock can't be used; the text says why."""


def version(processor: Processor) -> int:
    """The version of the kernel's Landlock; 0 if there is none, or it is switched off."""
    with contextlib.suppress(OSError):
        return syscall(processor, "landlock_create_ruleset", None, 0, 1)
    return 0


def holds() -> bool:
    """Whether this process is kept from the root folder, which each set of a worker's rules leaves out."""
    try:
        os.scandir("/").close()
    except PermissionError:
        return True
    return False


def restrict(processor: Processor, rules: Iterable[tuple[Path, int]], network: bool, scoped: bool) -> int:
    """Leave this thread, and what it starts, the rights of `rules` alone. Paths that can't be opened are passed over.

    Args:
        rules: (path, rights); for a folder, of everything below it.
        network: whether also to refuse TCP, as far as the kernel can.
        scoped: the same for sockets without a path of other programs, and signals to these.

    Returns:
        The kernel's version of Landlock.

    Raises:
        Unavailable: it has none, or one that is too old.
        OSError: it refuses.
    """
    abi = version(processor)
    if abi == 0:
        raise Unavailable(tr("this kernel has no Landlock"))
    if abi < _LEAST:
        raise Unavailable(tr("this kernel's Landlock is too old: with it, no file could be moved to another folder"))
    handled = sum(rights for since, rights in _KNOWN if since <= abi)
    net = _TCP_BIND_AND_CONNECT if network and abi >= _NET_SINCE else 0
    scopes = _ABSTRACT_SOCKETS_AND_SIGNALS if scoped and abi >= _SCOPES_SINCE else 0
    size = 8 if abi < _NET_SINCE else 16 if abi < _SCOPES_SINCE else 24
    attributes = struct.pack("=QQQ", handled, net, scopes)[:size]
    ruleset = syscall(processor, "landlock_create_ruleset", attributes, size, 0)
    try:
        for path, rights in rules:
            _allow(processor, ruleset, path, rights & handled)
        syscall(processor, "landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    return abi


def _allow(processor: Processor, ruleset: int, path: Path, rights: int) -> None:
    with contextlib.suppress(OSError):  # one path that can't be opened must not leave all the others open
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                rights &= FILE_RIGHTS
            if rights:
                beneath = struct.pack("=Qi", rights, descriptor)
                syscall(processor, "landlock_add_rule", ruleset, 1, beneath, 0)
        finally:
            os.close(descriptor)
