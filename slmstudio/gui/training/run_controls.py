"""What a user can do with a running run: pause it, save it, end it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QMessageBox, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.dialogs import confirm
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton
from slmstudio.gui.common.widgets.layouts import row_in, row_of


class RunControls(QWidget):
    """The buttons of the run's header.

    Signals:
        pause, resume, free, checkpoint, stop, end_now: a button was pressed.
    """

    pause = Signal()
    resume = Signal()
    free = Signal()
    checkpoint = Signal()
    stop = Signal()
    end_now = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._paused = self._nothing_kept = False
        self.stopping = self.freeing = self.pausing = False
        self.pause_button = SecondaryButton(tr("Pause"),
                                            tr("Stop computing after this step and keep everything in memory, to use "
                                               "the machine for something else."),
                                            clicked=lambda: self.resume.emit() if self._paused else self._pause())
        self.more = IconButton("chevron-down", tr("Other ways to pause"))
        self.more.setProperty("kind", "outlined")
        self.checkpoint_button = SecondaryButton(tr("Checkpoint now"),
                                                 tr("Save a checkpoint after this step. The run can continue from it "
                                                    "after a power cut."), clicked=self.checkpoint)
        self.stop_button = SecondaryButton(tr("Stop and keep"),
                                           tr("Finish this step, save, and end the run. What it has learned is kept."),
                                           "danger", clicked=self._stop)
        self.end_button = SecondaryButton(tr("End now"),
                                          tr("End the process without waiting for the step. Anything after the last "
                                             "checkpoint is lost."), "danger", clicked=self.end_now)
        self._lay_out()
        self._make_menu()
        self._dress()
        theme.THEME.changed.connect(self._dress)
        self.hide()

    def _lay_out(self) -> None:
        pausing = row_of(spacing=2)
        row = row_in(self, pausing)
        for name, button in (("pause", self.pause_button), ("pause_more", self.more),
                             ("checkpoint", self.checkpoint_button), ("end_now", self.end_button),
                             ("stop", self.stop_button)):
            button.setObjectName(name)
            (pausing if button in (self.pause_button, self.more) else row).addWidget(button)

    def _make_menu(self) -> None:
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.pause_action = self.menu.addAction(tr("Pause"))
        self.pause_action.setToolTip(self.pause_button.toolTip())
        self.pause_action.triggered.connect(self._pause)
        self.free_action = self.menu.addAction(tr("Pause and free memory"))
        self.free_action.setToolTip(tr("Save a checkpoint and end the worker, to use the memory for something else. "
                                       "Resume continues from the checkpoint."))
        self.free_action.triggered.connect(self._free)
        self.more.clicked.connect(self._open_menu)

    def _open_menu(self) -> None:
        self.menu.popup(self.more.mapToGlobal(self.more.rect().bottomLeft()))

    def _dress(self) -> None:
        self.pause_button.setIcon(theme.icon("play" if self._paused else "pause", "ink"))
        self.stop_button.setIcon(theme.icon("stop", "bad"))

    def begin(self) -> None:
        """A run is followed from now on."""
        self.stopping = self.freeing = self.pausing = False
        self.show()

    def show_state(self, *, paused: bool, stepping: bool, nothing_kept: bool = False) -> None:
        """Offer what is possible now.

        Args:
            nothing_kept: the run hasn't learned anything yet that Stop could keep.
        """
        self._paused, self._nothing_kept = paused, nothing_kept
        self.pausing = self.pausing and not paused
        self.pause_button.setText(tr("Resume") if paused else tr("Pausing…") if self.pausing else tr("Pause"))
        self.pause_action.setVisible(not paused)
        self._dress()
        ending = self.stopping or self.freeing
        for button in (self.pause_button, self.more, self.checkpoint_button):
            button.setVisible(not ending)
            button.setEnabled(stepping and not (self.pausing and button is not self.checkpoint_button))
        # It stays, so that a second click on it doesn't hit the button that loses what was learned.
        self.stop_button.setEnabled(not ending)
        self.end_button.setVisible(ending)

    def _pause(self) -> None:
        self.pausing = True
        self._ask(self.pause)

    def _stop(self) -> None:
        if not self._nothing_kept:
            self._stop_now()
            return
        confirm(self, tr("Stop the run"), tr("Stop the run before its first step?"),
                tr("It hasn't learned anything yet, so there is nothing to keep."),
                (tr("Stop the run"), QMessageBox.ButtonRole.DestructiveRole, "stop_unkept"), self._stop_now)

    def _stop_now(self) -> None:
        self.stopping = True
        self._ask(self.stop)

    def _free(self) -> None:
        self.freeing = True
        self._ask(self.free)

    def _ask(self, signal: object) -> None:
        self.show_state(paused=self._paused, stepping=True, nothing_kept=self._nothing_kept)
        signal.emit()  # type: ignore[attr-defined]
