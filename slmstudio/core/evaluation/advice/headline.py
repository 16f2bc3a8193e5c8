"""What came of a run, in a sentence that needs no statistics, and a second one that keeps it honest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from slmstudio.core.evaluation import general
from slmstudio.core.evaluation.advice import evidence
from slmstudio.core.evaluation.advice.evidence import Compared, Evidence
from slmstudio.core.evaluation.scores.metrics import METRICS
from slmstudio.core.evaluation.scores.statistics import NORMAL_QUANTILE
from slmstudio.core.evaluation.scores.verdicts import BETTER, KEPT_WITHIN, UNKNOWN, WORSE, score_text
from slmstudio.core.i18n import join_sentences, ntr, tr

# -- All that an evaluation shows of the tuned model and its base, weighed against each other.

MIXED = "mixed"
CONTRADICTED = 1 / 3
"""Share of the signs that point away from the score to judge by, from which the verdict is mixed."""
SAME = {"exact": "normalised", "bleu": "bleu_intl", "accuracy_norm": "accuracy"}
"""Scores that say the same as another, which is the one that counts where both are there."""
WORDING = ("chrf", "bleu", "bleu_intl", "rouge_l")
"""Scores of the words of an answer."""
LENGTH = 1.25
"""How many times as far from the references' length answers must be, for that to be a sign."""


@dataclass(frozen=True)
class Sign:
    """
    Attributes:
        better: whether it speaks for the tuned model, or for its base.
        name: what differs, in a word or two.
        text: what differs, with the figures of the base and of the tuned model.
    """

    better: bool
    name: str
    text: str


def counts_answers(compared: Compared) -> bool:
    """Whether the score is the share of right answers."""
    return compared.metric in METRICS and METRICS[compared.metric].yes_or_no


def weighed_verdict(found: Evidence) -> str:
    """`BETTER`, `WORSE`, `MIXED` or `UNKNOWN`."""
    if found.compared is None or found.compared.verdict not in (BETTER, WORSE):
        return UNKNOWN
    seen = signs(found)
    contrary = [sign for sign in seen if sign.better != (found.compared.verdict == BETTER)]
    return MIXED if len(contrary) >= CONTRADICTED * len(seen) else found.compared.verdict


def sign_texts(found: Evidence, better: bool) -> str:
    """What speaks for the tuned model, or for its base; "" for nothing."""
    return ", ".join(sign.text for sign in signs(found) if sign.better == better)


def sign_names(found: Evidence, better: bool) -> str:
    """The same without figures, each thing once; with figures where two scores of one thing contradict each other."""
    seen = signs(found)
    contrary = {sign.name for sign in seen if sign.better != better}
    return ", ".join(dict.fromkeys(sign.text if sign.name in contrary else sign.name for sign in seen
                                   if sign.better == better))


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
    return [Sign(each.verdict == BETTER, _name(each.metric), _score(each)) for each in scores] + (
        [] if counts else list(_of_answers(found, compared.rows)))


def _name(metric: str) -> str:
    if metric == "loss":
        return tr("likelihood of your answers")
    if metric in METRICS and METRICS[metric].yes_or_no:
        return tr("right answers")
    return tr("wording") if metric in WORDING else metric_label(metric)


def metric_label(metric: str) -> str:
    """A score's name in a table; of one that a newer program knows, its key."""
    return tr(METRICS[metric].label) if metric in METRICS else metric


def _score(compared: Compared) -> str:
    metric, values = compared.metric, (compared.base, compared.tuned)
    if metric == "loss":  # the same, in the unit that has a meaning
        metric, values = "perplexity", (math.exp(min(values[0], 700)), math.exp(min(values[1], 700)))
    return tr("{score} {before} → {after}", score=metric_label(metric), before=score_text(metric, values[0]),
              after=score_text(metric, values[1]))


def _of_answers(found: Evidence, rows: int) -> Iterator[Sign]:
    """What the answers look like, whatever they say."""
    if less := _fewer(found.cut, found.base_cut, rows):
        yield Sign(less > 0, tr("unfinished answers"), tr(
            "answers cut at the limit {before:.0%} → {after:.0%}", before=found.base_cut / rows,
            after=found.cut / rows))
    if less := _fewer(found.repeated, found.base_repeated, rows):
        yield Sign(less > 0, tr("repetition"), tr("answers that repeat themselves {before:.0%} → {after:.0%}",
                                before=found.base_repeated / rows, after=found.repeated / rows))
    if min(found.tokens, found.base_tokens, found.reference_tokens) > 0:
        tuned, base = (abs(math.log(each / found.reference_tokens)) for each in (found.tokens, found.base_tokens))
        if abs(tuned - base) >= math.log(LENGTH):
            yield Sign(tuned < base, tr("length"), tr(
                "length of answers {before:,.0f} → {after:,.0f} tokens (yours: {yours:,.0f})",
                before=found.base_tokens, after=found.tokens, yours=found.reference_tokens))


