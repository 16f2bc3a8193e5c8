"""The base model that is shown: its facts, whether it fits, or how to prepare it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from slmstudio.core import units
from slmstudio.core.i18n import ntr, number_text, tr
from slmstudio.core.jobs import new
from slmstudio.core.model.facts import refusal
from slmstudio.core.model.vetting import vet
from slmstudio.gui.common import theme
from slmstudio.gui.common.session import Session
from slmstudio.gui.common.tasks import TaskSlot, run_task
from slmstudio.gui.common.widgets.areas import Card, EmptyState, Fold, rule, scrolled
from slmstudio.gui.common.widgets.banner import ErrorBanner
from slmstudio.gui.common.widgets.buttons import SecondaryButton
from slmstudio.gui.common.widgets.labels import Chip, breakable, text_label
from slmstudio.gui.common.widgets.layouts import STRETCH, column_in, column_widget, grid_in, pages_of
from slmstudio.gui.common.widgets.progress import ProgressStrip
from slmstudio.gui.model import fit_view
from slmstudio.gui.model.fit_view import FitView
from slmstudio.gui.model.get_page import GetPage
from slmstudio.gui.model.template_choice import TemplateChoice
from slmstudio.gui.model.work import FETCH, MEASURE, PREPARE, ModelWork, download

if TYPE_CHECKING:
    from slmstudio.core.model.facts import ModelFacts
    from slmstudio.core.model.vetting.vet import Vetting
    from slmstudio.core.run.recommend import Rows
    from slmstudio.core.run.time_estimate import TimeEstimate
    from slmstudio.gui.model.known import ModelEntry

# -- What a base model is for the chosen rows, in rows of a name and a value.


class FactsTable(QWidget):
    """Names with their values below each other.

    Attributes:
        values: the labels, by what they say.
    """

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__()
        grid = grid_in(self, theme.SPACE_M, theme.SPACE_XS, stretch=1)
        self.values = {}
        for line, (key, name) in enumerate(names.items()):
            value = self.values[key] = text_label("", "body", wrap=True, name=f"model_{key}")
            value.setAccessibleName(name)
            grid.addWidget(text_label(name, "muted"), 2 * line, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(value, 2 * line, 1)
            grid.addWidget(rule(), 2 * line + 1, 0, 1, 2)

    def show_values(self, texts: dict[str, str]) -> None:
        """Show these values; the others stay as they are."""
        for key, text in texts.items():
            self.values[key].setText(breakable(text))


def figures_of(entry: ModelEntry) -> dict[str, str]:
    """What a folder holds, or what the catalogue knows; what isn't known is said to be so."""
    facts, known, unknown = entry.facts, entry.known, tr("not known")
    told = facts or known
    if told is None:
        return {}
    context = facts.context_length if facts is not None else known.context if known is not None else None
    vocabulary = facts.vocabulary_size if facts is not None else known.vocabulary if known is not None else 0
    return {"family": told.family, "parameters": units.format_count(told.parameters),
            "context": tr("{tokens} tokens", tokens=number_text(context)) if context else unknown,
            "vocabulary": tr("{tokens} tokens", tokens=number_text(vocabulary)),
            "layers": tr("{layers}, each with a hidden size of {size}", layers=number_text(told.layers),
                         size=number_text(told.hidden_size)) if told.layers and told.hidden_size else unknown,
            "terms": known.licence.use if known is not None else unknown,
            "folder": str(facts.path) if facts is not None else entry.repo or str(entry.folder)}


READY, UNPACK, DAMAGED = range(3)


