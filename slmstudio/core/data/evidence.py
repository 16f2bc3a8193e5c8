"""Sentences for the evidence that a file is to be read in a way."""

from __future__ import annotations

from slmstudio.core.data.candidates import Evidence
from slmstudio.core.i18n import noop, tr

SENTENCES = {
    "by_name": noop('"{column}" has a name that says what it contains.'),
    "similar_name": noop('"{column}" has a name that resembles one that says what it contains.'),
    "by_sentences": noop('"{column}" is one of the two columns with sentences.'),
    "by_look": noop('"{column}" is one of the two columns with words.'),
    "only_words": noop('"{column}" is the only column with words that may be learned.'),
    "words_dropped": noop('"{column}" has words, too, and isn\'t used.'),
    "mark_decides": noop('"{column}" decides which rows are learned, or which answers count as good ones.'),
    "published": noop("Its layout is known: {layout}."),
    "answers": noop('"{person}" answers {messages:,} messages.'),
    "list_of_rows": noop('"{path}" is a list of {rows:,} rows.'),
}


def sentence(evidence: Evidence) -> str:
    """Why, for people."""
    return tr(SENTENCES[evidence.code], **evidence.values)
