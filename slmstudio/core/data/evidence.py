"""Sentences for the evidence that a file is to be read in a way."""

from __future__ import annotations

from slmstudio.core.data.candidates import Evidence
from slmstudio.core.i18n import noop, tr

SENTENCES = {
    "by_name": noop('"{column}" is called as {role} are.'),
    "by_sentences": noop('"{column}" is one of the two columns with sentences.'),
    "words_dropped": noop('"{column}" has words, too, and isn\'t used.'),
    "published": noop("Its layout is known: {layout}."),
    "answers": noop('"{person}" answers {messages:,} messages.'),
    "list_of_rows": noop('"{path}" is a list of {rows:,} rows.'),
}


def sentence(evidence: Evidence) -> str:
    """Why, for people."""
    return tr(SENTENCES[evidence.code], **evidence.values)
