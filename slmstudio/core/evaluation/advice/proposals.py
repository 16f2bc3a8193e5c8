"""What an experienced person would try next, the most promising first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.evaluation.advice import headline
from slmstudio.core.evaluation.advice.evidence import (
    BROKEN,
    FALLING,
    RISING,
    SETTLED,
    TURNED,
    UNKNOWN,
    UNMOVED,
    Compared,
    Evidence,
)
from slmstudio.core.evaluation.scores.verdicts import BETTER, WORSE, rounded_up
from slmstudio.core.i18n import ntr, tr

MOST = 3
FEW_ROWS = 100
"""Rows below which a model learns their wording rather than what they have in common."""
LARGEST = 7_000_000_000
MOST_TEST_ROWS = 5_000
SMALLEST_RANK = 8
"""Of an adapter that is still worth trying."""
FAR_ABOVE = 10
"""Times the usual learning rate from which a model that isn't better has learned too fast, however smooth its curve."""
MANY_CUT, MOST_CUT = 0.1, 0.5
"""Share of training rows that were cut at their end, from which that is why answers are no better; and from which it
comes first even where they are."""
BY_ROTE = 0.2
"""Loss on the rows that were learned, as a share of that on others, from which it has learned them by rote."""
(TRAIN, AGAIN, RESUME, ROWS, COUNT, MODEL, TEMPLATE, EVALUATE, OTHER_TEST, ANSWERS, STRENGTH, EXPORT, CHAT) = (
    "train", "again", "resume", "rows", "count", "model", "template", "evaluate", "other_test", "answers", "strength",
    "export", "chat")
"""What a proposal does or opens: training that continues from the result, begins again, or is resumed where it was
stopped; the Data tab; that with the rows' answers counted; the Model tab; the first rows as the model sees them; an
evaluation with other settings, or of another file; the worst answers; the adapter's strength in Chat; an export; Chat
itself."""


@dataclass(frozen=True)
class Proposal:
    """
    Attributes:
        action: one of the words above.
        changes: fields of a run, or of an evaluation's request, that it sets.
    """

    action: str
    text: str
    reason: str
    changes: dict[str, Any] = field(default_factory=dict)


def propose(found: Evidence) -> list[Proposal]:
    """At most `MOST`, the first the one to begin with; none of them twice."""
    wanted: dict[tuple[str, str], Proposal] = {}
    for each in _in_order(found):
        wanted.setdefault((each.action, ",".join(each.changes)), each)
    return list(wanted.values())[:MOST]


def _in_order(found: Evidence) -> Iterator[Proposal]:
    if found.shape == BROKEN:
        yield _slower(found, tr("The loss rose far above where it started, as happens when steps are too large.")
                      if math.isfinite(found.losses[-1][1]) else
                      tr("The loss is no longer a number, as happens when steps are too large."))
        if headline.is_broken(found):
            return
    if found.compared is None:
        yield from _uncompared(found)
        return
    if headline.knows_the_test(found):
        yield Proposal(OTHER_TEST, tr("Choose test rows that it wasn't trained on"),
                       tr("It has seen these answers, so even a perfect score would prove nothing."))
        return
    if headline.nothing_to_gain(found):
        yield Proposal(OTHER_TEST, tr("Test on harder rows"),
                       tr("Where the base model is right almost every time, nobody can see what training changed."))
        return
    yield from _faults(found, found.compared)
    if found.forgotten or found.general:
        yield from _forgot(found)
    yield from _by_verdict(found, found.compared)


def _uncompared(found: Evidence) -> Iterator[Proposal]:
    evaluate = Proposal(EVALUATE, tr("Evaluate it"),
                        tr("Only answers to rows that it wasn't trained on show what it can do."))
    if found.forgotten or found.general:
        yield from _forgot(found)
    if found.objective != "text":
        yield evaluate
    yield from _resume(found)
    yield from SHAPES.get(found.shape, _nothing)(found)
    if found.objective == "text":  # held-out text asks nothing that could be answered
        yield _chat(found)
        yield evaluate


def _faults(found: Evidence, compared: Compared) -> Iterator[Proposal]:
    """What to do about answers that are useless whatever their score."""
    yield from _longer(found)
    if headline.repeats_itself(found):
        if 0 < found.train_rows < FEW_ROWS:
            yield _more_rows(found)
        yield _slower(found, tr("Steps that are too large can make a model repeat itself."))
        if found.epochs > 1:
            yield _fewer_epochs(found, tr("Rows that it has read too often make it repeat itself."))
    if headline.never_ends(found):
        yield Proposal(TEMPLATE, tr("Look at the rows as the model sees them"),
                       tr("It hasn't learned the token that ends an answer: rows may be cut off, or the template lacks "
                          "it."))
    elif found.max_new_tokens and not compared.same and found.cut and found.cut >= headline.UNENDING * compared.rows:
        yield Proposal(EVALUATE, tr("Evaluate with {tokens:,} tokens per answer", tokens=2 * found.max_new_tokens),
                       tr("{cut:,} answers of both models were cut off at {tokens:,} tokens.", cut=found.cut,
                          tokens=found.max_new_tokens), {"max_new_tokens": 2 * found.max_new_tokens})
    if headline.shows_marks(found):
        yield Proposal(TEMPLATE, tr("Look at the rows as the model sees them"),
                       tr("The marks should be tokens that nobody reads. The rows may contain them as text, or the "
                          "template may be another model's."))
    if headline.answers_all_alike(found):
        if found.shape in (TURNED, RISING, BROKEN):
            yield _slower(found, tr("Steps that are too large can leave a model with a single answer."))
        yield Proposal(COUNT, tr("Count the answers in your rows"),
                       tr("If most rows have the same answer, giving it every time is what they teach."))
        yield _slower(found, tr("Steps that are too large can leave a model with a single answer."))


