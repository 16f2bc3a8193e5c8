"""What a model is shown before a question: a system prompt, and rows like the question, as examples or to look up.

One place for evaluations, chat and the server, so that what was measured is what answers. A context is described by
{"kind": "examples" | "retrieval", "k": rows at most, "rows": path of a JSON Lines file}, each line of which is
{"messages": [...]} or {"text": plain text}.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.chat.conversation import cut_before
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr

KINDS = EXAMPLES, RETRIEVAL = ("examples", "retrieval")
Message = Mapping[str, Any]
Messages = Sequence[Message]
CountTokens = Callable[[Messages], int]
"""Tokens of a conversation up to where the answer begins. Raises UserError: the chat template refuses it."""

MOST_ROWS = 100_000
"""Rows of a context; a larger dataset is represented by its first ones."""
PASSAGE = 1000
"""Characters of a passage into which plain text is cut."""
SHORTEST_NEAR, NEAR_WORDS = 20, 0.8
"""Characters from which two questions can be nearly the same, and the share of their words, weighted by rarity."""
INTRODUCTION = "Use these entries to answer, as far as they help:"
"""In English, like the rest of what models are asked by this program."""


def words(text: str) -> list[str]:
    """The words of a text, for looking up: whole with their vowel signs and joined letters, without case and joiners.
    Of scripts that put no space between words, each letter is one."""
    import regex  # knows scripts and marks, which `re` doesn't

    text = unicodedata.normalize("NFC", text).casefold()
    found = regex.findall(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"
                          r"|[\p{L}\p{N}][\p{L}\p{N}\p{M}\u200c\u200d]*", text)
    return [word.replace("\u200c", "").replace("\u200d", "") for word in found]


def question_of(messages: Messages) -> str:
    """The last thing that the user said."""
    return next((str(each["content"]) for each in reversed(messages) if each["role"] == "user"), "")


def with_system(messages: Messages, system: str | None, takes_system: bool = True,
                instead_of: str | None = None) -> list[Message]:
    """A conversation with a system prompt. One that it has already stays before it, unless the prompt begins with it.

    Args:
        takes_system: whether the chat template writes system messages; else the prompt begins the first question.
        instead_of: a system prompt that this one replaces.
    """
    if system is None:
        return list(messages)
    own, turns = _parted(messages)
    text = "\n\n".join(filter(None, ("" if own == instead_of or system.startswith(own) else own, system)))
    if not text or takes_system or own:
        return [{"role": "system", "content": text}, *turns] if text else turns
    return _before_question(turns, text, 0)


def _parted(messages: Messages) -> tuple[str, list[Message]]:
    """The system message's text, or "", and the turns after it."""
    has_own = bool(messages) and messages[0]["role"] == "system"
    return (str(messages[0]["content"]), list(messages[1:])) if has_own else ("", list(messages))


def _before_question(turns: list[Message], text: str, which: int) -> list[Message]:
    """The turns with a text at the start of the first question (0) or the last (-1)."""
    asked = [at for at, each in enumerate(turns) if each["role"] == "user"]
    for at in asked[which:][:1]:
        turns[at] = {**turns[at], "content": f"{text}\n\n{turns[at]['content']}"}
    return turns


def write_rows(path: Path, records: Iterable[Record]) -> int:
    """Write the rows that a context can be made of: no bad answers, no calls of tools. Returns how many there are.

    Raises:
        UserError: they can't be written.
    """
    good = islice((each for each in records if each.desirable is not False and not each.has_tools), MOST_ROWS)
    lines = [files.dump_line({"text": each.text} if each.text is not None else {"messages": list(each.messages)})
             for each in good]
    with os_errors_as(tr("Could not write the rows to look up.")):
        files.write_atomically(path, b"".join(lines))
    return len(lines)


@dataclass(frozen=True)
class Asked:
    """
    Attributes:
        messages: what the model is asked.
        rows: how many rows it is shown.
        same: how many rows were left out since they ask the same.
    """

    messages: list[Message]
    rows: int = 0
    same: int = 0


@dataclass(frozen=True)
class _Entry:
    """A row to show: a conversation without its system message, or a passage."""

    messages: Messages = ()
    text: str = ""

    @property
    def question(self) -> str:
        return question_of(self.messages)

    @property
    def shown(self) -> str:
        return self.text or "\n".join(f"{each['role'].title()}: {each['content']}" for each in self.messages)


