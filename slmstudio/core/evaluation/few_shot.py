"""Whether a benchmark has as many few-shot examples as are asked for."""

from __future__ import annotations

from collections.abc import Mapping

from slmstudio.core.i18n import ntr, tr


def too_few(examples: Mapping[str, int], shots: int) -> tuple[str, str] | None:
    """Why a benchmark can't show this many examples before each question, and what can be done; None where it can.

    Args:
        examples: how many a subject has, besides its questions: with its own questions as examples, a model would be
            shown what it is asked.
    """
    short = {subject: count for subject, count in examples.items() if count < shots}
    if not short:
        return None
    subject = min(short, key=lambda each: (short[each], each))
    least = short[subject]
    why = [tr("{shots:,} examples are needed before each question, and {subject} has only {least:,} besides its "
              "questions.", shots=shots, subject=subject, least=least) if least else
           tr("Each question needs {shots:,} examples before it, and {subject} has only questions.",
              shots=shots, subject=subject)]
    if len(short) > 1:
        why.append(ntr("{n:,} more subject has too few.", "{n:,} more subjects have too few.", len(short) - 1))
    remedy = (tr("Ask with {least:,} or fewer (--shots {least}), or add examples to the data: in a folder like MMLU's, "
                 "rows of a dev file.", least=least) if least else
              tr("Ask without examples (--shots 0), or add examples to the data: in a folder like MMLU's, rows of a "
                 "dev file."))
    return " ".join(why), remedy
