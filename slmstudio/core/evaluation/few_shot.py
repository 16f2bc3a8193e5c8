"""Whether a benchmark has as many few-shot examples as are asked for."""

from __future__ import annotations

from collections.abc import Mapping

from slmstudio.core.i18n import tr


def too_few(examples: Mapping[str, int], shots: int) -> tuple[str, str] | None:
    """Why a benchmark cannot show so many examples before each question, and what can be done; None where it can.

    Args:
        examples: how many a subject has, besides its questions: with its own questions as examples, a model would be
            shown what it is asked.
    """
    short = {subject: count for subject, count in examples.items() if count < shots}
    if not short:
        return None
    subject = min(short, key=lambda each: (short[each], each))
    least = short[subject]
    others = f", and {len(short) - 1:,} more have too few" if len(short) > 1 else ""
    has = f"{least:,} besides its questions" if least else "none besides its questions"
    instead = tr("Ask with {least:,} or fewer (--shots {least})", least=least) if least else tr("Ask without examples (--shots 0)")
    return (tr("{shots:,} examples are wanted before each question, and {subject} has {has}{others}.", shots=shots,
               subject=subject, has=has, others=others),
            tr("{instead}, or add examples to its data: in a folder as MMLU's, rows of a dev file.", instead=instead))