class Context:
    """Rows of a file, found by what they have in common with a question (BM25).

    Args:
        description: as in the module's first lines.
        folder: what a relative path of the rows is relative to.

    Raises:
        UserError: the rows can't be read, or there is none that can be shown so.
    """

    def __init__(self, description: Mapping[str, Any], folder: Path):
        import bm25s

        self.kind, self.most = str(description["kind"]), int(description["k"])
        path = folder / str(description["rows"])
        with os_errors_as(tr("Could not read the rows to look up.")):
            lines = list(files.LineReader(path).read())
        self._entries = list(_entries(lines, self.kind))
        if not self._entries:
            raise UserError(tr("There are no rows to show with a question."),
                            tr("{file} has none with a question and an answer.", file=path.name),
                            tr("Choose other rows, or ask without them."))
        texts = [words(each.question if self.kind == EXAMPLES else each.shown) for each in self._entries]
        self._counts = Counter(word for text in texts for word in set(text))
        self._index = bm25s.BM25()
        self._index.index(texts, show_progress=False)

    def ask(self, messages: Messages, count: CountTokens, room: int, takes_system: bool = True,
            leave_out_same: bool = False) -> Asked:
        """A conversation with the rows that are most like its last question, as many as fit.

        Args:
            room: tokens that the prompt may have.
            takes_system: whether the chat template writes system messages; else the rows come before the question.
            leave_out_same: whether to leave out rows that ask nearly the same, as where it is measured.

        Raises:
            UserError: as `count` does.
        """
        chosen, same = self._like(question_of(messages), leave_out_same)
        while chosen:
            made = self._with(messages, chosen, takes_system)
            if count(made) <= room:
                return Asked(made, len(chosen), same)
            chosen = chosen[1:]  # without the least similar one
        return Asked(list(messages), 0, same)

    def _like(self, question: str, leave_out_same: bool) -> tuple[list[_Entry], int]:
        """The rows, the most similar one last: next to the question."""
        import numpy as np

        asked = words(question)
        if not asked:
            return [], 0
        scores = self._index.get_scores(asked)
        found: list[_Entry] = []
        same = 0
        for place in np.argsort(-scores, kind="stable"):
            if len(found) == self.most or (scores[place] <= 0 and self.kind == RETRIEVAL):
                break
            entry = self._entries[place]
            if leave_out_same and self._is_same(question, asked, entry.question):
                same += 1
            else:
                found.append(entry)
        return found[::-1], same

    def _is_same(self, question: str, asked: list[str], other: str) -> bool:
        """Whether two questions are the same, or nearly: a few common words differ, and no number."""
        from slmstudio.core.data.health.near import differ_little  # imports NumPy, and Chat starts with this module

        theirs = words(other)
        numbers, more = (sorted(word for word in each if word.isdecimal()) for each in (asked, theirs))
        if asked == theirs or min(len(question), len(other)) < SHORTEST_NEAR or numbers != more:
            return asked == theirs
        ours, others = set(asked), set(theirs)
        return (self._weight(ours & others) >= NEAR_WORDS * self._weight(ours | others)
                and differ_little(question, other))

    def _weight(self, found: set[str]) -> float:
        rows = len(self._entries) + 1
        return sum(math.log(1 + rows / max(1, self._counts[word])) for word in found)

    def _with(self, messages: Messages, entries: list[_Entry], takes_system: bool) -> list[Message]:
        own, turns = _parted(messages)
        if self.kind == EXAMPLES:
            examples = [message for entry in entries for message in entry.messages]
            return [*messages[:len(messages) - len(turns)], *examples, *turns]
        passage = "\n\n".join([INTRODUCTION, *(f"<entry>\n{entry.shown}\n</entry>" for entry in entries)])
        if takes_system or own:
            return with_system(messages, passage)
        return _before_question(turns, passage, -1)


def _entries(lines: Iterable[Mapping[str, Any]], kind: str) -> Iterable[_Entry]:
    for line in lines:
        if isinstance(line.get("messages"), list):
            messages = [each for each in line["messages"] if each["role"] != "system"]
            if question_of(messages):
                yield _Entry(messages)
        elif isinstance(line.get("text"), str) and kind == RETRIEVAL:
            yield from (_Entry(text=text) for text in passages(line["text"]))


def passages(text: str) -> Iterable[str]:
    """A text cut where paragraphs, lines, sentences or words end, into parts of at most `PASSAGE` characters."""
    while len(text) > PASSAGE:
        at = cut_before(text, PASSAGE)
        yield text[:at].strip()
        text = text[at:]
    if text.strip():
        yield text.strip()
