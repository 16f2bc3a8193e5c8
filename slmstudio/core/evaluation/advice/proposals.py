"""What an experienced person would try next, the most promising first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.evaluation.advice import curve, headline
from slmstudio.core.evaluation.advice.evidence import Evidence
from slmstudio.core.evaluation.scores.verdicts import BETTER, WORSE, rounded_up
from slmstudio.core.i18n import ntr, tr

MOST = 3
FEW_ROWS = 100
"""Rows below which a model learns their wording rather than what they have in common."""
LARGEST = 7_000_000_000
MOST_TEST_ROWS = 5_000
(TRAIN, AGAIN, ROWS, MODEL, TEMPLATE, EVALUATE, OTHER_TEST, ANSWERS, STRENGTH, CHAT) = (
    "train", "again", "rows", "model", "template", "evaluate", "other_test", "answers", "strength", "chat")
"""What a proposal opens: training that continues from the result, or begins again; the Data tab; the Model tab; the
first rows as the model sees them; an evaluation with other settings, or of another file; the worst answers; the
adapter's strength in Chat; Chat itself."""


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
    compared, shape = found.compared, found.shape
    if shape == curve.BROKEN:
        yield _slower(found, tr("The loss rose far above where it started, as happens when steps are too large."))
        return
    if compared is None:
        yield Proposal(EVALUATE, tr("Evaluate it"),
                       tr("Only answers to rows that it wasn't trained on show what it can do."))
        yield from SHAPES.get(shape, _nothing)(found)
        return
    if headline.knows_the_test(found):
        yield Proposal(OTHER_TEST, tr("Choose test rows that it wasn't trained on"),
                       tr("It has seen these answers, so even a perfect score would prove nothing."))
        return
    if headline.never_ends(found):
        yield Proposal(TEMPLATE, tr("Look at the rows as the model sees them"),
                       tr("It hasn't learned the token that ends an answer: rows may be cut off, or the template lacks "
                          "it."))
    elif found.cut and found.cut >= headline.UNENDING * compared.rows:
        yield Proposal(EVALUATE, tr("Evaluate with {tokens:,} tokens per answer", tokens=2 * found.max_new_tokens),
                       tr("{cut:,} answers of both models were cut off at {tokens:,} tokens.", cut=found.cut,
                          tokens=found.max_new_tokens), {"max_new_tokens": 2 * found.max_new_tokens})
    if found.forgotten:
        yield Proposal(STRENGTH, tr("Use the adapter at a lower strength"),
                       tr("It got worse at {benchmark}. Three quarters of the adapter's strength often keeps most of "
                          "both.", benchmark=found.forgotten))
        yield Proposal(ROWS, tr("Mix in general questions and answers"),
                       tr("Mixing in 5 to 10% of ordinary conversations preserves what the base model knew."))
    yield from _by_verdict(found)


def _by_verdict(found: Evidence) -> Iterator[Proposal]:
    compared, shape = found.compared, found.shape
    assert compared is not None
    if compared.verdict == WORSE and shape in (curve.SETTLED, curve.FALLING, curve.UNKNOWN):
        yield Proposal(ANSWERS, tr("Read the worst answers"),
                       tr("It learned its rows but still answers these worse. They may ask for something that the rows "
                          "don't teach."))
    yield from SHAPES.get(shape, _nothing)(found)
    if compared.verdict not in (BETTER, WORSE) and compared.rows_needed and compared.rows_needed <= MOST_TEST_ROWS:
        count = rounded_up(compared.rows_needed)
        yield Proposal(OTHER_TEST, tr("Test on about {rows:,} rows", rows=count),
                       tr("It takes that many rows to show a difference of this size; {rows:,} aren't enough.",
                          rows=compared.rows))
    if compared.verdict == BETTER and shape in (curve.SETTLED, curve.UNKNOWN):
        yield Proposal(CHAT, tr("Talk to it"), tr("It's better, and its loss has settled."))
    if compared.verdict != WORSE:
        yield from _grow(found)


