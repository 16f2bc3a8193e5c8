"""The lock itself, on this machine's kernel: a locked process tries every way out."""

from __future__ import annotations

from support import spoken

from slmstudio.core.lock import proof, seccomp

CALLS = {"TCP to this machine": "socket(AF_INET, SOCK_STREAM)", "TCP over IPv6": "socket(AF_INET6, SOCK_STREAM)",
         "UDP": "socket(AF_INET, SOCK_DGRAM)", "raw": "socket(AF_INET, SOCK_RAW)",
         "packet": "socket(AF_PACKET, SOCK_RAW)", "netlink": "socket(AF_NETLINK, SOCK_RAW)",
         "virtual machine": "socket(AF_VSOCK, SOCK_STREAM)", "Unix": "refused connect",
         "datagrams": "socket(AF_UNIX, SOCK_DGRAM)", "io_uring": "io_uring_setup", "name space": "unshare",
         "ptrace": "ptrace", "limits": "refused prlimit64", "priority": "refused setpriority",
         "cores": "refused sched_setaffinity", "scheduling": "refused sched_setscheduler", "signal": "refused kill",
         "child process": "-c import socket"}
"""What was tried: how it is named in the log."""


def test_every_way_out_is_refused_and_named(linux):
    found = proof.prove()
    assert found.enforced and not found.reason, found
    assert {each.what: each.gave for each in found.attempts if not each.blocked and each.network} == {}
    assert len([each for each in found.attempts if each.network]) == 14
    assert found.arrived == ()
    log = "\n".join(found.log)
    assert {what: call for what, call in CALLS.items() if call not in log} == {}, log
    if found.state.landlock:
        assert found.files, found.attempts


def test_without_the_lock_the_same_attempts_arrive(linux):
    """Else a proof would prove nothing."""
    found = proof.prove(locked=False)
    assert not found.enforced and found.reason
    assert {"TCP", "UDP", "a Unix socket", "a file"} <= set(found.arrived)
    gave = {each.what.split(",")[0]: each.gave for each in found.attempts}
    for what in ("TCP to this machine", "UDP to this machine", "another program's Unix socket",
                 "reading a file outside", "a child process: TCP to this machine"):
        assert gave[what] == "it worked", what


def test_the_locked_process_speaks_the_language_of_this_one(linux):
    with spoken.brackets():
        found = proof.prove()
    assert found.enforced, found
    assert [each.what for each in found.attempts if not spoken.is_translated(each.what)] == ["io_uring"]


def test_another_system_says_that_nothing_is_enforced(monkeypatch):
    monkeypatch.setattr(seccomp.sys, "platform", "win32")
    found = proof.prove()
    assert (found.enforced, found.attempts) == (False, ()) and "Linux" in found.reason