def _fewer(tuned: int, base: int, rows: int) -> int:
    """1 for fewer, -1 for more, 0 where the 95% interval of the difference of the two shares holds zero.

    Agresti and Caffo, "Simple and effective confidence intervals for proportions and differences of proportions", The
    American Statistician 54, 2000.
    """
    shares = [(count + 1) / (rows + 2) for count in (tuned, base)]
    error = math.sqrt(sum(share * (1 - share) for share in shares) / (rows + 2))
    apart = shares[1] - shares[0]
    return 0 if abs(apart) <= NORMAL_QUANTILE * error else 1 if apart > 0 else -1


KNOWN_BEFORE = 0.2
"""Share of test rows among those that were learned, from which the scores show memory."""
UNENDING = 0.4
"""Share of answers that were cut off, from which the model hasn't learned where an answer ends."""
LITTLE = 3.0
"""Points of a score that shares of letters are measured in, below which a difference is a small one."""
FAR = 30.0
"""Points of such a score below which answers say something else than the references. An assumption."""
REPEATED = 0.2
"""Share of answers that repeat themselves, from which that is the first thing to say."""
MARKED = 0.2
"""Share of answers with marks of a template, from which they are no accident."""
ONE_ANSWER, MANY_ANSWERS, FEWEST = 0.8, 0.75, 6
"""Share of equal answers from which it answers everything alike, where no reference is that frequent, and how many
answers that takes."""
PERFECT = 95.0
"""Percent of right answers from which a base leaves little to gain."""


OK, BAD, WARN = "ok", "bad", "warn"
"""The colour of a verdict; "" for none."""


def headline(found: Evidence) -> tuple[str, str]:
    """The verdict for somebody who has never read a score, and its colour."""
    compared = found.compared
    if is_broken(found):
        return (tr("Training broke the model: its loss rose far above where it started.")
                if math.isfinite(found.losses[-1][1]) else
                tr("Training broke the model: its loss is no longer a number.")), BAD
    if compared is None:
        return _uncompared(found)
    if fault := _fault(found, compared):
        return fault
    verdict = weighed_verdict(found)
    if verdict == MIXED:
        return _mixed(found), WARN
    if verdict == BETTER and is_far_off(found):
        return tr("Closer to your answers than before, but far from them: none of {rows:,} is the same. Not ready.",
                  rows=compared.rows), WARN
    if verdict in (BETTER, WORSE):
        return _changed(compared, verdict == BETTER), OK if verdict == BETTER else BAD
    return _undecided(found, compared), WARN


def _uncompared(found: Evidence) -> tuple[str, str]:
    """What a benchmark alone says, or of continued text the loss, which is all that it is measured by."""
    if found.forgotten:
        return tr("It got worse at general questions ({benchmark}).", benchmark=found.forgotten), BAD
    if found.benchmark:
        return found.benchmark, ""
    if found.objective == "text" and (change := loss_change(found)) is not None:
        before, after = change
        if after < before * (1 - evidence.MOVED):
            return tr("It continues text like yours better than before: the loss on held-out rows fell from "
                      "{before:.2f} to {after:.2f}.", before=before, after=after), OK
    return tr("Nothing has been compared yet. Evaluate the run to see whether it's better than its base model."), ""


