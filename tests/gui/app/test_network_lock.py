"""The network chip: what it says of a real attempt, and of a system that enforces nothing."""

from __future__ import annotations

import pytest

from slmstudio.core.lock import seccomp
from slmstudio.core.lock.proof import Attempt, Proof
from slmstudio.core.lock.worker_lock import LockState
from slmstudio.gui.app.main_window import MainWindow
from slmstudio.gui.app.sensors import NetworkLock


def test_it_is_green_only_after_the_lock_was_tried(qtbot, window: MainWindow):
    if seccomp.here() is None:
        pytest.skip("only Linux has such a lock")
    chip = window.header.network
    NetworkLock(window.session, window.header, window)
    assert (chip.text(), chip.kind) == ("Offline", "plain")
    qtbot.waitUntil(lambda: window.session.lock_proof is not None, timeout=60_000)
    assert (chip.text(), chip.kind) == ("Locked", "ok"), window.session.lock_proof
    for tried in ("TCP over IPv6: EACCES", "io_uring: EACCES", "a child process: TCP to this machine: PermissionError"):
        assert tried in chip.toolTip()
    assert "Downloads that you ask for" in chip.toolTip()


def test_one_way_that_is_open_is_enough_to_say_so(qtbot, monkeypatch, window: MainWindow):
    proof = Proof(False, True, LockState(True), (Attempt("TCP", True, False, "it worked"),), ("TCP",), (),
                  "These attempts weren't blocked: TCP.")
    monkeypatch.setattr("slmstudio.gui.app.sensors._prove", lambda: proof)
    NetworkLock(window.session, window.header, window)
    qtbot.waitUntil(lambda: window.session.lock_proof is not None)
    assert (window.header.network.text(), window.header.network.kind) == ("Not enforced", "warn")
    assert "blocked: TCP." in window.header.network.toolTip()
    assert "unplug the cable" in window.header.network.toolTip()
