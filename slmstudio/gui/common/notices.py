"""Tells a user that long work has ended, whichever tab they are looking at."""

from __future__ import annotations

from slmstudio.core.i18n import tr
from slmstudio.core.jobs.outcome import Outcome
from slmstudio.gui.common.session import Notice, Session

TRAINING, EXPORT, EVALUATION = "training", "export", "evaluation"


def tell_end(session: Session, kind: str, name: str, outcome: Outcome) -> None:
    """Tell everybody how a run, an export or an evaluation ended. What the user ended isn't news.

    Args:
        kind: `TRAINING`, `EXPORT` or `EVALUATION`.
        name: of the run.
    """
    if outcome.state in ("cancelled", "paused", "stopped"):
        return
    if outcome.was_successful():
        title = {TRAINING: tr("Training is finished"), EXPORT: tr("The export is finished"),
                 EVALUATION: tr("The evaluation is finished")}[kind]
        session.notice.emit(Notice(title, name))
    elif outcome.result.get("consent"):
        session.notice.emit(Notice(tr("Training needs your decision"),
                                   tr("{name}: {what}", name=name, what=outcome.user_error().what), urgent=True))
    else:
        title = {TRAINING: tr("Training ended early"), EXPORT: tr("The export failed"),
                 EVALUATION: tr("The evaluation failed")}[kind]
        session.notice.emit(Notice(title, tr("{name}: {what}", name=name, what=outcome.user_error().what),
                                   urgent=True))
