"""A conversation in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.interactive import InteractiveWorker


def converse(
    gguf: Path, prompt: str | None, system: str | None, options: dict[str, Any], quiet: bool
) -> dict[str, Any]:
    """Ask once, or talk until the input ends.

    Returns:
        The last answer with its figures.

    Raises:
        UserError: the file cannot be used, or the worker ended.
    """
    messages = [{"role": "system", "content": system}] if system else []
    worker = InteractiveWorker("chat")
    worker.start()
    try:
        worker.send({"command": "load", "path": str(gguf.absolute())})
        replies = worker.receive()
        _wait_for(replies, "loaded", quiet=True)
        result: dict[str, Any] = {}
        for turn, text in enumerate([prompt] if prompt is not None else _lines(), 1):
            messages.append({"role": "user", "content": text})
            worker.send({"command": "generate", "id": turn, "messages": messages, **options})
            result = _wait_for(replies, "done", quiet)
            messages.append({"role": "assistant", "content": result["reply"]})
        return result
    finally:
        worker.close()


def _lines() -> Any:
    while True:
        try:
            text = input("you> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if text.strip():
            yield text


def _wait_for(replies: Any, wanted: str, quiet: bool) -> dict[str, Any]:
    text = ""
    for message in replies:
        if message["type"] == "error":
            raise UserError.from_dict(message["error"])
        if message["type"] == "token":
            text += message["text"]
            if not quiet:
                print(message["text"], end="", flush=True)
        if message["type"] == wanted:
            if text and not quiet:
                print()
            return {
                "reply": text.strip(),
                **{k: v for k, v in message.items() if k not in ("type", "protocol", "id", "time")},
            }
    raise UserError("The chat worker ended before it answered.", "", "Try again; a smaller model may be needed.")