def _forgot(found: Evidence) -> Iterator[Proposal]:
    """Fewer steps, other rows, and a smaller adapter, or less of it."""
    if found.general and found.epochs > 1:
        yield _fewer_epochs(found, tr("Each time that it reads the same rows, it forgets more of what it knew."))
    yield Proposal(ROWS, tr("Mix in general questions and answers"),
                   tr("Mixing in 5 to 10% of ordinary conversations preserves what the base model knew."))
    if found.general and found.rank >= 2 * SMALLEST_RANK:
        yield Proposal(AGAIN, tr("Train again with a rank of {rank}", rank=found.rank // 2),
                       tr("A smaller adapter changes less of what the base model knew."),
                       {"lora_rank": found.rank // 2, "lora_alpha": found.rank})
    if found.forgotten and found.method in ("lora", "qlora"):
        yield Proposal(STRENGTH, tr("Use the adapter at a lower strength"),
                       tr("It got worse at {benchmark}. Three quarters of the adapter's strength often keeps most of "
                          "both.", benchmark=found.forgotten))


def _by_verdict(found: Evidence, compared: Compared) -> Iterator[Proposal]:
    shape, verdict = found.shape, headline.weighed_verdict(found)
    as_before = headline.is_as_before(found) and not compared.same
    answers = Proposal(ANSWERS, tr("Read the worst answers"),
                       tr("They show what it gets wrong. The questions may need something that the rows don't teach, "
                          "or the answers may be right in other words."))
    if verdict == BETTER and found.export:
        yield Proposal(EXPORT, tr("Export it with another quantization type"),
                       tr("{name} keeps too little of what it learned. Types with more bits keep more.",
                          name=found.export[0]))
    yield from _resume(found)
    if verdict != BETTER and found.usual_rate and found.learning_rate >= FAR_ABOVE * found.usual_rate:
        yield _slower(found, tr("{rate:g} is far above the usual rate for a model of this size, {usual:g}.",
                                rate=found.learning_rate, usual=found.usual_rate))
    learned = shape in (SETTLED, FALLING, UNKNOWN) or (shape == TURNED and found.used_step)
    if (verdict in (WORSE, headline.MIXED) and learned and found.method != "scratch") or headline.none_right(found):
        yield answers
    yield from SHAPES.get(shape, _nothing)(found)
    if as_before:
        yield answers
    elif verdict not in (BETTER, WORSE) and compared.rows_needed and compared.rows_needed <= MOST_TEST_ROWS:
        yield _more_test_rows(found, compared, compared.rows_needed)
    if verdict == BETTER and shape in (SETTLED, UNKNOWN) and not headline.is_far_off(found):
        yield _chat(found)
    if verdict != WORSE:
        yield from _grow(found)


def _more_test_rows(found: Evidence, compared: Compared, needed: int) -> Proposal:
    """More rows of the same test file, where it has that many."""
    count = rounded_up(needed)
    why = tr("It takes that many rows to show a difference of this size; {rows:,} aren't enough.", rows=compared.rows)
    if needed > found.test_rows:
        return Proposal(OTHER_TEST, tr("Test with another file of about {rows:,} rows", rows=count), why)
    return Proposal(EVALUATE, tr("Test on about {rows:,} rows", rows=count), why, {
        "limit": min(count, found.test_rows), **({"test": found.test} if found.test else {})})


def _chat(found: Evidence) -> Proposal:
    why = (tr("Its loss has settled, so more steps would change little.") if found.shape == SETTLED else
           tr("The weights with the lowest loss were kept.") if found.used_step else
           tr("Questions of your own show what no score does."))
    return Proposal(CHAT, tr("Talk to it"), why)


def _resume(found: Evidence) -> Iterator[Proposal]:
    if found.stopped and found.shape not in (TURNED, RISING, BROKEN):
        done, planned = found.stopped
        yield Proposal(RESUME, tr("Resume the run"),
                       tr("It was stopped after {done:,} of {planned:,} steps.", done=done, planned=planned))


def _longer(found: Evidence) -> Iterator[Proposal]:
    cut, rows = found.cut_rows
    better = headline.weighed_verdict(found) == BETTER and not headline.never_ends(found)
    if cut and cut >= (MOST_CUT if better else MANY_CUT) * rows:
        yield Proposal(AGAIN, tr("Train again with a sequence length of {tokens:,}", tokens=2 * found.max_length),
                       tr("{cut:,} of {rows:,} rows were cut at {tokens:,} tokens, so it never saw how they end.",
                          cut=cut, rows=rows, tokens=found.max_length), {"max_length": 2 * found.max_length})


def _grow(found: Evidence) -> Iterator[Proposal]:
    """What is left when the training itself went well."""
    if found.weakest:
        yield Proposal(ROWS, tr("Add rows about “{topic}”", topic=found.weakest),
                       tr("It got worse there, and better elsewhere."))
    if 0 < found.parameters < LARGEST:
        larger = tr("A larger model knows more to begin with.")
        yield Proposal(MODEL, tr("Try a larger model"), f"{tr('More steps would change little now.')} {larger}"
                       if found.shape == SETTLED else larger)
    yield _more_rows(found)


def _falling(found: Evidence) -> Iterator[Proposal]:
    more = max(1, min(3, round(found.epochs)))
    last = [loss for _, loss in found.losses][-3:]
    yield Proposal(TRAIN, ntr("Train {n} more epoch", "Train {n} more epochs", more),
                   tr("The loss was still falling: {losses}.", losses=" → ".join(f"{loss:.2f}" for loss in last)),
                   {"epochs": float(more)})


def _turned(found: Evidence) -> Iterator[Proposal]:
    best, last = min(loss for _, loss in found.losses if math.isfinite(loss)), found.losses[-1][1]
    if 0 < found.train_rows < FEW_ROWS:
        yield _more_rows(found)
    if found.used_step:
        if headline.weighed_verdict(found) == BETTER:
            yield _chat(found)
        yield Proposal(ROWS, tr("Add more rows"),
                       tr("The weights with the lowest loss, {best:.2f}, were kept. After that it only overfitted, "
                          "which happens later with more rows.", best=best))
        return
    fewer = max(0.5, round(2 * found.best_epoch) / 2)
    if found.best_epoch and fewer < found.epochs:
        yield Proposal(AGAIN, ntr("Train again for {n:g} epoch", "Train again for {n:g} epochs", fewer),
                       tr("It overfitted: the loss was {best:.2f} after {epochs:.1f} epochs and {last:.2f} at the end.",
                          best=best, epochs=found.best_epoch, last=last), {"epochs": fewer})
    yield _more_rows(found)


def _rising(found: Evidence) -> Iterator[Proposal]:
    yield _slower(found, tr("The loss on the held-out rows rose from the first step."))
    yield Proposal(ROWS, tr("Compare the training rows with the test rows"),
                   tr("If the two are of different kinds, training on one makes the answers to the other worse."))


def _unmoved(found: Evidence) -> Iterator[Proposal]:
    rate = float(f"{max(found.learning_rate * 3, found.usual_rate):.1g}")
    yield Proposal(AGAIN, tr("Train again with a learning rate of {rate:g}", rate=rate),
                   tr("The loss hardly changed at a learning rate of {rate:g}.", rate=found.learning_rate),
                   {"learning_rate": rate})
    yield Proposal(TRAIN, ntr("Train {n} more epoch", "Train {n} more epochs", 3), tr("A few steps teach little."),
                   {"epochs": 3.0})


def _settled(found: Evidence) -> Iterator[Proposal]:
    better = headline.weighed_verdict(found) == BETTER
    if 0 < found.train_rows < FEW_ROWS:
        yield _more_rows(found)
    elif not better and found.train_loss is not None and found.losses and (
            found.train_loss < BY_ROTE * found.losses[-1][1]):
        yield Proposal(ROWS, tr("Add more rows"),
                       tr("It overfits: its loss is {learned:.2f} on the rows that it learned and {others:.2f} on "
                          "others.", learned=found.train_loss, others=found.losses[-1][1]))


def _nothing(found: Evidence) -> Iterator[Proposal]:
    yield from ()


def _more_rows(found: Evidence) -> Proposal:
    why = (ntr("{n:,} row isn't much: the model learns the wording rather than what rows have in common.",
               "{n:,} rows aren't many: the model learns their wording rather than what they have in common.",
               found.train_rows)
           if 0 < found.train_rows < FEW_ROWS else tr("Rows that differ from those it knows teach it the most."))
    return Proposal(ROWS, tr("Add more rows"), why)


def _fewer_epochs(found: Evidence, reason: str) -> Proposal:
    fewer = max(1.0, found.epochs // 2)
    return Proposal(AGAIN, ntr("Train again for {n:g} epoch", "Train again for {n:g} epochs", fewer), reason,
                    {"epochs": fewer})


def _slower(found: Evidence, reason: str) -> Proposal:
    rate = float(f"{min(found.learning_rate / 3, found.usual_rate or 1):.1g}")
    return Proposal(AGAIN, tr("Train again with a learning rate of {rate:g}", rate=rate), reason,
                    {"learning_rate": rate})


SHAPES: dict[str, Callable[[Evidence], Iterator[Proposal]]] = {
    FALLING: _falling, TURNED: _turned, RISING: _rising, UNMOVED: _unmoved,
    SETTLED: _settled, UNKNOWN: _settled}
