"""The process that renders templates and encodes texts for the window and the terminal: a child of
`foreign.template_client`.

Reads one JSON object per line, and answers with one: {"answer": ...}, {"error": a UserError}, {"memory": true} where
there wasn't enough of it, or {"defect": a traceback}. Errors are in the request's language, which may change while the
window is open. Each request has a limit on the processor's time, and on memory; both grow with the tokenizer.json and
the text, since honest ones need more where they are larger. What reaches a limit ends
the process: `template_client` says so.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from slmstudio.core import i18n, memory_limit
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.foreign.child_process import limit

MEMORY, PER_BYTE_OF_TOKENIZER, PER_BYTE_OF_REQUEST = 512 * 2**20, 20, 250
"""Bytes of addresses."""
SECONDS, BYTES_PER_SECOND = 5, 2**17
"""Processor time allowed, and how many bytes of a request add one more second."""
TOKENIZER_BYTES_PER_SECOND = 8 * 2**20


def main() -> None:
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if request["language"] != i18n.language():
            i18n.use(request["language"])
        _limit(request, len(line))
        answer = _answer(request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        if "memory" in answer:
            return


def _limit(request: dict[str, Any], size: int) -> None:
    """Limit what answering this request may use."""
    global _largest
    held = 0
    with contextlib.suppress(OSError):
        held = (Path(request["folder"]) / "tokenizer.json").stat().st_size if "folder" in request else 0
    _largest = max(_largest, held)
    limit(int(time.process_time()) + SECONDS + size // BYTES_PER_SECOND + held // TOKENIZER_BYTES_PER_SECOND,
          MEMORY + _KEPT * PER_BYTE_OF_TOKENIZER * _largest + PER_BYTE_OF_REQUEST * size)


_KEPT = 2
"""Tokenizers that are kept: the window compares at most two models."""
_largest = 0


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": _DO[request["do"]](request)}
    except UserError as error:
        return {"memory": True} if isinstance(error.__cause__, MemoryError) else {"error": error.to_dict()}
    except MemoryError:
        return {"memory": True}
    except BaseException as error:  # tokenizers is written in Rust: it raises `Exception` itself, or panics
        if type(error) is Exception or type(error).__name__ == "PanicException":
            return {"error": UserError(tr("The tokenizer can't handle this text."), f"{str(error)[:200].rstrip('.')}.",
                                       tr("Choose another model.")).to_dict()}
        return {"memory": True} if memory_limit.is_near() else {"defect": traceback.format_exc()}


def _template(request: dict[str, Any]) -> ChatTemplate:
    return ChatTemplate(request["source"], request["tokens"], request["thinks"])


def _row(request: dict[str, Any]) -> list[Any]:
    found = tokens.encode(request["messages"], _tokenizer(request), _template(request), request["only"],
                          request["most"], request["tools"])
    return [found.ids, found.learned, *_places(found.offsets), found.text]


def _tokenizer(request: dict[str, Any]) -> Any:
    folder = Path(request["folder"])
    changed = tuple(path.stat().st_mtime_ns if (path := folder / name).is_file() else 0
                    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"))
    return _read(folder, changed)


@lru_cache(maxsize=_KEPT)
def _read(folder: Path, changed: tuple[int, ...]) -> Any:
    return tokens.load_tokenizer(folder)


def _added(request: dict[str, Any]) -> dict[int, Any]:
    found = _tokenizer(request).get_added_tokens_decoder()
    return {number: [token.content, token.special] for number, token in found.items()}


def _encode(request: dict[str, Any]) -> list[Any]:
    try:
        found = _tokenizer(request).encode(request["text"], add_special_tokens=request["special"])
    except TypeError as error:
        raise tokens.half_a_character() from error
    return [found.ids, *_places(found.offsets)]


def _places(offsets: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [begin for begin, _ in offsets], [end for _, end in offsets]


_DO: dict[str, Callable[[dict[str, Any]], Any]] = {
    "render": lambda request: _template(request).render(request["messages"], request["prompt"], request["tools"]),
    "row": _row,
    "check": lambda request: ChatTemplate(request["source"]).check(),
    "tokenizer": _added,
    "encode": _encode,
    "decode": lambda request: _tokenizer(request).decode(request["ids"]),
    "id": lambda request: _tokenizer(request).token_to_id(request["text"]),
}


if __name__ == "__main__":
    main()
