"""Tells a person that long work has ended, whichever tab they are looking at."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from slmstudio.core.jobs.job import Outcome
from slmstudio.gui.common.session import Notice, Session

TRAINING, EXPORT, EVALUATION = "training", "export", "evaluation"


def _tr(text: str) -> str:
    return QCoreApplication.translate("Notices", text)


def tell_end(session: Session, kind: str, name: str, outcome: Outcome) -> None:
    """Tell everybody how a run, an export or an evaluation ended. What the person ended is no news.

    Args:
        kind: `TRAINING`, `EXPORT` or `EVALUATION`.
        name: of the run.
    """
    if outcome.state in ("cancelled", "paused", "stopped"):
        return
    if outcome.was_successful():
        title = {TRAINING: _tr("Training is finished"), EXPORT: _tr("The export is finished"),
                 EVALUATION: _tr("The evaluation is finished")}[kind]
        session.notice.emit(Notice(title, name))
    elif outcome.result.get("consent"):
        session.notice.emit(Notice(_tr("Training needs your decision"), _tr("{name}: {what}").format(
            name=name, what=outcome.user_error().what), urgent=True))
    else:
        title = {TRAINING: _tr("Training ended early"), EXPORT: _tr("The export failed"),
                 EVALUATION: _tr("The evaluation failed")}[kind]
        session.notice.emit(Notice(title, _tr("{name}: {what}").format(name=name, what=outcome.user_error().what),
                                   urgent=True))
