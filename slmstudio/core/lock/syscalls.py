"""Numbers of the system calls that the lock knows, by processor (Linux: arch/x86/entry/syscalls/syscall_64.tbl and
include/uapi/asm-generic/unistd.h)."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

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
