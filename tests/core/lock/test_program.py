"""The filter, run by an interpreter of its own: what the kernel would decide, for both processors."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys

import pytest

from slmstudio.core.lock import seccomp
from slmstudio.core.lock.seccomp import AARCH64, ALLOW, ERRNO, KILL_PROCESS, USER_NOTIF, X86_64, Processor

NO_SOCKETS = ["connect", "io_uring_setup", "io_uring_enter", "io_uring_register"]
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
PID = 4711
"""Of the process that the filter holds."""


def decide(steps: list[seccomp.Instruction], arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """Run a program on one call, as `struct seccomp_data` holds it (linux/seccomp.h)."""
    words = {seccomp.NUMBER: number, seccomp.ARCH: arch}
    for index in range(6):
        value = arguments[index] if index < len(arguments) else 0
        words[seccomp.ARGUMENTS + 8 * index] = value & 0xFFFFFFFF
        words[seccomp.ARGUMENTS + 8 * index + 4] = value >> 32
    place, accumulator = 0, 0
    while True:
        step = steps[place]
        place += 1
        if step.code == seccomp.RETURN:
            return step.value
        if step.code == seccomp.LOAD:
            accumulator = words[step.value]
        elif step.code == seccomp.AND:
            accumulator &= step.value
        else:
            holds = {seccomp.JUMP_EQUAL: accumulator == step.value, seccomp.JUMP_SET: bool(accumulator & step.value),
                     seccomp.JUMP_GREATER_EQUAL: accumulator >= step.value}[step.code]
            place += step.if_true if holds else step.if_false


@pytest.fixture(params=[X86_64, AARCH64], ids=lambda each: each.name)
def processor(request) -> Processor:
    return request.param


@pytest.fixture
def call(processor):
    """`call("socket", 2, 1)`: what is decided for a call with these arguments."""
    steps = seccomp.build(processor, named=True, network=True, pid=PID)
    return lambda name, *arguments: decide(steps, processor.audit_arch, processor.numbers[name], arguments)


@pytest.mark.parametrize("name", [*seccomp.HARDENING, *NO_SOCKETS])
def test_calls_that_are_always_refused(call, processor, name):
    if processor is AARCH64 and name in ("iopl", "ioperm"):
        assert name not in processor.numbers
        return
    assert call(name) == USER_NOTIF


def test_only_unix_streams_are_made(call):
    for make in ("socket", "socketpair"):
        for kind in (STREAM, socket.SOCK_SEQPACKET, STREAM | 0o2000000 | 0o4000):  # close on exec, don't block
            assert call(make, socket.AF_UNIX, kind) == ALLOW
        for family in range(2, 50):
            assert call(make, family, STREAM) == USER_NOTIF, family
        for kind in (DATAGRAM, DATAGRAM | 0o2000000, socket.SOCK_RAW):
            assert call(make, socket.AF_UNIX, kind) == USER_NOTIF
    assert call("socket", socket.AF_UNIX | 7 << 32, STREAM) == ALLOW, "the kernel, too, looks at the lower half alone"


def test_sending_to_an_address_is_refused_and_sending_is_not(call):
    assert call("sendto", 3, 0x7F0000001000, 5, 0, 0, 0) == ALLOW
    for address in (0x1000, 1 << 32):
        assert call("sendto", 3, 0x7F0000001000, 5, 0, address, 16) == USER_NOTIF
    for name, place in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        arguments = [3, 0x1000, 1, 0][:place + 1]
        assert call(name, *arguments) == ALLOW
        arguments[place] = seccomp.FASTOPEN | 0x4000
        assert call(name, *arguments) == USER_NOTIF, name


def test_threads_start_and_name_spaces_do_not(call):
    thread, process = 0x3D0F00, 0x1200011
    assert call("clone", thread) == call("clone", process) == ALLOW
    for flag in (0x10000000, 0x40000000, 0x20000000, 0x20000):
        assert call("clone", process | flag) == USER_NOTIF
    assert call("clone3") == ERRNO | errno.ENOSYS, "its flags cannot be seen; libraries go back to clone"


def test_nobody_else_gets_a_listener(call, processor):
    for flags in (8, 8 | 1, 8 | 16, 8 | 7 << 32):
        assert call("seccomp", 1, flags) == ERRNO | errno.EPERM
    assert call("seccomp", 1, 1) == call("seccomp", 1, 0) == ALLOW, "a filter that only refuses more"
    unnamed = seccomp.build(processor, named=False, network=False, pid=PID)
    assert decide(unnamed, processor.audit_arch, processor.numbers["seccomp"], (1, 8)) == ERRNO | errno.EPERM


def test_a_terminal_is_not_typed_into(call):
    assert call("ioctl", 0, 0x5413) == ALLOW
    assert call("ioctl", 0, 0x5412) == call("ioctl", 0, 0x541C) == call("ioctl", 0, 0x5412 | 1 << 32) == USER_NOTIF


@pytest.mark.parametrize("name", ["prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam",
                                  "sched_setattr", "migrate_pages", "move_pages"])
def test_only_this_process_is_changed(call, processor, name):
    assert call(name, 0) == call(name, PID) == ALLOW
    assert call(name, PID | 7 << 32) == ALLOW, "the kernel, too, looks at the lower half alone"
    unnamed = seccomp.build(processor, named=False, network=True, pid=PID)
    for other in (1, PID + 1, 0xFFFFFFFF):
        assert call(name, other) == USER_NOTIF
        refused = decide(unnamed, processor.audit_arch, processor.numbers[name], (other,))
        assert refused == ERRNO | errno.EACCES


def test_priorities_of_groups_and_users_are_not_changed(call):
    for name, one in (("setpriority", 0), ("ioprio_set", 1)):
        assert call(name, one, 0) == call(name, one, PID) == ALLOW
        for which, who in ((one, 1), (one + 1, 0), (one + 1, PID), (one + 2, 0)):
            assert call(name, which, who) == USER_NOTIF, (name, which, who)


def test_signals_go_to_this_process_and_others_are_asked_about(call, processor):
    for name, place in (("kill", 1), ("tkill", 1), ("rt_sigqueueinfo", 1), ("tgkill", 2), ("rt_tgsigqueueinfo", 2)):
        def send(to: int, signal: int, name: str = name, place: int = place) -> int:
            return call(name, *[to, PID, PID][:place], signal)

        assert send(PID, 15) == ALLOW
        assert send(1, 0) == ALLOW, "asks only whether it exists"
        for other in (0, 1, PID + 1, 0xFFFFFFFF):
            assert send(other, 15) == USER_NOTIF, (name, other)
        unnamed = seccomp.build(processor, named=False, network=True, pid=PID)
        assert decide(unnamed, processor.audit_arch, processor.numbers[name], (1, 15, 15)) == ALLOW


def test_no_file_signals_another_process(call):
    assert call("fcntl", 3, 4) == ALLOW
    assert call("fcntl", 3, 8) == call("fcntl", 3, 15) == call("ioctl", 3, 0x8901) == USER_NOTIF


def test_unix_datagrams_with_peers_alone(call, processor):
    peers = seccomp.build(processor, named=True, network=True, pid=PID, peers=True)
    def with_peers(family: int, kind: int) -> int:
        return decide(peers, processor.audit_arch, processor.numbers["socket"], (family, kind))

    assert call("socket", socket.AF_UNIX, DATAGRAM) == USER_NOTIF
    for kind in (DATAGRAM, DATAGRAM | 0o2000000 | 0o4000, STREAM, socket.SOCK_SEQPACKET):
        assert with_peers(socket.AF_UNIX, kind) == ALLOW
    assert with_peers(socket.AF_UNIX, socket.SOCK_RAW) == USER_NOTIF
    for family in (socket.AF_INET, socket.AF_INET6, 17):
        assert with_peers(family, DATAGRAM) == USER_NOTIF


def test_another_interface_than_the_processors_own_ends_the_process(processor):
    steps = seccomp.build(processor, named=True, network=True, pid=PID)
    other = AARCH64 if processor is X86_64 else X86_64
    for arch in (other.audit_arch, 0x40000003, 0x40000028):  # 32 bits of each
        assert decide(steps, arch, processor.numbers["socket"], (socket.AF_UNIX, STREAM)) == KILL_PROCESS
    x32 = decide(steps, processor.audit_arch, 0x40000000 | 41, (socket.AF_UNIX, STREAM))
    assert x32 == (ERRNO | errno.ENOSYS if processor is X86_64 else ALLOW)


def test_without_a_listener_the_kernel_answers_itself(processor):
    steps = seccomp.build(processor, named=False, network=True, pid=PID)
    number = processor.numbers
    assert decide(steps, processor.audit_arch, number["connect"]) == ERRNO | errno.EACCES
    assert decide(steps, processor.audit_arch, number["socket"], (socket.AF_INET, STREAM)) == ERRNO | errno.EACCES


def test_a_job_that_fetches_may_connect_and_still_not_reach_into_others(processor):
    steps = seccomp.build(processor, named=False, network=False, pid=PID)
    for name in ("connect", "socket", "sendto"):
        assert decide(steps, processor.audit_arch, processor.numbers[name], (socket.AF_INET, STREAM)) == ALLOW
    for name in ("ptrace", "mount", "bpf", "pidfd_getfd"):
        assert decide(steps, processor.audit_arch, processor.numbers[name]) == ERRNO | errno.EACCES


def test_the_kernel_takes_programs_of_this_length(processor):
    assert len(seccomp.build(processor, named=True, network=True, pid=PID)) < 4096
    step = seccomp.Instruction(seccomp.JUMP_EQUAL, 0xC000003E, 1, 2)
    assert step.packed() == bytes([0x15, 0, 1, 2, 0x3E, 0, 0, 0xC0])


def test_a_worker_without_a_lock_can_import_what_it_asks_for_one():
    """Windows has no fcntl."""
    code = ("import sys, tempfile, socket, psutil; sys.platform = 'win32'; sys.modules['fcntl'] = None; "
            "from slmstudio.core.lock import worker_lock; print(worker_lock.install('train', {}).enforced)")
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
