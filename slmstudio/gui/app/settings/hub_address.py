"""The address of the hub that models come from, as a row of the settings."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.hub import endpoint
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.widgets.fields import named


class HubAddress(QLineEdit):
    """Saves itself when a user has typed an address that can be one; empty means the usual hub.

    Signals:
        refused(UserError): it can't be an address, or can't be saved. None: it could.
    """

    refused = Signal(object)

    def __init__(self, session: Session):
        super().__init__(session.settings.hub_endpoint)
        self._session = session
        named(self, "settings_hub", tr("Address of the model hub"),
              tr("Where models are downloaded from. Leave it empty unless your organisation has a mirror of its own, "
                 "such as https://models.example.org."))
        self.setPlaceholderText(tr("The usual hub"))
        self.setClearButtonEnabled(True)
        self.editingFinished.connect(self._save)

    def _save(self) -> None:
        text = self.text().strip()
        try:
            address = endpoint.checked(text) if text else ""
            if address != self._session.settings.hub_endpoint:
                self._session.settings.hub_endpoint = address
                self._session.settings.save()
        except UserError as error:
            self.refused.emit(error)
            return
        self.refused.emit(None)
