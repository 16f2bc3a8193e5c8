"""A conversation: for each model a tree of messages, of which one branch is shown; and the files of saved ones.

An edited question and another answer to the same question are branches; none is thrown away.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, paths
from slmstudio.core.data.source import Source
from slmstudio.core.data.sources.documents import text_of
from slmstudio.core.errors import UserError, from_os_error, os_errors_as
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.run.named import model_title
from slmstudio.core.units import format_bytes

# -- Documents that a question is about: how much of their text fits, and the message that a model reads.

KEY = "documents"
"""Of a question's figures: [{"name": text, "text": what the model reads of it, "tokens": of all of it, "left_out": of
what it doesn't read}]."""
MOST_BYTES = 32 << 20


def read_document(path: Path) -> tuple[dict[str, Any], str]:
    """Name and text of a document, and which pages have none, or "". It may take a while.

    Raises:
        UserError: it is too large, damaged or locked, or has no text.
    """
    with os_errors_as(tr("Could not read the document.")):
        size = path.stat().st_size
    if size > MOST_BYTES:
        raise UserError(tr("{name} is too large to ask about.", name=path.name),
                        tr("It has {size}; at most {most} can be read.", size=format_bytes(size),
                           most=format_bytes(MOST_BYTES)), tr("Save the pages that matter as a file of their own."))
    notes: list[str] = []
    return {"name": path.name, "text": text_of(Source(path, whole=False), notes)}, " ".join(notes)


def message_text(question: str, attached: Sequence[Mapping[str, Any]]) -> str:
    """What a model reads: the documents, then the question."""
    return "\n\n".join([*(f'<document name="{each["name"]}">\n{each["text"]}\n</document>' for each in attached),
                        question])


