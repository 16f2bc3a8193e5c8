"""The process that runs what came with a model: a child of `model.foreign.template_client`.

Reads two lines of JSON for each request, its limits and itself, and answers with one: {"answer": ...}, {"error": a
UserError}, {"memory": true} where there wasn't enough of it, or {"defect": a traceback}. Errors are in the request's
language, which may change while the window is open. What reaches a limit ends the process: `template_client` says so.
On Linux it has no network either, whoever started it.
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
from slmstudio.core.lock import seccomp
from slmstudio.core.model import template_client, template_sandbox, tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.vetting.tokenizer import try_out


def main() -> None:
    _close_network()
    template_client.answer_here(_do)
    for limits in sys.stdin.buffer:
        _limit(**json.loads(limits))
        request = json.loads(sys.stdin.buffer.readline())
        if request["language"] != i18n.language():
            i18n.use(request["language"])
        answer = _answer(request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        if "memory" in answer:
            return


def _close_network() -> None:
    """As in a worker, whose lock the process has already. Most systems can't."""
    processor = seccomp.here()
    if processor is not None:
        with contextlib.suppress(OSError):
            seccomp.install(processor, network=True, named=False)


def _limit(seconds: int, memory: int) -> None:
    """Bound this process's time on the processor from now on and, on Linux, its addresses; let it write no files.

    A lower limit of the system's own stays. Windows has none.
    """
    try:
        import resource
    except ImportError:
        return
    wanted = {resource.RLIMIT_CPU: int(time.process_time()) + seconds, resource.RLIMIT_CORE: 0,
              resource.RLIMIT_FSIZE: 0}
    if sys.platform == "linux":
        wanted[resource.RLIMIT_AS] = memory
    for what, most in wanted.items():
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _do(request: dict[str, Any]) -> Any:
    return _DO[request["do"]](request)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": _do(request)}
    except UserError as error:
        return {"memory": True} if isinstance(error.__cause__, MemoryError) else {"error": error.to_dict()}
    except MemoryError:
        return {"memory": True}
    except BaseException as error:  # tokenizers is written in Rust: it raises `Exception` itself, or panics
        if type(error) is Exception or type(error).__name__ == "PanicException":
            return {"error": UserError(tr("The tokenizer can't handle this text."), f"{str(error)[:200].rstrip('.')}.",
                                       tr("Choose another model.")).to_dict()}
        return {"memory": True} if memory_limit.is_near() else {"defect": traceback.format_exc()}


def _render(request: dict[str, Any]) -> str:
    template = request["template"]
    thoughts = {} if template["thinks"] else {"enable_thinking": False}
    return template_sandbox.render(template["source"], template["special_tokens"], request["messages"],
                                   request["tools"], add_generation_prompt=request["prompt"], **thoughts)


def _rows(request: dict[str, Any]) -> list[Any]:
    """Each row's text and answers, or what is wrong with it: the others aren't to be asked for again."""
    template, found = ChatTemplate(**request["template"]), list[Any]()
    for messages, tools in request["rows"]:
        try:
            found.append(tokens.render_row(messages, tools, template, request["controls"], request["added"]))
        except UserError as error:
            if isinstance(error.__cause__, MemoryError):
                raise
            found.append({"error": error.to_dict()})
    return found


def _row(request: dict[str, Any]) -> list[Any]:
    found = tokens.encode(request["messages"], _tokenizer(request), ChatTemplate(**request["template"]),
                          request["only"], request["most"], request["tools"])
    return [found.ids, found.learned, *_places(found.offsets), found.text]


def _tokenizer(request: dict[str, Any]) -> Any:
    folder = Path(request["folder"])
    changed = tuple(path.stat().st_mtime_ns if (path := folder / name).is_file() else 0
                    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"))
    return _read(folder, changed)


@lru_cache(maxsize=template_client.TOKENIZERS)
def _read(folder: Path, changed: tuple[int, ...]) -> Any:
    return tokens.local_tokenizer(folder)


def _added(request: dict[str, Any]) -> dict[int, Any]:
    found = _tokenizer(request).get_added_tokens_decoder()
    return {number: [token.content, token.special] for number, token in found.items()}


def _encode(request: dict[str, Any]) -> list[Any]:
    try:
        found = _tokenizer(request).encode(request["text"], add_special_tokens=request["special"])
    except TypeError as error:
        raise tokens.half_a_character() from error
    return [found.ids, *_places(found.offsets)]


def _trial(request: dict[str, Any]) -> dict[str, Any]:
    return try_out(request["trial"], Path(request["folder"]), _tokenizer(request), request["rows"],
                                   request["ids"])


def _places(offsets: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [begin for begin, _ in offsets], [end for _, end in offsets]


_DO: dict[str, Callable[[dict[str, Any]], Any]] = {
    "check": lambda request: template_sandbox.check(request["source"]),
    "render": _render,
    "rows": _rows,
    "row": _row,
    "tokenizer": _added,
    "encode": _encode,
    "decode": lambda request: _tokenizer(request).decode(request["ids"]),
    "trial": _trial,
    "id": lambda request: _tokenizer(request).token_to_id(request["text"]),
}


if __name__ == "__main__":
    main()
