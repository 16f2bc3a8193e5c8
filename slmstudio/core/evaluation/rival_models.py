"""What competes with a tuned model: its base with a prompt, with examples or looking answers up, and the tuned model
looking them up. Each is a model of an evaluation's request with "system" and "context" (`core.chat.context`)."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core.chat.context import EXAMPLES, RETRIEVAL, question_of
from slmstudio.core.data.languages import LATIN, guess
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.comparability import TUNED
from slmstudio.core.i18n import tr
from slmstudio.core.run.rows import run_rows

PROMPT, TUNED_RETRIEVAL = "prompt", "tuned_retrieval"
NAMES = (PROMPT, EXAMPLES, RETRIEVAL, TUNED_RETRIEVAL)
"""Of the rivals, as models in requests, in scores and on the command line."""
ROWS = "context-rows.jsonl"
"""In the evaluation's folder: the rows that examples and entries are taken from; the worker writes it."""
MOST = {EXAMPLES: 8, RETRIEVAL: 4, TUNED_RETRIEVAL: 4}
"""Rows that are shown with a question, where they fit."""
LOOKED_AT, SAMPLED = 512 * 1024, 500
"""Bytes and rows from which a system prompt is proposed."""
BASE = "base"
MOST_LABELS, ROWS_PER_LABEL = 12, 3


def added(models: Sequence[Mapping[str, Any]], rivals: Iterable[str], system: str) -> list[dict[str, Any]]:
    """The models of a request, with rivals after them.

    Args:
        models: the base first; where a rival needs it, with the tuned one.
        rivals: some of `NAMES`.
        system: the prompt of those that are the base.

    Raises:
        UserError: there is no rival of a name, or no tuned model to give entries to.
    """
    found: list[dict[str, Any]] = [dict(each) for each in models]
    tuned = next((each for each in models if each["name"] == TUNED), None)
    for name in rivals:
        if name not in NAMES or (name == TUNED_RETRIEVAL and tuned is None):
            raise UserError(tr("There is no rival called “{name}”.", name=name), "",
                            tr("Choose among {names}.", names=", ".join(NAMES if tuned else NAMES[:-1])))
        if any(each["name"] == name for each in found):
            continue
        kind = RETRIEVAL if name == TUNED_RETRIEVAL else name
        context = {} if name == PROMPT else {"context": {"kind": kind, "k": MOST[name], "rows": ROWS}}
        prompt = {} if name == TUNED_RETRIEVAL else {"system": system}
        found.append({**(tuned if name == TUNED_RETRIEVAL and tuned else models[0]), "name": name, **prompt, **context})
    return found


def system_for_run(run: Path) -> str:
    """A system prompt for a run's base, from the rows that the run keeps; "" where it keeps none.

    Raises:
        UserError: they are damaged.
    """
    if run_rows.read_manifest(run) is None:
        return ""
    return proposed_system(run_rows.head(run, run_rows.TRAIN, LOOKED_AT))


def proposed_system(records: Sequence[Record]) -> str:
    """A plain system prompt for rows like these: their own most frequent one, and what their answers look like. In
    English, like the rest of what models are asked by this program; "" for plain text."""
    sample = [each for each in records if each.messages and each.desirable is not False][:SAMPLED]
    if not sample:
        return ""
    own = Counter(str(each.messages[0]["content"]) for each in sample if each.messages[0]["role"] == "system")
    text, count = own.most_common(1)[0] if own else ("", 0)
    answers = [str(each.messages[-1].get("content") or "").strip() for each in sample]
    questions = [question_of(each.messages) for each in sample]
    parts = [text] if 2 * count >= len(sample) else ["Answer the question."]
    return " ".join([*parts, _form(answers), _language(questions, answers)]).strip()


def _form(answers: Sequence[str]) -> str:
    labels = Counter(answers)
    if len(labels) <= MOST_LABELS and len(answers) >= ROWS_PER_LABEL * len(labels):
        return f"Answer with one of these, and nothing else: {', '.join(sorted(labels))}."
    objects = [found for found in map(_json_object, answers) if found is not None]
    if 10 * len(objects) >= 9 * len(answers):
        keys = ", ".join(key for key, _ in Counter(key for each in objects for key in each).most_common(MOST_LABELS))
        return f"Answer with a JSON object with these keys: {keys}."
    length = round(statistics.median(len(each.split()) for each in answers))
    return f"Answer briefly, in about {max(1, length)} word{'s' if length > 1 else ''}."


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _language(questions: Sequence[str], answers: Sequence[str]) -> str:
    """Rows may be of several languages: it is that of the question where it mostly is, row by row."""
    given = list(map(guess, answers))
    known = Counter(filter(None, given))
    if not known:
        return ""
    language = known.most_common(1)[0][0]
    same = sum(asked == each for asked, each in zip(map(guess, questions), given, strict=True))
    if 2 * same >= len(given) or language == LATIN:
        return "Answer in the language of the question."
    from babel import Locale

    return f"Answer in {Locale.parse(language, sep='-').get_display_name('en')}."
