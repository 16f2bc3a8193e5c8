"""What the Data tab shows before there is a dataset."""

from __future__ import annotations

from PySide6.QtCore import Signal

from slmstudio.core.i18n import tr
from slmstudio.gui.common.widgets.areas import EmptyState
from slmstudio.gui.common.widgets.buttons import PrimaryButton, SecondaryButton
from slmstudio.gui.data.file_dialogs import kinds


class DataEmpty(EmptyState):
    """Files to choose, a folder, or the sample.

    Signals:
        files_wanted, folder_wanted, sample_wanted: a button was pressed.
    """

    files_wanted = Signal()
    folder_wanted = Signal()
    sample_wanted = Signal()

    def __init__(self) -> None:
        choose = PrimaryButton(tr("Choose files…"), tr("Choose files with training rows (Ctrl+O)."), name="data_choose")
        folder = SecondaryButton(tr("Choose a folder…"), tr("Read all files with rows in a folder as one dataset."),
                                 name="data_folder")
        sample = SecondaryButton(tr("Try the sample: citizen help desk"),
                                 tr("Questions and answers from a city's help desk, in English and Hindi. They come "
                                    "with the program: good for a first try."), name="data_sample")
        self.buttons = (choose, folder, sample)
        super().__init__(tr("What should the model learn?"),
                         tr("Drop a file or a folder with questions and answers, conversations, better and worse "
                            "answers, or plain text. It stays on this machine."), self.buttons, kinds())
        for button, signal in zip(self.buttons, (self.files_wanted, self.folder_wanted, self.sample_wanted),
                                  strict=True):
            button.clicked.connect(signal)
