"""A filter of system calls for this process, its threads and whatever it starts; none can take it off.

It is assembled as the kernel takes it: classic BPF (linux/filter.h, linux/seccomp.h). Refused are sockets other than
Unix stream and sequenced-packet sockets, every way to connect one, io_uring (it makes and connects sockets past a
filter), and what reaches into other processes, name spaces, mounts and the kernel. Calls that name a process by its
number are allowed for the caller's own; whoever listens decides about other numbers. A call of another processor's
interface ends the process: its numbers mean other calls.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# -- Numbers of the system calls that the lock knows, by processor (Linux: arch/x86/entry/syscalls/syscall_64.tbl and
# include/uapi/asm-generic/unistd.h).

_COMMON = {
    "pidfd_getfd": 438, "process_madvise": 440, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "mount_setattr": 442, "clone3": 435, "landlock_create_ruleset": 444, "landlock_add_rule": 445,
    "landlock_restrict_self": 446, "open_tree_attr": 467, "pidfd_send_signal": 424, "process_mrelease": 448,
}
_X86_64 = {
    "socket": 41, "socketpair": 53, "connect": 42, "sendto": 44, "sendmsg": 46, "sendmmsg": 307, "ioctl": 16,
    "clone": 56, "seccomp": 317, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321,
    "userfaultfd": 323, "perf_event_open": 298, "keyctl": 250, "add_key": 248, "request_key": 249, "unshare": 272,
    "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "open_by_handle_at": 304,
    "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313, "delete_module": 176,
    "reboot": 169, "swapon": 167, "swapoff": 168, "acct": 163, "quotactl": 179, "kcmp": 312, "syslog": 103,
    "settimeofday": 164, "clock_settime": 227, "iopl": 172, "ioperm": 173, "kill": 62, "tkill": 200, "tgkill": 234,
    "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "setpriority": 141, "sched_setparam": 142,
    "sched_setscheduler": 144, "sched_setaffinity": 203, "sched_setattr": 314, "ioprio_set": 251, "migrate_pages": 256,
    "move_pages": 279, "prlimit64": 302, "fcntl": 72,
}
_AARCH64 = {
    "socket": 198, "socketpair": 199, "connect": 203, "sendto": 206, "sendmsg": 211, "sendmmsg": 269, "ioctl": 29,
    "clone": 220, "seccomp": 277, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "bpf": 280,
    "userfaultfd": 282, "perf_event_open": 241, "keyctl": 219, "add_key": 217, "request_key": 218, "unshare": 97,
    "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "open_by_handle_at": 265,
    "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273, "delete_module": 106,
    "reboot": 142, "swapon": 224, "swapoff": 225, "acct": 89, "quotactl": 60, "kcmp": 272, "syslog": 116,
    "settimeofday": 170, "clock_settime": 112, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138,
    "rt_tgsigqueueinfo": 240, "setpriority": 140, "sched_setparam": 118, "sched_setscheduler": 119,
    "sched_setaffinity": 122, "sched_setattr": 274, "ioprio_set": 30, "migrate_pages": 238, "move_pages": 239,
    "prlimit64": 261, "fcntl": 25,
}


@dataclass(frozen=True)
class Processor:
    """A processor as the kernel knows it.

    Attributes:
        audit_arch: what `seccomp_data.arch` holds for its own calls (linux/audit.h).
        numbers: of the calls, by name; a call that it doesn't have is missing.
        other_calls_from: numbers from here on belong to another interface (x32); None if there is none.
    """

    name: str
    audit_arch: int
    numbers: dict[str, int]
    other_calls_from: int | None = None


X86_64 = Processor("x86_64", 0xC000003E, {**_COMMON, **_X86_64}, 0x40000000)
AARCH64 = Processor("aarch64", 0xC00000B7, {**_COMMON, **_AARCH64})


def here() -> Processor | None:
    """This machine's; None if the lock doesn't know it, or the system isn't Linux."""
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return None
    return {each.name: each for each in (X86_64, AARCH64)}.get(platform.machine())


