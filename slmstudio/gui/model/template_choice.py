"""The chat template of a base model that has none: which suits it, and what a conversation looks like in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QSizePolicy, QWidget

from slmstudio.core.i18n import tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.fields import ComboBox, named
from slmstudio.gui.common.widgets.labels import breakable, show_text, text_label
from slmstudio.gui.common.widgets.layouts import column_in, row_of

if TYPE_CHECKING:
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.model.named_templates import Fitting


@dataclass(frozen=True)
class _Found:
    """What a thread has found out about a model.

    Attributes:
        fits: templates that suit it, the best first; empty if it has one of its own.
        texts: of each, the conversation written in it.
        warnings: what is wrong with the model's own template.
    """

    fits: tuple[Fitting, ...]
    texts: tuple[str, ...]
    warnings: tuple[str, ...]


class TemplateChoice(QWidget):
    """Shown for a model without a chat template; of one that has its own, only what speaks against that is told.

    Signals:
        chosen(str): the user chose the template of this name.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._found: _Found | None = None
        self._task = TaskSlot()
        self.title = text_label(tr("No chat template: choose how conversations are written"), "section")
        self.names = named(ComboBox(), "template_names", tr("Chat template"),
                           tr("This model was never trained to chat. It learns the template that you choose, which "
                              "is then used in exports, chats and servers. The first one suits best."))
        self.names.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.names.activated.connect(self._choose)
        self.reason = text_label("", "muted", wrap=True, name="template_reason")
        self.warning = text_label("", "body", wrap=True, name="template_warning")
        self.preview = text_label("", "mono", wrap=True, name="template_preview")
        self.preview.setAccessibleName(tr("A conversation in this template"))
        self.banner = ErrorBanner(closable=False)
        column_in(self, self.title, row_of(self.names, (self.reason, 1), spacing=theme.SPACE_M), self.preview,
                  self.warning, self.banner)
        self.hide()

    def forget(self) -> None:
        """Look at no model."""
        self._task.cancel()
        self.hide()

    def show_model(self, facts: ModelFacts, name: str) -> None:
        """Look at another model.

        Args:
            name: the template that was chosen for it before; "" for none.
        """
        self.forget()
        folder, own = facts.path, facts.has_chat_template
        talk = [{"role": "system", "content": tr("Answer briefly.")},
                {"role": "user", "content": tr("When is the office open?")},
                {"role": "assistant", "content": tr("From ten to five.")},
                {"role": "user", "content": tr("Also on Saturdays?")},
                {"role": "assistant", "content": tr("No.")}]
        self._task.run(self, lambda task: _look(folder, own, talk), lambda found: self._show(found, name),
                       self._show_error)

    def _show(self, found: _Found, name: str) -> None:
        self._found = found
        self.names.clear()
        for each in found.fits:
            self.names.addItem(each.label, each.name)
        for widget in (self.title, self.names, self.reason, self.preview):
            widget.setVisible(bool(found.fits))
        self.banner.clear()
        if found.fits:
            self.names.setCurrentIndex(max(0, self.names.findData(name)))
            self._show_chosen()
        else:
            self._warn(" ".join(found.warnings))
        self.setVisible(bool(found.fits or found.warnings))

    def _show_chosen(self) -> None:
        assert self._found is not None
        number = self.names.currentIndex()
        fit = self._found.fits[number]
        self.reason.setText(fit.reason)
        self.preview.setText(breakable(self._found.texts[number]))
        self._warn(fit.warning)

    def _warn(self, text: str) -> None:
        show_text(self.warning, text)

    def _show_error(self, error: Exception) -> None:
        for widget in (self.names, self.reason, self.preview, self.warning):
            widget.hide()
        self.banner.show_error(error)
        self.show()

    def _choose(self) -> None:
        self._show_chosen()
        self.chosen.emit(self.names.currentData())


def _look(folder: Path, has_own: bool, talk: list[dict[str, str]]) -> _Found:
    """Runs in a thread."""
    from slmstudio.core.model import named_templates

    if has_own:
        return _Found((), (), tuple(named_templates.warnings(folder)))
    fits = tuple(named_templates.fitting(folder))
    return _Found(fits, tuple(named_templates.template_of(folder, each.name).render(talk) for each in fits), ())
