"""Using an export elsewhere: the built-in server, and recipes for other programs."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QWidget

from slmstudio.core.export import recipes
from slmstudio.core.export.recipes import Recipe
from slmstudio.core.i18n import tr
from slmstudio.core.run.folder import RunSummary
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import IconButton, SegmentedControl
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, row_of
from slmstudio.gui.export.exports_table import Export
from slmstudio.gui.export.model_server import SERVING, ModelServer
from slmstudio.gui.export.recipe_page import LmStudioPage, OllamaPage, RecipePage
from slmstudio.gui.export.server_page import ServerPage


class ServePanel(QFrame):
    """One page for each way to use the selected file.

    Signals:
        closed: the user is done here. A server keeps running.
    """

    closed = Signal()

    def __init__(self, session: Session):
        super().__init__()
        self.setProperty("inset", True)
        self._session = session
        self._shown: tuple[RunSummary, Export] | None = None
        self._reading = TaskSlot()
        self.server = ModelServer(self)
        self.server.changed.connect(self._tell_session)
        self.banner = ErrorBanner(name="serve_banner")
        self.server_page = ServerPage(self.server)
        self.ollama = OllamaPage()
        self.llama_server = RecipePage(tr("llama.cpp's own server, with the template from the file:"),
                                       tr("Commands for llama-server"))
        self.vllm = RecipePage(tr("For many users at once, on a machine with a large card:"),
                               tr("Command for vLLM"))
        self.lm_studio = LmStudioPage()
        self.recipe_pages = {"ollama": self.ollama, "llama.cpp": self.llama_server, "vllm": self.vllm,
                             "lm-studio": self.lm_studio}
        self._lay_out()

    def _lay_out(self) -> None:
        self.choice = SegmentedControl(
            [tr("Server"), "Ollama", "llama.cpp", "vLLM", "LM Studio"],
            tooltips=[tr("SLM Studio's own server."), tr("A program that runs models on this machine."),
                      tr("The engine behind Chat, as a server."), tr("A server for many users."),
                      tr("A desktop program for chatting with models.")])
        self.choice.setObjectName("serve_choice")
        self.pages: list[QWidget] = [self.server_page, *self.recipe_pages.values()]
        self.choice.changed.connect(self._turn_to)
        close = IconButton("close", tr("Close this section. A running server keeps running."), name="serve_close",
                           clicked=self.closed)
        column = column_in(self, row_of(self.choice, STRETCH, close, spacing=None), self.banner, margins=theme.SPACE_M)
        for page in self.pages:  # no QStackedWidget: it would always be as high as the highest of them
            column.addWidget(page)
        self._turn_to(0)

    def _turn_to(self, index: int) -> None:
        for number, page in enumerate(self.pages):
            page.setVisible(number == index)

    def serves(self, run: RunSummary) -> bool:
        """Whether the server serves a file of this run."""
        return self.server.is_busy() and self.server.path is not None and run.folder in self.server.path.parents

    def show_export(self, run: RunSummary | None, export: Export | None) -> None:
        """Offer this file; its header is read in the background."""
        shown = (run, export) if run is not None and export is not None else None
        if shown == self._shown and shown is not None:
            return
        self._shown = shown
        self.server_page.show_file(export.path if export is not None else None)
        if shown is None:
            return
        self.banner.clear()
        chosen_run, chosen = shown
        self._reading.run(self, lambda task: recipes.recipes(recipes.find(chosen.path, chosen_run)),
                          lambda found: self._show_recipes(chosen, found), self.banner.show_error)

    def _show_recipes(self, export: Export, found: list[Recipe]) -> None:
        for recipe in found:
            self.recipe_pages[recipe.program].show_recipe(export.path, recipe)

    def _tell_session(self) -> None:
        serving = self.server.serving if self.server.state == SERVING else None
        self._session.set_server(f"{serving.model} · {serving.url.removeprefix('http://')}" if serving else "")
