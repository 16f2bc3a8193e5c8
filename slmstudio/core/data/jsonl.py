"""Writes records as JSONL, in one form for each layout, with the lineage of a changed set beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.data.record import GROUP, Record
from slmstudio.core.errors import os_errors_as
from slmstudio.core.i18n import tr

LINEAGE = ".lineage.json"


def as_row(record: Record) -> dict[str, Any]:
    """A record as the columns that `mapping` reads back to the same record.

    A question with its answer is {"instruction", "output"}, with a system message {"system", …} too; other
    conversations are {"messages"}; text is {"text"}.
    """
    beside: dict[str, Any] = {GROUP: record.group} if record.group else {}
    if record.text is not None:
        return {"text": record.text, **beside}
    messages = list(record.messages)
    beside |= {"tools": list(record.tools)} if record.tools else {}
    answer = messages[-1]
    if record.rejected is not None:
        return {"prompt": messages[:-1], "chosen": [answer],
                "rejected": [{"role": "assistant", "content": record.rejected}], **beside}
    if record.desirable is not None:
        return {"prompt": messages[:-1], "completion": [answer], "label": record.desirable, **beside}
    roles = [message["role"] for message in messages]
    is_plain = roles == ["user", "assistant"] and not record.has_tools
    # A text that looks like JSON would be read as what it holds.
    if is_plain and not any(message["content"].lstrip()[:1] in ("[", "{") for message in messages):
        return {"instruction": messages[0]["content"], "output": answer["content"], **beside}
    return {"messages": messages, **beside}


def write(path: Path, records: Iterable[Record], lineage: dict[str, Any] | None = None) -> None:
    """Write the records, and beside the file how they came to be, whole or not at all.

    Args:
        lineage: the source's name and SHA-256, and the steps that were taken.

    Raises:
        UserError: it can't be written.
    """
    with os_errors_as(tr("Could not write {file}.", file=path.name)):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(path, (
            json.dumps(as_row(record), ensure_ascii=False).encode("utf-8") + b"\n" for record in records))
        if lineage is not None:
            files.write_atomically(path.with_name(path.name + LINEAGE), files.dump_pretty(lineage))
