"""Using an export elsewhere: the built-in server, and recipes for other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFrame, QWidget

from slmstudio.core.export import recipes
from slmstudio.core.export.recipes import Recipe
from slmstudio.core.i18n import tr
from slmstudio.core.run.folder import RunSummary
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import Task, TaskSlot
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import IconButton, SecondaryButton, SegmentedControl
from slmstudio.gui.common.widgets.copy_text import CopyText
from slmstudio.gui.common.widgets.labels import text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, fill, row_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.export.exports_table import Export
from slmstudio.gui.export.server_page import SERVING, ModelServer, ServerPage

# -- One recipe: text to copy, what to do with it, and a button that does it.


class RecipePage(QWidget):
    """Empty until a recipe is shown.

    Args:
        lead: what the text is for.
        name: of the text, for a screen reader.
        wrap: break long lines, as of commands.
    """

    def __init__(self, lead: str, name: str, *, wrap: bool = True):
        super().__init__()
        self._task = TaskSlot()
        self.gguf: Path | None = None
        self.recipe: Recipe | None = None
        self.banner = ErrorBanner()
        self.lead = text_label(lead, "small", wrap=True)
        self.text = CopyText(name, wrap=wrap)
        self.then = text_label("", "small", wrap=True)
        self.command = CopyText(tr("Command"), wrap=True)
        self.notes = text_label("", "small", wrap=True)
        self.strip = ProgressStrip(cancelled=self._cancel)
        self.strip.hide()
        self.done = text_label("", "small", wrap=True, tone="ok")
        self.done.hide()
        self.column = column_in(self, self.banner, self.lead, self.text, self.then, self.command, self.notes,
                                self.strip, self.done)
        self.command.hide()
        self.then.hide()

    def show_recipe(self, gguf: Path, recipe: Recipe) -> None:
        """Show a recipe for a file; one that can't be followed says why."""
        self.gguf, self.recipe = gguf, recipe
        if recipe.problem is not None:
            self.banner.show_error(recipe.problem)
        else:
            self.banner.clear()
        for widget in (self.lead, self.text):
            widget.setVisible(recipe.problem is None)
        self.text.set_text(recipe.text)
        self.notes.setText("\n".join(recipe.notes))
        self.notes.setVisible(bool(recipe.notes))
        self.done.hide()
        self._update()

    def _update(self) -> None:
        """Buttons and texts that depend on the recipe and on whether something is running."""

    def is_at_work(self) -> bool:
        return self._task.is_busy()

    def work(self, saying: str, func: Callable[[Path, str, Task], str]) -> None:
        """Do something with the file and the recipe's text off the UI thread; its answer is a sentence."""
        gguf, recipe = self.gguf, self.recipe
        if gguf is None or recipe is None or self._task.is_busy():
            return
        self.banner.clear()
        self.done.hide()
        self.strip.show()
        self.strip.start(saying)
        self._task.run(self, lambda task: func(gguf, recipe.text, task), self._worked, self._failed,
                       self.strip.set_progress)
        self._update()

    def _worked(self, sentence: str) -> None:
        self._rest()
        self.done.setText(sentence)
        self.done.show()

    def _failed(self, error: Exception) -> None:
        self._rest()
        self.banner.show_error(error)

    def _cancel(self) -> None:
        self._task.cancel()
        self._rest()

    def _rest(self) -> None:
        self.strip.hide()
        self._update()


class OllamaPage(RecipePage):
    """The Modelfile, and "Create in Ollama" where Ollama is installed."""

    def __init__(self) -> None:
        super().__init__("", tr("Modelfile"), wrap=False)
        self.lead.setText(tr("A Modelfile that contains the chat template and the stop tokens."))
        self.create = SecondaryButton(tr("Create in Ollama"), "", "small", name="ollama_create", clicked=self._create)
        self.save = SecondaryButton(tr("Save"), tr("Save the Modelfile next to the exported file."), "small",
                                    name="ollama_save", clicked=self._save)
        fill(self.text.row, self.save, self.create)

    def _update(self) -> None:
        from slmstudio.core.export import ollama

        installed = ollama.program() is not None
        fine = self.recipe is not None and self.recipe.problem is None
        self.save.setEnabled(fine and not self.is_at_work())
        self.create.setEnabled(installed and fine and not self.is_at_work())
        self.create.setToolTip(tr("Add the model to Ollama's own storage.") if installed else
                               tr("Ollama isn't installed on this machine."))
        self.then.setText(tr("Ollama isn't installed here. After you install it and save the Modelfile, run:"))
        self.then.setVisible(fine and not installed)
        self.command.setVisible(fine and not installed)
        self.command.set_text(self.recipe.command if self.recipe is not None else "")

    def _save(self) -> None:
        from slmstudio.core.export import ollama

        self.work(tr("Saving"), lambda gguf, text, task: tr("Saved as {path}", path=ollama.save(gguf, text)))

    def _create(self) -> None:
        from slmstudio.core.export import ollama

        name = ollama.model_name(self.gguf) if self.gguf is not None else ""
        self.work(tr("Ollama is copying {name}", name=name), lambda gguf, text, task: tr(
            "Done. Chat with it: {command}", command=ollama.create(gguf, name, text, task.cancelled)))


class LmStudioPage(RecipePage):
    """Where the file goes, and a button that puts it there."""

    def __init__(self) -> None:
        super().__init__("", tr("Location in LM Studio's folder"))
        self.lead.setText(tr("LM Studio finds models in its own folder. The file goes here:"))
        self.put = SecondaryButton(tr("Add to LM Studio"),
                                   tr("Link the file into LM Studio's folder, or copy it if it's on another disk."),
                                   "small", name="lm_studio_put", clicked=self._put)
        self.open = SecondaryButton(tr("Open folder"), tr("Show the folder in the file manager."), "small",
                                    name="lm_studio_open", clicked=self._open)
        fill(self.text.row, self.open, self.put)

    def _update(self) -> None:
        self.put.setEnabled(self.recipe is not None and not self.is_at_work())
        self.open.setEnabled(self._folder() is not None)

    def _folder(self) -> Path | None:
        folder = Path(self.recipe.text).parent if self.recipe is not None else None
        return folder if folder is not None and folder.is_dir() else None

    def _open(self) -> None:
        if (folder := self._folder()) is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _put(self) -> None:
        def put(gguf: Path, text: str, task: Task) -> str:
            copied = recipes.put(gguf, task.progress, task.cancelled)[1]
            return tr("LM Studio has a copy now.") if copied else tr("LM Studio has it now, without extra disk space.")

        self.work(tr("Copying"), put)


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
        self.server = session.model_server = session.model_server or ModelServer()
        self.server.changed.connect(self._report_session)
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
        self._report_session()

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

    def _report_session(self) -> None:
        serving = self.server.serving if self.server.state == SERVING else None
        self._session.set_server(f"{serving.model} · {serving.url.removeprefix('http://')}" if serving else "")
