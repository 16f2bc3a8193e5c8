"""The Model tab on the screen, and the machines that it is shown on."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from slmstudio.core.hardware.machine import Gpu, Machine
from slmstudio.gui.common.session import Session
from slmstudio.gui.model.tab import ModelTab

GIB = 1024**3


def machine(gpu_free: int | None) -> Machine:
    """A machine with so many bytes free on its only card; None: it has no card."""
    gpus = () if gpu_free is None else (Gpu(0, "NVIDIA GeForce RTX 3060", 12 * GIB, gpu_free, (8, 6)),)
    return Machine("Linux", "CPU", 4, 8, 16 * GIB, 8 * GIB, gpus, True, False)


def shown(qtbot: QtBot, session: Session) -> ModelTab:
    """The tab, active, once it has read which models there are."""
    tab = ModelTab(session)
    tab.resize(1256, 620)
    qtbot.addWidget(tab)
    with qtbot.waitSignal(tab.refreshed), qtbot.waitActive(tab):
        tab.show()
        tab.activateWindow()
    if session.machine is not None:
        qtbot.waitUntil(lambda: all(entry.suits is not None for entry in tab.entries() if entry.sizes is not None))
    return tab