class ModelCard(Card):
    """Shows one entry of the list.

    Signals:
        use_wanted(ModelFacts): the user chose this model.
    """

    use_wanted = Signal(object)

    def __init__(self, session: Session, work: ModelWork):
        super().__init__(" ")
        self._session, self._work = session, work
        self._entry: ModelEntry | None = None
        self._fit: fit_view.Fit | None = None
        self._rows: Rows | None = None
        self._task = TaskSlot()
        self.title.setObjectName("model_name")
        self.chip = Chip(name="model_chip")
        self.header.insertWidget(1, self.chip)
        self._pages = pages_of(self._model_page(), self._prepare_page(), self._damaged_page())
        self.body.addWidget(self._pages, 1)
        session.memory_changed.connect(self._estimate_again)
        session.job_changed.connect(self._show_measurable)
        work.changed.connect(self._show_work)
        work.progressed.connect(self._show_progress)

    def _model_page(self) -> QWidget:
        """The page of a model that can be used or fetched: its facts and fit are shown in the same way."""
        self.facts = FactsTable({"time": tr("Time"), "memory": tr("Memory"), "language": tr("Language"),
                                 "licence": tr("Licence"), "disk": tr("Disk")})
        self.facts.setObjectName("model_facts")
        self.figures = FactsTable({"family": tr("Family"), "parameters": tr("Parameters"), "context": tr("Context"),
                                   "vocabulary": tr("Vocabulary"), "layers": tr("Layers"), "terms": tr("Terms"),
                                   "folder": tr("Folder")})
        self.files = Fold(tr("Figures and files"), self.figures, name="model_files")
        self.fit = FitView()
        self.fit.hide()
        self.fit.measure.clicked.connect(self._measure)
        self.fit.strip.cancelled.connect(self._work.cancel)
        self.banner_ready = ErrorBanner()
        self.get_page = GetPage()
        self.get_page.get_wanted.connect(self._get)
        self.get_page.pause.clicked.connect(self._work.pause)
        self.get_page.strip.cancelled.connect(self._work.cancel)
        self.use = SecondaryButton(tr("Use this model →"),
                                 tr("Train on top of this model. The next step is to plan the run."), name="model_use",
                                 clicked=lambda: self.use_wanted.emit(self._entry.facts if self._entry else None))
        self.template = TemplateChoice()
        self.template.chosen.connect(self._choose_template)
        page, inner = QWidget(), QWidget()
        column_in(inner, self.facts, self.template, self.banner_ready, self.get_page, self.fit, self.files, STRETCH,
                  spacing=theme.SPACE_M, margins=(0, 0, theme.SPACE_M, 0))  # the scroll bar isn't on the text
        column_in(page, (scrolled(inner), 1), self.get_page.actions, (self.use, 0, Qt.AlignmentFlag.AlignRight),
                  spacing=theme.SPACE_M)
        return page

    def _prepare_page(self) -> QWidget:
        title = text_label(tr("It must be unpacked before it can be trained"), "heading")
        self.explain = text_label("", "muted", wrap=True)
        for label in (title, self.explain):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.prepare = SecondaryButton(tr("Prepare it"),
                                       tr("Unpack the file into a folder that can be trained. You can keep working in "
                                          "the meantime."), name="model_prepare", clicked=self._unpack)
        self.strip = ProgressStrip(name="model_progress", cancelled=self._work.cancel)
        column = QWidget()
        column_in(column, title, self.explain, self.strip, (self.prepare, 0, Qt.AlignmentFlag.AlignHCenter),
                  spacing=theme.SPACE_L, margins=None)
        return EmptyState.centred(column)

    def _damaged_page(self) -> QWidget:
        self.banner = ErrorBanner(closable=False, name="model_error")
        self.accept = SecondaryButton(tr("Use this tokenizer anyway"),
                                      tr("Train with it although it seems to be another model's. This is remembered "
                                         "for this model, and you aren't asked again."), name="model_accept_tokenizer",
                                      clicked=self._accept)
        return column_widget(self.banner, (self.accept, 0, Qt.AlignmentFlag.AlignRight), STRETCH, spacing=theme.SPACE_M)

    def show_entry(self, entry: ModelEntry) -> None:
        """Show another model, or what is new of this one."""
        self._task.cancel()
        self._entry, self._fit = entry, None
        self.title.setText(entry.name)
        self.fit.hide()
        self.banner_ready.clear()
        if entry.error is not None:
            self._pages.setCurrentIndex(DAMAGED)
            self.chip.set(tr("can't be used"), "bad", "")
            self.banner.show_error(entry.error)
            self.accept.hide()
        elif entry.gguf is not None:
            self._pages.setCurrentIndex(UNPACK)
            self.chip.set(tr("not ready yet"), "accent", "")
        else:
            self._pages.setCurrentIndex(READY)
            self._show_model(entry)
        self._show_work()

    def _show_model(self, entry: ModelEntry) -> None:
        here = entry.facts is not None
        self.use.setVisible(here)
        self.template.forget()
        self.get_page.setVisible(not here)
        self.get_page.actions.setVisible(not here)
        for part in (self.facts, self.files):
            part.setVisible(entry.sizes is not None or entry.known is not None)
        self.figures.show_values(figures_of(entry))
        if entry.facts is not None:
            self._show_checks(entry.facts)
        else:
            self.chip.set(tr("not on this machine"), "plain", "")
        self._show_suitability()
        self.estimate()

    def show_suitability(self, rows: Rows) -> None:
        """Show what `suits` of the entry says, for these rows."""
        self._rows, self._fit = rows, None
        if self._entry is not None and self._pages.currentIndex() == READY:
            self._show_suitability()
            self.estimate()

    def _show_suitability(self) -> None:
        """The rows of facts, as far as they are known before the run is planned."""
        entry, rows = self._entry, self._rows
        assert entry is not None
        suits, facts, known = entry.suits, entry.facts, entry.known
        licence = known.licence.name if known is not None else facts.licence if facts is not None else ""
        count = known.language_count if known is not None else 0
        language = ntr("{n:,} language", "{n:,} languages", count) if count else tr("not stated")
        if suits is not None and rows is not None:  # a thread has imported it by now
            from slmstudio.core.run import recommend

            language = recommend.language_text(suits, rows) or language
            licence = recommend.licence_text(entry.listed)
        size = units.format_bytes(facts.disk_bytes if facts is not None else entry.download_bytes)
        told = self.facts.values["language"]
        told.setProperty("tone", "warn" if suits is not None and suits.problem == "other_language" else "")
        theme.restyle(told)
        self.facts.show_values({
            "time": self._time_text(suits.time) if suits is not None else "…",
            "memory": units.format_span(suits.need.low, suits.need.high) if suits is not None else "…",
            "language": language,
            "licence": licence or tr("not stated"),
            "disk": tr("{size}, on this machine", size=size) if facts is not None else
                    tr("{size} to download", size=size)})

    def _time_text(self, time: TimeEstimate) -> str:
        from slmstudio.core.run.time_estimate import source_text

        return tr("{time}, {source}", time=time.text(), source=source_text(time))

    def begin(self) -> None:
        """Prepare or fetch the model that is shown; where terms or a token come first, the user is led there."""
        entry = self._entry
        if entry is not None and entry.gguf is not None:
            self._unpack()
        elif entry is not None and not self.get_page.begin():
            self.get_page.ask()

    def _show_checks(self, facts: ModelFacts) -> None:
        """Vet the folder, and say what was found; one that is refused can't be used."""
        self.chip.set(tr("checking …"), "plain", "")
        self.use.setEnabled(False)
        run_task(self, lambda task: vet.vet(facts.path), partial(self._vetted, facts), partial(self._not_vetted, facts))
        self.template.show_model(facts, self._session.chat_template_of(facts.path))

    def _vetted(self, facts: ModelFacts, found: Vetting) -> None:
        entry = self._entry
        if entry is None or entry.facts is not facts:
            return
        told = "\n".join([*(f"{'✓' if check.passed else '✗'} {check.sentence}" for check in found.checks),
                          *(f"! {warning}" for warning in found.warnings)])
        if not found.passed:
            self.chip.set(tr("can't be used"), "bad", told)
            self.banner.show_error(refusal(facts.name, list(found.problems)))
            self.accept.setVisible(found.is_acceptable)
            self._pages.setCurrentIndex(DAMAGED)
            return
        self.use.setEnabled(True)
        if not found.matches:
            self.chip.set(tr("✓ vetted; you accepted its tokenizer"), "ok", told)
        elif not facts.has_chat_template:
            self.chip.set(tr("✓ vetted; no chat template of its own"), "ok", told)
        else:
            self.chip.set(tr("✓ vetted"), "ok", told)

    def _accept(self) -> None:
        """Remember that the tokenizer is the right one, and vet the model again."""
        entry = self._entry
        if entry is not None and entry.facts is not None:
            folder = entry.facts.path
            run_task(self, lambda task: vet.accept(folder), lambda _: self._accepted(entry), self.banner.show_error)

    def _accepted(self, entry: ModelEntry) -> None:
        if self._entry is entry:
            self.show_entry(entry)

    def _not_vetted(self, facts: ModelFacts, error: Exception) -> None:
        if self._entry is not None and self._entry.facts is facts:
            self.chip.set(tr("can't be checked"), "bad", "")
            self.banner_ready.show_error(error)

    def _choose_template(self, name: str) -> None:
        if self._entry is not None and self._entry.facts is not None:
            self._session.choose_template(self._entry.facts.path, name)
            self.estimate()

    def _estimate_again(self) -> None:
        """Other programs took memory or gave it back: worth an estimate while somebody looks, which takes a moment."""
        if self.isVisible():
            self.estimate()

    def estimate(self) -> None:
        """Work out whether the model fits, by what is chosen and known now: first as it is expected, then as the run
        would be planned, which takes longer. Before `suits` is known, the model tab works that out."""
        machine, entry = self._session.machine, self._entry
        sizes, suits = (entry.sizes, entry.suits) if entry is not None else (None, None)
        if machine is not None and sizes is not None and suits is not None:
            self._task.run(self, lambda task: fit_view.expected(sizes, machine, suits), self._show_expected,
                           self._no_fit)

    def _show_expected(self, found: fit_view.Fit) -> None:
        session, entry = self._session, self._entry
        machine, dataset, evaluation = session.machine, session.dataset, session.eval_dataset
        if self._fit is None or dataset is None:
            self._show_fit(found)
        if dataset is None or machine is None or entry is None or entry.facts is None:
            return
        facts = entry.facts
        chosen: dict[str, object] = {} if evaluation is not None else {
            "eval_fraction": session.eval_fraction, "split_seed": session.split_seed, "split_by": session.split_by}
        if name := session.chat_template_of(facts.path):
            chosen["chat_template"] = name
        self._task.run(self, lambda task: fit_view.planned(facts, machine, dataset, evaluation, chosen), self._show_fit,
                       self._no_fit)

    def _show_fit(self, found: fit_view.Fit) -> None:
        self._fit = found
        self.banner_ready.clear()
        self.fit.show_fit(found)
        estimate, free = found.best.estimate, found.free
        span = units.format_span(estimate.low, estimate.high)
        self.facts.show_values({"time": self._time_text(found.time), "memory": span if free is None else
                                tr("{span} of {free} free", span=span, free=units.format_bytes(free))})
        self.fit.show()
        self._show_measurable()

    def _no_fit(self, error: Exception) -> None:
        self.fit.hide()
        self.banner_ready.show_error(error)

    def _show_measurable(self) -> None:
        """A fit check needs rows, a model that is on this machine, and a machine that is otherwise idle."""
        found, entry = self._fit, self._entry
        here = entry is not None and entry.facts is not None
        if not here:
            why = tr("Download the model first. It is measured with its own weights.")
        elif found is None or not found.planned:
            why = tr("Choose your data in the Data tab first. Its longest rows are tried.")
        else:
            why = tr("Something else is running on this machine.") if self._session.job is not None else ""
        self.fit.set_measurable(not why, why)

    def _measure(self) -> None:
        found, entry = self._fit, self._entry
        if found is not None and entry is not None:
            self.fit.strip.start(tr("Starting"))
            self._work.start(MEASURE, entry.folder, partial(new.fit_check, found.config.to_dict()))

    def shows(self, folder: Path) -> bool:
        """Whether this model is looked at."""
        return self._entry is not None and self._entry.folder == folder

    def _get(self, entry: ModelEntry) -> None:
        self.get_page.strip.start(tr("Starting"))
        starter = entry.starter
        make = partial(new.fetch_starter, starter.folder, starter.request()) if starter is not None \
            else partial(download, entry.repo)
        self._work.start(FETCH, entry.folder, make)

    def _unpack(self) -> None:
        if self._entry is not None and self._entry.gguf is not None:
            self.strip.start(tr("Starting"))
            self._work.start(PREPARE, self._entry.folder, partial(new.unpack, self._entry.gguf, self._entry.folder))

    def _show_work(self) -> None:
        """What is running for this model, and whether something may begin."""
        entry, work = self._entry, self._work
        if entry is None:
            return
        mine, free = work.target == entry.folder, work.target is None
        if entry.gguf is not None:
            self.strip.setVisible(mine)
            self.prepare.setVisible(not mine)
            self.prepare.setEnabled(free)
            self.explain.setText(self._cost(entry.gguf.name, entry.file_bytes))
        elif entry.facts is None and entry.error is None:
            self.get_page.show_entry(entry)
            self.get_page.set_working(mine, free)
        self.fit.set_measuring(mine and work.kind == MEASURE)
        self._show_measurable()

    def _cost(self, name: str, size: int) -> str:
        return tr("{file} contains compressed weights ({size}). Unpacking takes well under a minute for a small model "
                  "and is done once. Training then starts from the compressed values. Nothing is downloaded.",
                  file=name, size=units.format_bytes(size))

    def _show_progress(self, text: str, done: int, total: int) -> None:
        if self._entry is None or self._work.target != self._entry.folder:
            return
        if self._work.kind == PREPARE:
            strip = self.strip
        else:
            strip = (self.get_page if self._work.kind == FETCH else self.fit).strip
        strip.show_phase(text, done, total)