def _fault(found: Evidence, compared: Compared) -> tuple[str, str] | None:
    """What makes scores mean little, or answers useless whatever their score."""
    if knows_the_test(found):
        return tr("It was trained on {learned:,} of the {rows:,} test rows, so this shows memory, not skill.",
                  learned=found.learned, rows=compared.rows), WARN
    better = "" if compared.verdict == WORSE else sign_names(found, better=True)
    values = {"better": better, "rows": compared.rows}
    if repeats_itself(found):
        values["repeated"] = found.repeated
        return (tr("Better: {better}. But it repeats itself in {repeated:,} of {rows:,} answers. Not ready.", **values)
                if better else
                tr("It repeats itself in {repeated:,} of {rows:,} answers. Not ready.", **values)), BAD
    if never_ends(found):
        values["cut"] = found.cut
        return (tr("Better: {better}. But {cut:,} of {rows:,} answers don't end. Not ready.", **values) if better else
                tr("{cut:,} of {rows:,} answers don't end. Not ready.", **values)), BAD
    if shows_marks(found):
        return tr("{marked:,} of {rows:,} answers contain marks of a chat template, such as {mark}. Not ready.",
                  marked=found.marked, mark=found.mark, **values), BAD
    if answers_all_alike(found):
        return tr("It gives the same answer to {alike:,} of {rows:,} questions. Not ready.", alike=found.alike,
                  **values), BAD
    return None


def _mixed(found: Evidence) -> str:
    return tr("Mixed results. Better: {better}. Worse: {worse}.", better=sign_names(found, better=True),
              worse=sign_names(found, better=False))


def _undecided(found: Evidence, compared: Compared) -> str:
    tuned, base = _right(compared)
    if nothing_to_gain(found):
        return tr("The base model already had {base:,} of {rows:,} answers right, so there was little to gain.",
                  base=base, rows=compared.rows)
    if compared.same:
        return tr("It answers exactly as it did before training.")
    if none_right(found):
        return tr("None of the {rows:,} answers is right, and none of the base model's was.", rows=compared.rows)
    if is_as_before(found):
        return (tr("About as good as before: {tuned:,} of {rows:,} answers are right, and {base:,} were.", tuned=tuned,
                   rows=compared.rows, base=base) if counts_answers(compared) else tr("About as good as before."))
    better, worse = (sign_names(found, better=each) for each in (True, False))
    if better and worse:
        return _mixed(found)
    if better:
        return ntr("Probably better: {better}. {n:,} row can't show more.",
                   "Probably better: {better}. {n:,} rows can't show more.", compared.rows, better=better)
    if worse:
        return ntr("Probably worse: {worse}. {n:,} row can't show more.",
                   "Probably worse: {worse}. {n:,} rows can't show more.", compared.rows, worse=worse)
    return ntr("{n:,} row can't show whether it's better.", "{n:,} rows can't show whether it's better.",
               compared.rows)


def caveat(found: Evidence) -> str:
    """What a good verdict doesn't mean, the figures behind any other, and what a bad one of a model from scratch means;
    and that it forgot something, whatever the verdict. "" if there is nothing to add."""
    return join_sentences(_caveat(found), general.sentence(*found.general) if found.general else "")


def _caveat(found: Evidence) -> str:
    compared = found.compared
    if compared is None or is_broken(found) or knows_the_test(found):
        return ""
    verdict = weighed_verdict(found)
    if verdict == MIXED or _fault(found, compared) or (verdict == BETTER and is_far_off(found)):
        return _figures(found, ready=False)
    if verdict == WORSE:
        return tr("It began with random weights, and the base model has learned from far more text."
                  ) if found.method == "scratch" else ""
    if found.forgotten:
        return tr("But it got worse at general questions ({forgotten}).", forgotten=found.forgotten)
    if verdict != BETTER:
        return _figures(found)
    if worse := sign_texts(found, better=False):
        return tr("But this got worse: {worse}.", worse=worse)
    if found.export:
        return tr("But its export {name} answers worse than the tuned model.", name=found.export[0])
    if _is_overlap(compared) and found.exact:
        equal, rows = found.exact
        if equal < rows / 2:
            return tr("Closer doesn't mean correct: {equal:,} of {rows:,} answers are the same as yours. Check facts "
                      "before you rely on them.", equal=equal, rows=rows)
    return tr("But it got worse at “{weakest}”.", weakest=found.weakest) if found.weakest else ""


def _figures(found: Evidence, ready: bool = True) -> str:
    better, worse = (sign_texts(found, better=each) for each in (True, False))
    if better and worse:
        return tr("Better: {better}. Worse: {worse}.", better=better, worse=worse)
    if better and not ready:  # else the two sentences would seem to contradict each other
        return tr("It did improve, but not enough: {better}.", better=better)
    return tr("Better: {better}.", better=better) if better else tr("Worse: {worse}.", worse=worse) if worse else ""


def is_broken(found: Evidence) -> bool:
    """Whether the result is: not where the weights from before the break were kept."""
    return found.shape == evidence.BROKEN and not found.used_step


