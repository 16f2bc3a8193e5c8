"""What an experienced person would try next, the most promising first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from slmstudio.core.evaluation.advice import curve, headline
from slmstudio.core.evaluation.advice.evidence import Evidence
from slmstudio.core.evaluation.scores.verdicts import BETTER, WORSE, rounded_up
from slmstudio.core.i18n import tr

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
        text: what to do, as a button says it.
        reason: why, in a sentence.
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
        yield _slower(found, "The loss rose far above where it began, as it does when steps are too large.")
        return
    if compared is None:
        yield Proposal(EVALUATE, "Evaluate it", "Only answers to rows that it never learned show what it can do.")
        yield from SHAPES.get(shape, _nothing)(found)
        return
    if headline.knows_the_test(found):
        yield Proposal(OTHER_TEST, "Choose test rows that it never learned",
                       "It has seen these answers, so even a perfect score would prove nothing.")
        return
    if headline.never_ends(found):
        yield Proposal(TEMPLATE, "Look at the rows as the model sees them",
                       "The token that ends an answer isn't learned: rows may be cut off, or the template lacks it.")
    elif found.cut and found.cut >= headline.UNENDING * compared.rows:
        yield Proposal(EVALUATE, f"Evaluate with {2 * found.max_new_tokens:,} tokens an answer",
                       f"{found.cut:,} answers of both models were cut off at {found.max_new_tokens:,}.",
                       {"max_new_tokens": 2 * found.max_new_tokens})
    if found.forgotten:
        yield Proposal(STRENGTH, "Use the adapter at less strength",
                       f"It got worse at {found.forgotten}; three quarters of its strength often keep most of both.")
        yield Proposal(ROWS, "Mix in general questions and answers",
                       "A share of 5 to 10 % of ordinary conversations keeps what the base knew.")
    yield from _by_verdict(found)


def _by_verdict(found: Evidence) -> Iterator[Proposal]:
    compared, shape = found.compared, found.shape
    assert compared is not None
    if compared.verdict == WORSE and shape in (curve.SETTLED, curve.FALLING, curve.UNKNOWN):
        yield Proposal(ANSWERS, "Read the worst answers", "It learned its rows, and still answers these worse: they "
                                                          "may ask for something that the rows don't teach.")
    yield from SHAPES.get(shape, _nothing)(found)
    if compared.verdict not in (BETTER, WORSE) and compared.rows_needed and compared.rows_needed <= MOST_TEST_ROWS:
        count = rounded_up(compared.rows_needed)
        yield Proposal(OTHER_TEST, f"Test on about {count:,} rows",
                       f"A difference of this size needs that many rows to show, not {compared.rows:,}.")
    if compared.verdict == BETTER and shape in (curve.SETTLED, curve.UNKNOWN):
        yield Proposal(CHAT, "Talk to it", "It is better, and its loss has settled.")
    if compared.verdict != WORSE:
        yield from _grow(found)


def _grow(found: Evidence) -> Iterator[Proposal]:
    """What is left when the training itself went well."""
    if found.weakest:
        yield Proposal(ROWS, f"Add rows about “{found.weakest}”", "It got worse there, and better elsewhere.")
    if 0 < found.parameters < LARGEST:
        before = tr("More steps change little now. ") if found.shape == curve.SETTLED else ""
        yield Proposal(MODEL, "Try a larger model", f"{before}A larger model knows more to begin with.")
    yield _more_rows(found)


def _falling(found: Evidence) -> Iterator[Proposal]:
    more = max(1, min(3, round(found.epochs)))
    last = [loss for _, loss in found.losses][-3:]
    yield Proposal(TRAIN, f"Train {more} more epoch{'' if more == 1 else 's'}",
                   f"The loss was still falling: {' → '.join(f'{loss:.2f}' for loss in last)}.",
                   {"epochs": float(more)})


def _turned(found: Evidence) -> Iterator[Proposal]:
    best, last = min(loss for _, loss in found.losses), found.losses[-1][1]
    if 0 < found.train_rows < FEW_ROWS:
        yield _more_rows(found)
    if found.best_epoch and found.best_epoch < found.epochs:
        fewer = max(0.5, round(2 * found.best_epoch) / 2)
        yield Proposal(AGAIN, f"Train again for {fewer:g} epoch{'' if fewer == 1 else 's'}",
                       f"It overfitted: the loss was {best:.2f} after {found.best_epoch:.1f} epochs and {last:.2f} at "
                       "the end.", {"epochs": fewer})
    yield _more_rows(found)


def _rising(found: Evidence) -> Iterator[Proposal]:
    yield _slower(found, "The loss on rows that it doesn't learn rose from the first step.")
    yield Proposal(ROWS, "Compare the training rows with the test rows",
                   "If they differ in kind, learning the ones makes the others worse.")


def _unmoved(found: Evidence) -> Iterator[Proposal]:
    rate = float(f"{found.learning_rate * 3:.1g}")
    yield Proposal(AGAIN, f"Train again with a learning rate of {rate:g}",
                   f"The loss hardly moved at {found.learning_rate:g}.", {"learning_rate": rate})
    yield Proposal(TRAIN, "Train 3 more epochs", "Few steps teach little.", {"epochs": 3.0})


def _settled(found: Evidence) -> Iterator[Proposal]:
    if 0 < found.train_rows < FEW_ROWS:
        yield _more_rows(found)


def _nothing(found: Evidence) -> Iterator[Proposal]:
    yield from ()


def _more_rows(found: Evidence) -> Proposal:
    few = (tr("{train_rows:,} rows are few: it learns their wording rather than what they have in common.",
              train_rows=found.train_rows)
           if 0 < found.train_rows < FEW_ROWS else tr("Rows that differ from those that it knows teach most."))
    return Proposal(ROWS, tr("Add more rows"), few)


def _slower(found: Evidence, reason: str) -> Proposal:
    rate = float(f"{found.learning_rate / 3:.1g}")
    return Proposal(AGAIN, tr("Train again with a learning rate of {rate:g}", rate=rate), reason,
                    {"learning_rate": rate})


SHAPES: dict[str, Callable[[Evidence], Iterator[Proposal]]] = {
    curve.FALLING: _falling, curve.TURNED: _turned, curve.RISING: _rising, curve.UNMOVED: _unmoved,
    curve.SETTLED: _settled}
