"""What can be done with a finished run, in a row of buttons below it."""

from __future__ import annotations

from slmstudio.core.i18n import tr
from slmstudio.core.run.folder import RunSummary
from slmstudio.gui.common.widgets.buttons import ButtonRow, PrimaryButton, SecondaryButton


class RunActions(ButtonRow):
    """Buttons that say why they can't be pressed. Whoever shows them connects them."""

    def __init__(self) -> None:
        super().__init__()
        self.resume = SecondaryButton(tr("Resume"), tr("Continue from the newest checkpoint."))
        self.more = SecondaryButton(tr("Continue training…"),
                                    tr("Plan a run that continues from this one, with more data or epochs."))
        self.more.hide()
        self.serve = SecondaryButton(tr("Use elsewhere…"), "")
        self.export = SecondaryButton(tr("Export…"), "")
        self.chat = PrimaryButton(tr("Chat"), "")
        for name, button in (("resume", self.resume), ("more", self.more), ("serve", self.serve),
                             ("export", self.export), ("chat", self.chat)):
            button.setObjectName(f"results_{name}")
            button.setEnabled(button is self.more)  # until a run is shown
            if button is self.export:
                self.box.addStretch(1)
            self.box.addWidget(button)

    def show_run(self, run: RunSummary, *, made: bool, exports: bool) -> None:
        """
        Args:
            made: the run has a result.
            exports: and it is exported.
        """
        self.resume.setVisible(run.resumable)
        self.resume.setEnabled(run.resumable)
        self.more.setVisible(made and run.state == "finished")
        self.export.setEnabled(made)
        self.export.setToolTip(
            tr("Make GGUF files of the result, in the quantization types that you choose.") if made else
            tr("There is nothing to export. The run hasn't produced an adapter or model yet."))
        self.serve.setEnabled(exports)
        self.serve.setToolTip(tr("Serve the selected file to other programs, or use it in Ollama, vLLM, "
                                 "llama.cpp or LM Studio.") if exports else tr("Export the result first."))
        self.chat.setEnabled(made)
        self.chat.setToolTip(tr("Talk to the file selected above.") if exports else
                             tr("Talk to the trained model, side by side with its base model. No export "
                                "needed.") if made else
                             tr("The run hasn't produced an adapter or model yet."))