def loss_change(found: Evidence) -> tuple[float, float] | None:
    """Eval loss before training, and of the result; None where either is unknown."""
    by_step = dict(found.losses)
    before, after = by_step.get(0), by_step.get(found.used_step or found.losses[-1][0]) if found.losses else None
    after = after if found.result_loss is None else found.result_loss
    return None if before is None or after is None or len(by_step) < 2 else (before, after)


def knows_the_test(found: Evidence) -> bool:
    """Whether the test can't tell skill from memory. Answers that got worse all the same weren't remembered."""
    compared = found.compared
    return (compared is not None and found.learned >= KNOWN_BEFORE * max(1, compared.rows)
            and compared.verdict != WORSE and not compared.same)


def repeats_itself(found: Evidence) -> bool:
    """Whether the tuned model repeats itself to no end, and the base doesn't."""
    return _is_new_fault(found, found.repeated, found.base_repeated, REPEATED)


def never_ends(found: Evidence) -> bool:
    """Whether the tuned model fails to end its answers and the base doesn't."""
    return _is_new_fault(found, found.cut, found.base_cut, UNENDING)


def shows_marks(found: Evidence) -> bool:
    """Whether a chat template's marks come out as words, and not the base's too."""
    return _is_new_fault(found, found.marked, found.base_marked, MARKED)


def _is_new_fault(found: Evidence, tuned: int, base: int, share: float) -> bool:
    """Whether this share of the tuned model's answers has a fault, and more than twice as many as of the base's."""
    rows = found.compared.rows if found.compared else 0
    return rows > 0 and tuned >= share * rows and tuned > 2 * base


def answers_all_alike(found: Evidence) -> bool:
    """Whether the tuned model has a single answer left, where the base has several and should have."""
    rows = found.compared.rows if found.compared else 0
    return (rows >= FEWEST and found.alike >= ONE_ANSWER * rows and found.base_alike < ONE_ANSWER * rows
            and found.references_alike < MANY_ANSWERS * rows)


def nothing_to_gain(found: Evidence) -> bool:
    compared = found.compared
    return (compared is not None and counts_answers(compared) and compared.base >= PERFECT
            and compared.verdict not in (BETTER, WORSE))


def none_right(found: Evidence) -> bool:
    compared = found.compared
    return compared is not None and counts_answers(compared) and compared.tuned == compared.base == 0


def is_as_before(found: Evidence) -> bool:
    """Whether so many rows were asked that a difference worth a word would have shown."""
    compared = found.compared
    return (compared is not None and compared.metric in METRICS and METRICS[compared.metric].higher_is_better
            and compared.verdict not in (BETTER, WORSE) and compared.low is not None and compared.high is not None
            and -KEPT_WITHIN <= compared.low <= compared.high <= KEPT_WITHIN)


def is_far_off(found: Evidence) -> bool:
    """Whether no answer is the reference, and the wording has little in common with it either."""
    compared = found.compared
    return (compared is not None and _is_overlap(compared) and compared.tuned < FAR and found.exact is not None
            and found.exact[0] == 0)


def _is_overlap(compared: Compared) -> bool:
    return compared.metric in WORDING


def _changed(compared: Compared, better: bool) -> str:
    if compared.metric == "loss":
        return (tr("It finds your answers more likely than before training.") if better else
                tr("It finds your answers less likely than before training."))
    if _is_overlap(compared):
        if (compared.tuned - compared.base) * (1 if better else -1) < LITTLE:
            return (tr("Its answers are a little closer to yours than before training.") if better else
                    tr("Its answers are a little further from yours than the base model's."))
        return (tr("Its answers are clearly closer to yours than before training.") if better else
                tr("Its answers are further from yours than the base model's."))
    if counts_answers(compared):
        tuned, base = _right(compared)
        values = {"tuned": tuned, "rows": compared.rows, "base": base}
        return (tr("It's right more often: {tuned:,} of {rows:,} answers instead of {base:,}.", **values) if better else
                tr("It's right less often: {tuned:,} of {rows:,} answers instead of {base:,}.", **values))
    metric = METRICS.get(compared.metric)  # a newer or a damaged file may tell about one that isn't known
    score = tr(metric.name) if metric else compared.metric
    return tr("It's better by {score}.", score=score) if better else tr("It's worse by {score}.", score=score)


def _right(compared: Compared) -> tuple[int, int]:
    """Scores that count right answers, as counts: of the tuned model, and of its base."""
    return round(compared.tuned * compared.rows / 100), round(compared.base * compared.rows / 100)