def cut_before(text: str, at: int) -> int:
    """Where a paragraph, line, sentence or word ends shortly before a place in a text; else the place itself."""
    ends = ((text.rfind(end, at - at // 10, at), end.strip()) for end in ("\n\n", "\n", ". ", "। ", " "))
    return next((found + len(sign) for found, sign in ends if found >= 0), at)


def size_text(document: Mapping[str, Any]) -> str:
    """A document with its size: "rules.pdf · 1,240 tokens", or how much of them is read."""
    name, tokens, left_out = document["name"], document["tokens"], document["left_out"]
    if left_out:
        return tr("{name} · {read:,} of {tokens:,} tokens", name=name, read=tokens - left_out, tokens=tokens)
    return f"{name} · {ntr('{n:,} token', '{n:,} tokens', tokens)}"


# -- A conversation: for each model a tree of messages, of which one branch is shown.

TITLE_CHARACTERS = 60
ROLES = ("user", "assistant")


@dataclass
class Message:
    """One thing that was said.

    Attributes:
        id: its number in the tree; a message has a larger one than the message before it.
        parent: the message before it; None for the first.
        role: "user" or "assistant".
        figures: of an answer: its speed, why it ended, and what else is known about it; of a question: its documents.
    """

    id: int
    parent: int | None
    role: str
    content: str
    figures: dict[str, Any] = field(default_factory=dict)


class Tree:
    """Messages and their branches. `path` is the branch that is shown, and that a model reads."""

    def __init__(self) -> None:
        self._messages: dict[int, Message] = {}
        self._shown: dict[int | None, int] = {}  # by message: which of those that follow it is shown

    def __bool__(self) -> bool:
        return bool(self._messages)

    def path(self) -> list[Message]:
        """The messages that are shown, the first one first."""
        found: list[Message] = []
        at: int | None = None
        while (at := self._shown.get(at)) is not None:
            found.append(self._messages[at])
        return found

    def add(self, role: str, content: str, figures: dict[str, Any] | None = None) -> Message:
        """Say something after what is shown."""
        path = self.path()
        message = Message(max(self._messages, default=0) + 1, path[-1].id if path else None, role, content,
                          figures or {})
        self._messages[message.id] = message
        self._shown[message.parent] = message.id
        return message

    def rewind(self, message: Message) -> None:
        """Hide `message` and what follows it: what is added next becomes its sibling."""
        self._shown.pop(message.parent, None)

    def siblings(self, message: Message) -> list[Message]:
        """What was said in this place, itself included, oldest first."""
        return [each for each in self._messages.values() if each.parent == message.parent]

    def show(self, message: Message) -> None:
        """Show the branch with `message`, and below it what was shown there last."""
        at: int | None = message.id
        while at is not None:
            parent = self._messages[at].parent
            self._shown[parent] = at
            at = parent

    def remove(self, message: Message) -> None:
        """Take a message away with all that follows it; its newest sibling is shown."""
        gone = {message.id}
        for each in self._messages.values():  # parents come before their children
            if each.parent in gone:
                gone.add(each.id)
        self._messages = {number: each for number, each in self._messages.items() if number not in gone}
        self._shown = {parent: child for parent, child in self._shown.items() if child not in gone}
        rest = self.siblings(message)
        if rest:
            self._shown[message.parent] = rest[-1].id

    def messages(self) -> Iterator[Message]:
        """All messages of all branches, in the order in which they were said."""
        return iter(self._messages.values())

    def find(self, words: str) -> Message | None:
        """The first message of any branch that has these words. Letters' case is ignored."""
        wanted = words.casefold()
        return next((each for each in self._messages.values() if wanted in each.content.casefold()), None)

    def to_dict(self) -> dict[str, Any]:
        return {"messages": [asdict(each) for each in self._messages.values()], "shown": sorted(self._shown.values())}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Tree:
        """Raises ValueError, KeyError, TypeError: the state is damaged."""
        tree = cls()
        for each in state["messages"]:
            tree._take(Message(each["id"], each["parent"], each["role"], each["content"],
                               dict(each.get("figures") or {})))
        for number in state["shown"]:
            tree._shown[tree._messages[number].parent] = number
        return tree

    def _take(self, message: Message) -> None:
        if message.role not in ROLES or not isinstance(message.content, str):
            raise ValueError(tr("a message has no text"))
        if type(message.id) is not int or message.id <= max(self._messages, default=0):
            raise ValueError(tr("the messages are out of order"))
        if message.parent is not None and message.parent not in self._messages:
            raise ValueError(tr("a message follows one that doesn't exist"))
        self._messages[message.id] = message


@dataclass
class Lane:
    """One model's side of a conversation.

    Attributes:
        model: path of the GGUF file, or of the folder of a model or a run.
    """

    model: str
    tree: Tree = field(default_factory=Tree)

    @property
    def name(self) -> str:
        """What people call the model."""
        return model_title(Path(self.model))

    @property
    def turns(self) -> list[Message]:
        return self.tree.path()


@dataclass
class Conversation:
    """A conversation with one model, or with several that were asked the same.

    Attributes:
        created: seconds since 1970.
        settings: system prompt and sampling at the last question.
        name: what the user called it; "" for the first question.
        extra: what else is in the file, of a newer version or another part of the program; it is kept.
    """

    created: float
    settings: dict[str, Any]
    lanes: list[Lane]
    name: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name, or the first question, cut to a line."""
        first = next((turn.content for lane in self.lanes for turn in lane.turns if turn.role == "user"), "")
        line = " ".join((self.name or first).split())
        return line if len(line) <= TITLE_CHARACTERS else line[:TITLE_CHARACTERS - 1] + "…"

    def excerpt(self, words: str) -> str | None:
        """The text around the first place, in any branch, that has these words; "" if the title has them, and None if
        nothing has. Letters' case is ignored."""
        wanted = words.casefold()
        if wanted in self.title.casefold():
            return ""
        found = next(filter(None, (lane.tree.find(words) for lane in self.lanes)), None)
        if found is None:
            return None
        at = found.content.casefold().find(wanted)
        begin = found.content.rfind(" ", 0, max(0, at - 12)) + 1  # what is before it has little room
        return "…" * bool(begin) + " ".join(found.content[begin:at + 2 * TITLE_CHARACTERS].split())

    def to_json(self) -> str:
        lanes = [{"model": lane.model, **lane.tree.to_dict()} for lane in self.lanes]
        return files.dump_pretty({**self.extra, **formats.stamp("chat"), "title": self.title, "name": self.name,
                                  "created": self.created, "settings": self.settings, "lanes": lanes})

    @classmethod
    def read(cls, path: Path) -> Conversation:
        """Raises UserError: the file is missing, isn't a conversation, or was written by a newer version."""
        try:
            state = json.loads(files.read_bytes(path))
            state = formats.check("chat", state, path)
            lanes = [Lane(str(lane["model"]), Tree.from_dict(lane)) for lane in state["lanes"]]
            known = ("format", "title", "name", "created", "settings", "lanes")
            extra = {key: value for key, value in state.items() if key not in known}
            return cls(float(state["created"]), dict(state["settings"]), lanes, str(state.get("name") or ""), extra)
        except OSError as error:
            raise from_os_error(error, tr("Could not open the conversation.")) from error
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise UserError(tr("{path} isn't a conversation.", path=path.name),
                            tr("It can't be read: {reason}.", reason=_reason(error)),
                            tr("Choose a file that Chat saved.")) from error

    def to_markdown(self) -> str:
        """What is shown, to read. Models that were asked the same are together below each question."""
        names = [lane.name for lane in self.lanes]
        lines = [f"# {self.title}", "", time.strftime("%Y-%m-%d %H:%M", time.localtime(self.created)), ""]
        lines += [f"- {key}: {value}" for key, value in {"model": ", ".join(names), **self.settings}.items() if value]
        asked = [[turn.content for turn in lane.turns if turn.role == "user"] for lane in self.lanes]
        together = all(questions == asked[0] for questions in asked)
        said = [[(name, number > 0, turn) for turn in lane.turns]
                for number, (name, lane) in enumerate(zip(names, self.lanes, strict=True))]
        order = (each for row in zip_longest(*said) for each in row if each) if together else chain.from_iterable(said)
        for name, second, turn in order:
            if turn.role == "user" and second and together:
                continue
            lines += ["", f"## {tr('You') if turn.role == 'user' else name}", "",
                      *(f"- {each['name']}" for each in turn.figures.get("documents") or ()), turn.content.strip()]
        return "\n".join(lines) + "\n"


def _reason(error: Exception) -> str:
    return tr("{key} is missing", key=error) if isinstance(error, KeyError) else str(error).rstrip(".।")


def new_chat_file(created: float) -> Path:
    """Where a conversation that began then is kept."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
    return paths.chats_dir() / f"{stamp}-{int(created * 1000) % 1000:03d}.json"


def write_chat(path: Path, text: str) -> None:
    """Write a file, whole or not at all. Raises UserError: it can't be written."""
    with os_errors_as(tr("Could not save the conversation.")):
        files.write_atomically(path, text)


def save_chat(conversation: Conversation, path: Path) -> None:
    """Write NAME.json, and NAME.md beside it. Raises UserError: one of them can't be written."""
    write_chat(path.with_suffix(".json"), conversation.to_json())
    write_chat(path.with_suffix(".md"), conversation.to_markdown())


def read_chats(folder: Path) -> tuple[list[tuple[Path, Conversation]], list[tuple[Path, UserError]]]:
    """The saved conversations, newest first, and the files that can't be read, with the reason."""
    found: list[tuple[Path, Conversation]] = []
    damaged: list[tuple[Path, UserError]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append((path, Conversation.read(path)))
        except UserError as error:
            damaged.append((path, error))
    return sorted(found, key=lambda each: -each[1].created), damaged


def rename_chat(path: Path, name: str) -> None:
    """Give a saved conversation a name; an empty one gives it back its first question.

    Raises:
        UserError: it can't be read or written.
    """
    conversation = Conversation.read(path)
    conversation.name = " ".join(name.split())
    write_chat(path, conversation.to_json())


def delete_chat(path: Path) -> bytes:
    """Put a file into the system's trash. Returns what was in it, for `restore_chat`.

    Raises:
        UserError: it can't be read or moved.
    """
    import send2trash

    with os_errors_as(tr("Could not move the conversation to the trash.")):
        content = files.read_bytes(path)
        send2trash.send2trash(path)
    return content


def restore_chat(path: Path, content: bytes) -> None:
    """Undo `delete_chat`. Raises UserError: it can't be written."""
    with os_errors_as(tr("Could not restore the conversation.")):
        files.write_atomically(path, content)
