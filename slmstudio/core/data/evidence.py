"""What a way to read a file is called, and sentences for the evidence that it is the right one."""

from __future__ import annotations

from typing import Any

from slmstudio.core.data.candidates import Candidate, Evidence
from slmstudio.core.i18n import noop, tr

SENTENCES = {
    "by_name": noop('"{column}" has a name that says what it contains.'),
    "similar_name": noop('"{column}" has a name that resembles one that says what it contains.'),
    "by_sentences": noop('"{column}" is one of the two columns with sentences.'),
    "by_look": noop('"{column}" is one of the two columns with words.'),
    "names_unclear": noop("The names of the columns don't say which has the questions and which the answers."),
    "only_words": noop('"{column}" is the only column with words that may be learned.'),
    "speakers": noop("Questions come from “{user}”, answers from “{assistant}”."),
    "questions": noop("Questions with answers recur in the text."),
    "recurring": noop("Lines begin with {labels}, over and over."),
    "headings": noop("The text has {n:,} headings."),
    "not_prose": noop("Most of its lines aren't sentences."),
    "header_rows": noop("Row {row:,} looks like column names, too."),
    "words_only": noop("The first row has single words, as the others have."),
    "sheet_rows": noop('The sheet "{sheet}" has {n:,} rows.'),
    "held_out": noop("{files} is held out for the evaluation."),
    "words_dropped": noop('"{column}" has words, too, and isn\'t used.'),
    "mark_decides": noop('"{column}" decides which rows are learned, or which answers count as good ones.'),
    "published": noop("Its layout is known: {layout}."),
    "answers": noop('"{person}" answers {messages:,} messages.'),
    "list_of_rows": noop('"{path}" is a list of {rows:,} rows.'),
}
_CUTS = {
    "paragraph": noop("Paragraphs of text"), "line": noop("Lines of text"),
    "document": noop("The whole file as one text"),
    "length": noop("Text in pieces of about 4,000 characters"), "question": noop("Questions with their answers"),
    "dialogue": noop("Conversations"),
}
_CHOSEN = (("sheet", noop("Sheet “{sheet}”")), ("rows", noop("List “{rows}”")), ("files", noop("Files “{files}”")),
           ("header", noop("Column names in row {header}")))
"""Options that make a way of their own."""
_PARTS = ("", "table", "list")
"""What a candidate is that says which rows are meant, and nothing of their columns."""
_NAMES = {
    "question_answer": (noop("Question in “{instruction}”, answer in “{output}”"), ("instruction", "output")),
    "classes": (noop("Text in “{instruction}”, its class in “{output}”"), ("instruction", "output")),
    "choices": (noop("Question in “{instruction}” with choices, answer in “{output}”"), ("instruction", "output")),
    "preference": (noop("Better answer in “{chosen}”, worse answer in “{rejected}”"), ("chosen", "rejected")),
    "labelled": (noop("Answer in “{completion}”, marked good or bad in “{label}”"), ("completion", "label")),
    "conversation": (noop("Conversations in “{messages}”"), ("messages",)),
    "text": (noop("Plain text in “{text}”"), ("text",)),
}
"""What each kind of candidate is called, and the targets whose columns that names."""
_PLAIN = {
    "question_answer": noop("Questions with their answers"), "classes": noop("Texts with their classes"),
    "choices": noop("Questions with choices"), "preference": noop("Better and worse answers"),
    "labelled": noop("Answers marked good or bad"), "conversation": noop("Conversations"), "text": noop("Plain text"),
}
"""The same where such a column isn't known."""


def sentence(evidence: Evidence) -> str:
    """Why, for people."""
    return tr(SENTENCES[evidence.code], **{name: _listed(value) for name, value in evidence.values.items()})


def _listed(value: Any) -> Any:
    """Joined names as people list them: those of "Asha + Ravi" in “Asha”, “Ravi”."""
    return value.replace(" + ", "”, “") if isinstance(value, str) else value


def name(candidate: Candidate) -> str:
    """What a way to read a file is called: "Question in “प्रश्न”, answer in “उत्तर”", "Sheet “2024”"."""
    chosen = [_chosen(option, called, value) for option, called in _CHOSEN
              if (value := getattr(candidate.options, option))]
    return " · ".join(filter(None, ("" if chosen and candidate.name in _PARTS else _reading(candidate), *chosen)))


def _chosen(option: str, called: str, value: str) -> str:
    if option == "header" and value == "none":
        return tr("No column names")
    first, _, last = value.partition("-")
    if option == "header" and last:
        return tr("Column names in rows {first} to {last}", first=first, last=last)
    return tr(called, **{option: value.removeprefix("[").removesuffix("][]")})  # of "[one, two][]", the names


def _reading(candidate: Candidate) -> str:
    """What its rows are read as."""
    options, columns = candidate.options, candidate.columns
    if options.user and options.assistant:
        return tr("Conversation between “{user}” and “{assistant}”", user=_listed(options.user),
                  assistant=_listed(options.assistant))
    if options.text_by and not columns:
        return tr(_CUTS[options.text_by])
    called, targets = _NAMES.get(candidate.name, ("", ("",)))
    if columns.keys() >= set(targets):
        return tr(called, **{target: columns[target] for target in targets})
    if candidate.name in _PLAIN:
        return tr(_PLAIN[candidate.name])
    return tr("The layout “{name}”", name=candidate.name)


def why(candidate: Candidate) -> str:
    """The evidence for and against it, in sentences; "" without any."""
    return " ".join(map(sentence, candidate.evidence))
