"""Sentences for the evidence that a file is to be read in a way."""

from __future__ import annotations

from slmstudio.core.data.candidates import Evidence
from slmstudio.core.i18n import noop, tr

SENTENCES = {
    "by_name": noop('"{column}" is called as {role} are.'),
    "by_sentences": noop('"{column}" is one of the two columns with sentences.'),
    "speakers": noop("“{user}” asks and “{assistant}” answers."),
    "questions": noop("Questions with answers recur in the text."),
    "recurring": noop("Lines begin with {labels}, over and over."),
    "headings": noop("The text has {n:,} headings."),
    "not_prose": noop("Most of its lines aren't sentences."),
    "header_rows": noop("Row {row:,} looks like column names, too."),
    "words_only": noop("The first row has single words, as the others have."),
    "sheet_rows": noop('The sheet "{sheet}" has {n:,} rows.'),
    "held_out": noop("{files} is held out for the evaluation."),
    "words_dropped": noop('"{column}" has words, too, and isn\'t used.'),
}


def sentence(evidence: Evidence) -> str:
    """Why, for people."""
    return tr(SENTENCES[evidence.code], **evidence.values)
