"""The saved conversations: one JSON file each, in one folder."""

from __future__ import annotations

import time
from pathlib import Path

from slmstudio.core import files, paths
from slmstudio.core.chat.conversation import Conversation
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr


def new_file(created: float) -> Path:
    """Where a conversation that began then is kept."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
    return paths.chats_dir() / f"{stamp}-{int(created * 1000) % 1000:03d}.json"


def write(path: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        UserError: it can't be written.
    """
    with os_errors_as(tr("Could not save the conversation.")):
        files.write_atomically(path, text)


def save(conversation: Conversation, path: Path) -> None:
    """Write NAME.json, and NAME.md beside it.

    Raises:
        UserError: one of them can't be written.
    """
    write(path.with_suffix(".json"), conversation.to_json())
    write(path.with_suffix(".md"), conversation.to_markdown())


def read_all(folder: Path) -> tuple[list[tuple[Path, Conversation]], list[tuple[Path, UserError]]]:
    """The saved conversations, newest first, and the files that can't be read, with the reason."""
    found: list[tuple[Path, Conversation]] = []
    damaged: list[tuple[Path, UserError]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append((path, Conversation.read(path)))
        except UserError as error:
            damaged.append((path, error))
    return sorted(found, key=lambda each: -each[1].created), damaged


def rename(path: Path, name: str) -> None:
    """Give a saved conversation a name; an empty one gives it back its first question.

    Raises:
        UserError: it can't be read or written.
    """
    conversation = Conversation.read(path)
    conversation.name = " ".join(name.split())
    write(path, conversation.to_json())


def delete(path: Path) -> bytes:
    """Put a file into the system's trash. Returns what was in it, for `put_back`.

    Raises:
        UserError: it can't be read or moved.
    """
    import send2trash

    with os_errors_as(tr("Could not move the conversation to the trash.")):
        content = files.read_bytes(path)
        send2trash.send2trash(path)
    return content


def put_back(path: Path, content: bytes) -> None:
    """Undo `delete`.

    Raises:
        UserError: it can't be written.
    """
    with os_errors_as(tr("Could not restore the conversation.")):
        files.write_atomically(path, content)
