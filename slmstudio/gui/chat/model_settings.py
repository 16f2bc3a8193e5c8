"""The system prompt and the sampling that each model is talked to with: they come back with it."""

from __future__ import annotations

from typing import Any

from slmstudio.gui.chat.settings import DEFAULTS, ChatSettings

USUAL: dict[str, Any] = {"system": "", **DEFAULTS.to_dict(), "seed": ""}


class SettingsByModel:
    """Keeps what `shown` says for the model that is talked to; of several side by side, for the first."""

    def __init__(self, kept: dict[str, dict[str, Any]], shown: ChatSettings):
        self._kept, self._shown, self._model = kept, shown, ""
        shown.changed.connect(self._keep)

    def show_own(self, model: str, has_messages: bool) -> None:
        """Show the settings of a model that is talked to from now on. Where it has none, a conversation that has begun
        keeps those that are shown, as does what was typed before there was a model."""
        if model != self._model:
            self.show(self._kept.get(model) or (USUAL if self._model and not has_messages else {}), model)

    def show(self, state: dict[str, Any], model: str) -> None:
        """Show these settings, as those of a conversation; what is changed from now on is the model's."""
        self._model = ""
        if state:
            self._shown.from_dict(state)
        self._model = model

    def _keep(self) -> None:
        if self._model:
            self._kept[self._model] = self._shown.to_dict()
