"""What the chosen model makes of a row: chat template, tokens, and what is learned of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QStackedLayout, QWidget

from slmstudio.core.i18n import ntr, tr
from slmstudio.gui.common import theme
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, fill
from slmstudio.gui.data.token_view import Piece, TokenView, pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from slmstudio.core.data.record import Record
    from slmstudio.core.model.chat_template import ChatTemplate
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.model.tokens import Encoded

    _Loaded = tuple[Path, Tokenizer, ChatTemplate | None]


class TokenPreview(QWidget):
    """Shows a row as the model reads it. Without a model it says so.

    Signals:
        model_wanted: the user wants to choose a model.
    """

    model_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._model: Path | None = None
        self._name = self._template = ""
        self._loaded: _Loaded | None = None
        self._record: Record | None = None
        self._task = TaskSlot()
        self.view = TokenView()
        self.view.setObjectName("token_view")
        self.banner = ErrorBanner()
        self.counts = text_label("", "small", wrap=True, name="token_counts")
        self.counts.setContentsMargins(theme.CARD_PADDING, 0, theme.CARD_PADDING, theme.SPACE_S)
        shown = column_widget(self.banner, (self.view, 1), self.counts, spacing=None)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._no_model())
        self._stack.addWidget(shown)

    def _no_model(self) -> QWidget:
        page = QWidget()
        column = column_in(page, STRETCH, spacing=theme.SPACE_M, margins=None)
        for text, role in ((tr("Each model splits text into tokens in its own way."), "strong"),
                           (tr("Choose a model to see your rows as it will read them."), "muted")):
            label = text_label(text, role, wrap=True, centred=True)
            column.addWidget(label)
        button = SecondaryButton(tr("Choose a model"), tr("Go to the Model tab. You can come back."),
                                 name="token_choose_model", clicked=self.model_wanted)
        fill(column, (button, 0, Qt.AlignmentFlag.AlignHCenter), STRETCH)
        return page

    def set_model(self, model: ModelFacts | None, fallback: Path | None = None, chat_template: str = "") -> None:
        """Read with this model, or with the one in `fallback` while none is chosen.

        Args:
            chat_template: name of the one that was chosen; "" for the model's own, or the one that would be proposed.
        """
        if chat_template != self._template:
            self._loaded = None
        self._template = chat_template
        self._model = model.path if model is not None else fallback
        self._name = model.name if model is not None else fallback.name if fallback is not None else ""
        self._stack.setCurrentIndex(0 if self._model is None else 1)
        self._encode()

    def show_record(self, record: Record) -> None:
        """Show this row; of a preference pair, the chosen answer. The work is done when the widget is on screen."""
        self._record = record
        self._encode()

    def showEvent(self, event: object) -> None:
        self._encode()

    def _encode(self) -> None:
        self._task.cancel()
        if self._model is None or self._record is None or not self.isVisible():
            return
        folder, record, loaded, name = self._model, self._record, self._loaded, self._template
        self._task.run(self, lambda task: _encode(folder, record, loaded, name), self._show, self._failed)

    def _show(self, answer: tuple[_Loaded, list[Piece], int, int, float]) -> None:
        self._loaded, shown, tokens, learned, per_word = answer
        self.banner.clear()
        self.view.show_pieces(shown)
        self.counts.setText(ntr("{n:,} token, {learned:,} learned · {per_word:.1f} tokens per word with {model}",
                                "{n:,} tokens, {learned:,} learned · {per_word:.1f} tokens per word with {model}",
                                tokens, learned=learned, per_word=per_word, model=self._name))

    def _failed(self, error: Exception) -> None:
        self.view.show_pieces(())
        self.counts.setText("")
        self.banner.show_error(error)


def _encode(folder: Path, record: Record, loaded: _Loaded | None,
            chat_template: str) -> tuple[_Loaded, list[Piece], int, int, float]:
    """Runs in a thread: the tokenizer, the pieces, tokens, learned tokens, tokens a word."""
    from slmstudio.core.model.named_templates import chosen_or_proposed, template_of
    from slmstudio.core.model.tokens import encode, load_tokenizer

    if loaded is None or loaded[0] != folder:
        loaded = folder, load_tokenizer(folder), None
    _, tokenizer, template = loaded
    if record.text is not None:  # needs no template, so that models without one can learn it
        encoded = _encode_text(record.text, tokenizer, folder)
    else:
        template = template or template_of(folder, chosen_or_proposed(folder, chat_template))
        encoded = encode(list(record.messages), tokenizer, template, tools=record.tools)
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    # Most of a row with tools are names, signs and numbers that are in no message.
    said = [encoded.text] if record.has_tools else [message["content"] for message in record.messages]
    words = sum(len(text.split()) for text in (record.text or "", *said))
    return ((folder, tokenizer, template), pieces(encoded, special), len(encoded.ids), sum(encoded.learned),
            len(encoded.ids) / max(1, words))


def _encode_text(text: str, tokenizer: Tokenizer, folder: Path) -> Encoded:
    """Plain text and the token that ends it, all learned."""
    from slmstudio.core.model.chat_template import special_tokens
    from slmstudio.core.model.tokens import Encoded

    encoding = tokenizer.encode(text, add_special_tokens=False)
    ids, offsets = list(encoding.ids), list(encoding.offsets)
    end = special_tokens(folder).get("eos_token", "")
    number = tokenizer.token_to_id(end)
    if number is not None:
        ids.append(number)
        offsets.append((len(text), len(text) + len(end)))
        text += end
    return Encoded(ids, [True] * len(ids), offsets, text)
