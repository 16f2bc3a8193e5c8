"""All that an evaluation shows of the tuned model and its base, weighed against each other.

Every score, and the length and the end of the answers, is one sign: better, worse, or nothing that chance couldn't have
made. The score that was chosen to judge by leads; where too many of the signs contradict it, the verdict is mixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from slmstudio.core.evaluation.advice.evidence import Compared, Evidence
from slmstudio.core.evaluation.scores.intervals import normal_quantile
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.verdicts import BETTER, UNKNOWN, WORSE, score_text
from slmstudio.core.i18n import tr

MIXED = "mixed"
CONTRADICTED = 1 / 3
"""Share of the signs that point away from the score to judge by, from which the verdict is mixed."""
SAME = {"exact": "normalised", "bleu": "bleu_intl", "accuracy_norm": "accuracy"}
"""Scores that say the same as another, which is the one that counts where both are there."""
LENGTH = 1.25
"""How many times as far from the references' length answers must be, for that to be a sign."""


@dataclass(frozen=True)
class Sign:
    """
    Attributes:
        better: whether it speaks for the tuned model, or for its base.
        text: what differs, with the figures of the base and of the tuned model.
    """

    better: bool
    text: str


def counts_answers(compared: Compared) -> bool:
    """Whether the score is the share of right answers."""
    return compared.metric in METRICS and METRICS[compared.metric].yes_or_no


def verdict(found: Evidence) -> str:
    """`BETTER`, `WORSE`, `MIXED` or `UNKNOWN`."""
    if found.compared is None or found.compared.verdict not in (BETTER, WORSE):
        return UNKNOWN
    seen = signs(found)
    contrary = [sign for sign in seen if sign.better != (found.compared.verdict == BETTER)]
    return MIXED if len(contrary) >= CONTRADICTED * len(seen) else found.compared.verdict


def texts(found: Evidence, better: bool) -> str:
    """What speaks for the tuned model, or for its base; "" for nothing."""
    return ", ".join(sign.text for sign in signs(found) if sign.better == better)


def signs(found: Evidence) -> list[Sign]:
    """What clearly differs, the score to judge by first.

    Where that one counts right answers, a likelier or a shorter answer doesn't make up for a wrong one. But where its
    rows are too few for it, the loss shows what it can't show yet.
    """
    compared = found.compared
    if compared is None:
        return []
    counts, decided = counts_answers(compared), compared.verdict in (BETTER, WORSE)
    there = {each.metric for each in (compared, *found.others)}
    others = [each for each in found.others if SAME.get(each.metric) not in there
              and not (counts and decided and each.metric == "loss")]
    scores = [each for each in (compared, *others) if each.verdict in (BETTER, WORSE)]
    return [Sign(each.verdict == BETTER, _score(each)) for each in scores] + (
        [] if counts else list(_of_answers(found, compared.rows)))


def label(metric: str) -> str:
    """A score's name in a table; of one that a newer program knows, its key."""
    return tr(METRICS[metric].label) if metric in METRICS else metric


def _score(compared: Compared) -> str:
    metric, values = compared.metric, (compared.base, compared.tuned)
    if metric == "loss":  # the same, in the unit that has a meaning
        metric, values = "perplexity", (math.exp(min(values[0], 700)), math.exp(min(values[1], 700)))
    return tr("{score} {before} → {after}", score=label(metric), before=score_text(metric, values[0]),
              after=score_text(metric, values[1]))


def _of_answers(found: Evidence, rows: int) -> Iterator[Sign]:
    """What the answers look like, whatever they say."""
    if less := _fewer(found.cut, found.base_cut, rows):
        yield Sign(less > 0, tr("answers cut at the limit {before:.0%} → {after:.0%}", before=found.base_cut / rows,
                                after=found.cut / rows))
    if less := _fewer(found.repeated, found.base_repeated, rows):
        yield Sign(less > 0, tr("answers that repeat themselves {before:.0%} → {after:.0%}",
                                before=found.base_repeated / rows, after=found.repeated / rows))
    if min(found.tokens, found.base_tokens, found.reference_tokens) > 0:
        tuned, base = (abs(math.log(each / found.reference_tokens)) for each in (found.tokens, found.base_tokens))
        if abs(tuned - base) >= math.log(LENGTH):
            yield Sign(tuned < base, tr("length of answers {before:,.0f} → {after:,.0f} tokens (yours: {yours:,.0f})",
                                        before=found.base_tokens, after=found.tokens, yours=found.reference_tokens))


def _fewer(tuned: int, base: int, rows: int) -> int:
    """1 for fewer, -1 for more, 0 where the 95% interval of the difference of the two shares holds zero.

    Agresti and Caffo, "Simple and effective confidence intervals for proportions and differences of proportions", The
    American Statistician 54, 2000.
    """
    shares = [(count + 1) / (rows + 2) for count in (tuned, base)]
    error = math.sqrt(sum(share * (1 - share) for share in shares) / (rows + 2))
    apart = shares[1] - shares[0]
    return 0 if abs(apart) <= normal_quantile() * error else 1 if apart > 0 else -1
