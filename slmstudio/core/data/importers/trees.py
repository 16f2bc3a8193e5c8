"""Messages with the one that each replies to, as OASST's, as a conversation for each tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slmstudio.core.data.candidates import Readable
from slmstudio.core.data.importers import linked
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.i18n import tr


def detect(values: list[dict[str, Any]]) -> float:
    role, text = linked.role_and_text(values)
    return float(bool(role and text) and all("message_id" in each and "parent_id" in each for each in values))


def read(rows: Iterator[Raw], values: list[dict[str, Any]], _options: ReadOptions, part: Readable) -> Iterator[Raw]:
    """The best-ranked path through each tree; rows that aren't messages stay as they are."""
    part.notes.append(tr("Each row is one message. The best-ranked path through each tree of replies is read as one "
                         "conversation."))
    role, text = linked.role_and_text(values)
    replies: dict[str, list[Raw]] = {}
    known: set[str] = set()
    for raw in rows:
        value = raw.value
        if not linked.is_message(value, role, text):
            yield raw
        elif not value.get("deleted"):
            known.add(str(value.get("message_id")))
            replies.setdefault(str(value.get("parent_id") or ""), []).append(raw)
    roots = [each for parent, found in replies.items() if parent not in known for each in found]
    for root in sorted(roots, key=lambda raw: raw.line):
        path, here = [root], root
        while found := replies.pop(str(here.value.get("message_id")), []):
            here = min(found, key=lambda raw: linked.number(raw.value.get("rank")))
            path.append(here)
        yield linked.conversation(path, role, text, ("message_id", "parent_id", "message_tree_id"))