LOAD, AND, JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_SET, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
KILL_PROCESS, ERRNO, USER_NOTIF, ALLOW = 0x80000000, 0x00050000, 0x7FC00000, 0x7FFF0000
NUMBER, ARCH, ARGUMENTS = 0, 4, 16
"""Places in `struct seccomp_data`; an argument takes eight bytes, the lower half first on both processors."""
UNIX, STREAM, DATAGRAM, SEQPACKET, TYPE_MASK = 1, 1, 2, 5, 0xF
INET, INET6, NETLINK, ROUTE, TCP = 2, 10, 16, 0, 6
NEW_LISTENER = 8
"""A flag with which a filter gets a listener, which could allow calls that an older filter reports to its own
listener."""
FASTOPEN = 0x20000000
"""A flag by which sending connects, too."""
NEW_NAMESPACES = 0x7E020000
"""Flags of clone: every name space of one's own."""
FORBIDDEN_IOCTLS = (0x5412, 0x541C, 0x8901, 0x8902)
"""TIOCSTI and TIOCLINUX type into a terminal as if the user had; FIOSETOWN and SIOCSPGRP send a file's signals to
another process."""
FORBIDDEN_FCNTLS = (8, 15)
"""F_SETOWN and F_SETOWN_EX send a file's signals to another process."""
PROCESS_ARGUMENT = {"prlimit64": 0, "sched_setaffinity": 0, "sched_setscheduler": 0, "sched_setparam": 0,
                    "sched_setattr": 0, "migrate_pages": 0, "move_pages": 0, "setpriority": 1, "ioprio_set": 1,
                    "kill": 0, "tkill": 0, "tgkill": 0, "rt_sigqueueinfo": 0, "rt_tgsigqueueinfo": 0}
"""Calls that change or signal the process, or the thread, whose number is the argument with this index."""
ONE_PROCESS = {"setpriority": 0, "ioprio_set": 1}
"""The first argument with which these mean one process, and not a group's or a user's."""
SIGNAL_ARGUMENT = {"kill": 1, "tkill": 1, "rt_sigqueueinfo": 1, "tgkill": 2, "rt_tgsigqueueinfo": 2}
"""Where the signal's number is; 0 only asks whether the process exists."""
HARDENING = (
    "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "pidfd_send_signal", "process_madvise",
    "process_mrelease", "kcmp", "bpf", "userfaultfd", "perf_event_open", "keyctl", "add_key", "request_key", "unshare",
    "setns", "mount", "umount2", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick",
    "mount_setattr", "pivot_root", "chroot", "open_by_handle_at", "kexec_load", "kexec_file_load", "init_module",
    "finit_module", "delete_module", "reboot", "swapon", "swapoff", "acct", "quotactl", "syslog", "settimeofday",
    "clock_settime", "iopl", "ioperm",
)
NETWORK = ("connect", "io_uring_setup", "io_uring_enter", "io_uring_register")


@dataclass(frozen=True)
class Instruction:
    """One step: `if_true` and `if_false` are how many of the next ones a jump passes over."""

    code: int
    value: int
    if_true: int = 0
    if_false: int = 0

    def packed(self) -> bytes:
        """`struct sock_filter`."""
        return struct.pack("=HBBI", self.code, self.if_true, self.if_false, self.value)