def _grow(found: Evidence) -> Iterator[Proposal]:
    """What is left when the training itself went well."""
    if found.weakest:
        yield Proposal(ROWS, tr("Add rows about “{topic}”", topic=found.weakest),
                       tr("It got worse there, and better elsewhere."))
    if 0 < found.parameters < LARGEST:
        larger = tr("A larger model knows more to begin with.")
        yield Proposal(MODEL, tr("Try a larger model"), f"{tr('More steps would change little now.')} {larger}"
                       if found.shape == curve.SETTLED else larger)
    yield _more_rows(found)


def _falling(found: Evidence) -> Iterator[Proposal]:
    more = max(1, min(3, round(found.epochs)))
    last = [loss for _, loss in found.losses][-3:]
    yield Proposal(TRAIN, ntr("Train {n} more epoch", "Train {n} more epochs", more),
                   tr("The loss was still falling: {losses}.", losses=" → ".join(f"{loss:.2f}" for loss in last)),
                   {"epochs": float(more)})


def _turned(found: Evidence) -> Iterator[Proposal]:
    best, last = min(loss for _, loss in found.losses), found.losses[-1][1]
    if 0 < found.train_rows < FEW_ROWS:
        yield _more_rows(found)
    if found.best_epoch and found.best_epoch < found.epochs:
        fewer = max(0.5, round(2 * found.best_epoch) / 2)
        yield Proposal(AGAIN, ntr("Train again for {n:g} epoch", "Train again for {n:g} epochs", fewer),
                       tr("It overfitted: the loss was {best:.2f} after {epochs:.1f} epochs and {last:.2f} at the end.",
                          best=best, epochs=found.best_epoch, last=last), {"epochs": fewer})
    yield _more_rows(found)


def _rising(found: Evidence) -> Iterator[Proposal]:
    yield _slower(found, tr("The loss on the held-out rows rose from the first step."))
    yield Proposal(ROWS, tr("Compare the training rows with the test rows"),
                   tr("If the two are of different kinds, training on one makes the answers to the other worse."))


def _unmoved(found: Evidence) -> Iterator[Proposal]:
    rate = float(f"{found.learning_rate * 3:.1g}")
    yield Proposal(AGAIN, tr("Train again with a learning rate of {rate:g}", rate=rate),
                   tr("The loss hardly changed at a learning rate of {rate:g}.", rate=found.learning_rate),
                   {"learning_rate": rate})
    yield Proposal(TRAIN, ntr("Train {n} more epoch", "Train {n} more epochs", 3), tr("A few steps teach little."),
                   {"epochs": 3.0})


def _settled(found: Evidence) -> Iterator[Proposal]:
    if 0 < found.train_rows < FEW_ROWS:
        yield _more_rows(found)


def _nothing(found: Evidence) -> Iterator[Proposal]:
    yield from ()


def _more_rows(found: Evidence) -> Proposal:
    why = (ntr("{n:,} row isn't much: the model learns the wording rather than what rows have in common.",
               "{n:,} rows aren't many: the model learns their wording rather than what they have in common.",
               found.train_rows)
           if 0 < found.train_rows < FEW_ROWS else tr("Rows that differ from those it knows teach it the most."))
    return Proposal(ROWS, tr("Add more rows"), why)


def _slower(found: Evidence, reason: str) -> Proposal:
    rate = float(f"{found.learning_rate / 3:.1g}")
    return Proposal(AGAIN, tr("Train again with a learning rate of {rate:g}", rate=rate), reason,
                    {"learning_rate": rate})


SHAPES: dict[str, Callable[[Evidence], Iterator[Proposal]]] = {
    curve.FALLING: _falling, curve.TURNED: _turned, curve.RISING: _rising, curve.UNMOVED: _unmoved,
    curve.SETTLED: _settled}
