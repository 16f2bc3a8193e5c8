"""What came of a run, in a sentence that needs no statistics, and a second one that keeps it honest."""

from __future__ import annotations

from slmstudio.core.evaluation.advice import curve
from slmstudio.core.evaluation.advice.evidence import Compared, Evidence
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.verdicts import BETTER, WORSE
from slmstudio.core.i18n import ntr, tr

KNOWN_BEFORE = 0.2
"""Share of test rows among those that were learned, from which the scores show memory."""
UNENDING = 0.4
"""Share of answers that were cut off, from which the model hasn't learned where an answer ends."""
LITTLE = 3.0
"""Points of a score that shares of letters are measured in, below which an improvement is a small one."""


OK, BAD, WARN = "ok", "bad", "warn"
"""The colour of a verdict; "" for none."""


def headline(found: Evidence) -> tuple[str, str]:
    """The verdict for somebody who has never read a score, and its colour."""
    compared = found.compared
    if found.shape == curve.BROKEN:
        return tr("Training broke the model: its loss rose far above where it started."), BAD
    if compared is None:
        return tr("Nothing has been compared yet. Evaluate the run to see whether it's better than its base model."), ""
    if knows_the_test(found):
        return tr("It was trained on {learned:,} of the {rows:,} test rows, so this shows memory, not skill.",
                  learned=found.learned, rows=compared.rows), WARN
    if never_ends(found):
        return tr("Most answers don't end: {cut:,} of {rows:,} were cut off at the limit.", cut=found.cut,
                  rows=compared.rows), BAD
    if compared.same:
        return tr("It answers exactly as it did before training."), WARN
    if compared.verdict == BETTER:
        return _better(compared), OK
    if compared.verdict == WORSE:
        return _worse(compared), BAD
    return ntr("{n:,} row can't show whether it's better.", "{n:,} rows can't show whether it's better.",
               compared.rows), WARN


def caveat(found: Evidence) -> str:
    """What a good verdict doesn't mean; "" if there is nothing to add."""
    compared = found.compared
    if compared is None or found.shape == curve.BROKEN or knows_the_test(found) or never_ends(found):
        return ""
    if found.forgotten and compared.verdict != WORSE:
        return tr("But it got worse at general questions ({forgotten}).", forgotten=found.forgotten)
    if compared.verdict == BETTER and _is_overlap(compared) and found.exact:
        equal, rows = found.exact
        if equal < rows / 2:
            return tr("Closer doesn't mean correct: {equal:,} of {rows:,} answers are the same as yours. Check facts "
                      "before you rely on them.", equal=equal, rows=rows)
    if compared.verdict == BETTER and found.weakest:
        return tr("But it got worse at “{weakest}”.", weakest=found.weakest)
    return ""


def knows_the_test(found: Evidence) -> bool:
    return found.compared is not None and found.learned >= KNOWN_BEFORE * max(1, found.compared.rows)


def never_ends(found: Evidence) -> bool:
    """Whether the tuned model fails to end its answers and the base doesn't."""
    rows = found.compared.rows if found.compared else 0
    return rows > 0 and found.cut >= UNENDING * rows and found.cut > 2 * found.base_cut


def _is_overlap(compared: Compared) -> bool:
    return compared.metric in ("chrf", "bleu", "bleu_intl", "rouge_l")


def _counts(compared: Compared) -> bool:
    """Whether the score is the share of right answers."""
    return compared.metric in METRICS and METRICS[compared.metric].yes_or_no


def _better(compared: Compared) -> str:
    if compared.metric == "loss":
        return tr("It finds your answers more likely than before training.")
    if _is_overlap(compared):
        if compared.tuned - compared.base < LITTLE:
            return tr("Its answers are a little closer to yours than before training.")
        return tr("Its answers are clearly closer to yours than before training.")
    if _counts(compared):
        tuned, base = _right(compared)
        return tr("It's right more often: {tuned:,} of {rows:,} answers instead of {base:,}.", tuned=tuned,
                  rows=compared.rows, base=base)
    return tr("It's better by {score}.", score=_named(compared))


def _worse(compared: Compared) -> str:
    if compared.metric == "loss":
        return tr("It finds your answers less likely than before training.")
    if _is_overlap(compared):
        return tr("Its answers are further from yours than before training.")
    if _counts(compared):
        tuned, base = _right(compared)
        return tr("It's right less often: {tuned:,} of {rows:,} answers instead of {base:,}.", tuned=tuned,
                  rows=compared.rows, base=base)
    return tr("It's worse by {score}.", score=_named(compared))


def _right(compared: Compared) -> tuple[int, int]:
    """Scores that count right answers, as counts: of the tuned model, and of its base."""
    return round(compared.tuned * compared.rows / 100), round(compared.base * compared.rows / 100)


def _named(compared: Compared) -> str:
    """Another score's name; of one that a newer or a damaged file tells about, its key."""
    metric = METRICS.get(compared.metric)
    return tr(metric.name) if metric else compared.metric