def build(processor: Processor, named: bool, network: bool, pid: int, peers: bool = False) -> list[Instruction]:
    """The filter.

    Args:
        named: whether somebody listens who names the attempts, and allows calls that name an own process (`warden`);
            otherwise the kernel refuses by itself. It can't tell own children from others, so signals stay open then.
        network: whether sockets are refused. What reaches into other processes and the kernel always is.
        pid: of this process.
        peers: whether TCP sockets can be made all the same, for whoever listens decides on each connection; those that
            tell the names and addresses of network interfaces; and Unix datagram sockets.
    """
    refuse = Instruction(RETURN, USER_NOTIF if named else ERRNO | errno.EACCES)
    numbers = processor.numbers
    steps = [Instruction(LOAD, ARCH), Instruction(JUMP_EQUAL, processor.audit_arch, 1, 0),
             Instruction(RETURN, KILL_PROCESS), Instruction(LOAD, NUMBER)]
    if processor.other_calls_from is not None:
        steps += [Instruction(JUMP_GREATER_EQUAL, processor.other_calls_from, 0, 1),
                  Instruction(RETURN, ERRNO | errno.ENOSYS)]
    for name in (*HARDENING, *(NETWORK if network else ())):
        if name in numbers:
            steps += _on(numbers[name], [refuse])
    # Its flags are in memory, where no filter can look. Libraries go back to `clone`, whose flags can be seen.
    steps += _on(numbers["clone3"], [Instruction(RETURN, ERRNO | errno.ENOSYS)])
    # By the kernel itself, whether or not anybody listens: nothing that a newer filter says can soften that.
    steps += _on(numbers["seccomp"], [*_flag(1, NEW_LISTENER, Instruction(RETURN, ERRNO | errno.EPERM)), _ALLOWED])
    arguments: dict[str, Callable[[Instruction], list[Instruction]]] = {
        "clone": lambda no: [*_flag(0, NEW_NAMESPACES, no), _ALLOWED],
        "ioctl": lambda no: [*(step for wanted in FORBIDDEN_IOCTLS for step in _equal(1, wanted, no)), _ALLOWED],
        "fcntl": lambda no: [*(step for wanted in FORBIDDEN_FCNTLS for step in _equal(1, wanted, no)), _ALLOWED]}
    for name in PROCESS_ARGUMENT:
        if named or name not in SIGNAL_ARGUMENT:
            arguments[name] = functools.partial(_own_process, name, pid)
    if network:
        arguments |= {"socket": _unix_streams, "socketpair": _unix_streams,
                      "sendto": lambda no: [*_flag(3, FASTOPEN, no), *_pointer(4, no), _ALLOWED],
                      "sendmsg": lambda no: [*_flag(2, FASTOPEN, no), _ALLOWED],
                      "sendmmsg": lambda no: [*_flag(3, FASTOPEN, no), _ALLOWED]}
    if peers:
        arguments |= {"socket": _tcp_too, "sendto": lambda no: [*_flag(3, FASTOPEN, no), _ALLOWED]}
    for name, rules in arguments.items():
        steps += _on(numbers[name], rules(refuse))
    return [*steps, _ALLOWED]


_ALLOWED = Instruction(RETURN, ALLOW)


def _on(number: int, steps: list[Instruction]) -> list[Instruction]:
    """Do `steps`, which end in a decision, for one call."""
    return [Instruction(JUMP_EQUAL, number, 0, len(steps)), *steps]


def _argument(index: int, upper: bool = False) -> Instruction:
    return Instruction(LOAD, ARGUMENTS + 8 * index + 4 * upper)


def _equal(index: int, value: int, refuse: Instruction) -> list[Instruction]:
    return [_argument(index), Instruction(JUMP_EQUAL, value, 0, 1), refuse]


def _own_process(name: str, pid: int, refuse: Instruction) -> list[Instruction]:
    """Allow a call for this process alone. The kernel, too, looks at the lower half of a process's number alone."""
    steps = [_argument(PROCESS_ARGUMENT[name]), Instruction(JUMP_EQUAL, pid, 0, 1), _ALLOWED]
    if name in SIGNAL_ARGUMENT:  # to 0 sends to the whole group, of which others may be
        return [*steps, _argument(SIGNAL_ARGUMENT[name]), Instruction(JUMP_EQUAL, 0, 0, 1), _ALLOWED, refuse]
    steps += [Instruction(JUMP_EQUAL, 0, 0, 1), _ALLOWED, refuse]
    if name in ONE_PROCESS:
        return [_argument(0), Instruction(JUMP_EQUAL, ONE_PROCESS[name], 1, 0), refuse, *steps]
    return steps


def _flag(index: int, flags: int, refuse: Instruction) -> list[Instruction]:
    return [_argument(index), Instruction(JUMP_SET, flags, 0, 1), refuse]


def _pointer(index: int, refuse: Instruction) -> list[Instruction]:
    """Refuse any address at all."""
    return [_argument(index), Instruction(JUMP_EQUAL, 0, 1, 0), refuse,
            _argument(index, upper=True), Instruction(JUMP_EQUAL, 0, 1, 0), refuse]


def _tcp_too(refuse: Instruction) -> list[Instruction]:
    """Datagrams of the network stay refused, so that what is sent goes where a socket is connected. Unix ones don't:
    NCCL makes such a socket whatever it uses it for (ncclIpcSocketInit in its ipcsocket.cc)."""
    tcp = [_argument(1), Instruction(AND, TYPE_MASK), Instruction(JUMP_EQUAL, STREAM, 1, 0), refuse,
           _argument(2), Instruction(JUMP_EQUAL, 0, 2, 0), Instruction(JUMP_EQUAL, TCP, 1, 0), refuse, _ALLOWED]
    route = [_argument(2), Instruction(JUMP_EQUAL, ROUTE, 1, 0), refuse, _ALLOWED]
    local = [_argument(1), Instruction(AND, TYPE_MASK), Instruction(JUMP_EQUAL, DATAGRAM, 0, 1), _ALLOWED,
             *_unix_streams(refuse)]
    return [_argument(0), *_on(INET, tcp), *_on(INET6, tcp), *_on(NETLINK, route), *_on(UNIX, local), refuse]


def _unix_streams(refuse: Instruction) -> list[Instruction]:
    """A datagram socket could send to any address that a message holds, where no filter can look."""
    return [_argument(0), Instruction(JUMP_EQUAL, UNIX, 1, 0), refuse,
            _argument(1), Instruction(AND, TYPE_MASK), Instruction(JUMP_EQUAL, STREAM, 2, 0),
            Instruction(JUMP_EQUAL, SEQPACKET, 1, 0), refuse, _ALLOWED]


PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER = 38, 1
TSYNC, SPEC_ALLOW, TSYNC_ESRCH = 1, 4, 16
"""All threads; without slowing branches down (what kernels before 5.16 did to filtered processes, at a price in speed);
and an error number, not a thread's, where a thread can't be taken along."""


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(processor: Processor, network: bool, named: bool, peers: bool = False) -> int | None:
    """Install the filter.

    Args:
        network: whether sockets are refused.
        named: whether to make a listener that reports each refused call.
        peers: as in `program.build`.

    Returns:
        The listener's file descriptor; None without one.

    Raises:
        OSError: the kernel refuses.
    """
    no_new_privileges()
    flags = TSYNC | SPEC_ALLOW | (NEW_LISTENER | TSYNC_ESRCH if named else 0)
    result = _seccomp(processor, build(processor, named, network, os.getpid(), peers), flags)
    return result if named else None


def no_new_privileges() -> None:
    """Nothing that is started from here on gains rights, not even a set-uid program. Both filters ask for that.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _seccomp(processor: Processor, steps: Sequence[Instruction], flags: int) -> int:
    program = _Program(len(steps), b"".join(step.packed() for step in steps))
    return syscall(processor, "seccomp", SET_MODE_FILTER, flags, ctypes.byref(program))


def syscall(processor: Processor, name: str, *arguments: Any) -> int:
    """The result of a system call that the C library has no function for.

    Raises:
        OSError: the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(ctypes.c_long(processor.numbers[name]), *(
        ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def is_filtered() -> bool:
    """Whether a filter holds in this process already: its own, one it was started with, or a container's."""
    try:
        status = Path("/proc/self/status").read_text(errors="replace")
    except OSError:
        return False
    return "\nSeccomp:\t2" in status
