"""Reads a tokenizer and renders a chat template, in a process of its own: neither may take the program along.

Both come with a model, from anybody. A tokenizer of a few hundred bytes can ask for any amount of time (a regular
expression that tries every way to cut a text) or memory (a normalizer that makes ten characters of one, ten times
over). The process ends at its limits where the system has such limits (on Linux and, except for memory, on macOS), and
is ended from outside where it has none.

    python -P -m slmstudio.core.model.vetting.tokenizer_child < REQUEST

Reads one JSON object, {"folder", "rows", "ids"}; writes lines of JSON: what it begins with, and at the end what it has
found (`tokenizer.Report`), in the language of the process that started it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from slmstudio.core import i18n
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate, find_template, special_tokens
from slmstudio.core.model.foreign import sandbox
from slmstudio.core.model.foreign.child_process import limit
from slmstudio.core.model.json_files import printable
from slmstudio.core.model.vetting import samples

MEMORY = 512 * 2**20
"""Bytes of addresses that the process may use, beside what a large tokenizer.json takes."""
MEMORY_PER_BYTE = 20
SECONDS = 3
"""Processor time allowed, in addition to what a large tokenizer.json takes."""
BYTES_PER_SECOND = 8 * 2**20
SHOWN = 5


def main() -> None:
    i18n.use()
    request = json.loads(sys.stdin.read())
    folder = Path(request["folder"])
    size = (folder / "tokenizer.json").stat().st_size
    limit(SECONDS + size // BYTES_PER_SECOND, MEMORY + MEMORY_PER_BYTE * size)
    _say(stage="tokenizer")
    try:
        report = _look(folder, request["rows"], request["ids"])
    except UserError as error:
        report = {"error": f"{error.what} {error.why}".strip()}
    except BaseException as error:  # the library is written in Rust: it raises `Exception` itself, or panics
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        said = printable(str(error).rstrip("."), 200)
        report = {"error": tr("tokenizer.json fails on ordinary text: {reason}.", reason=said)}
    _say(report=report)


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def _look(folder: Path, rows: int | None, ids: dict[str, list[int]]) -> dict[str, Any]:
    tokenizer = tokens.read_tokenizer(folder)
    own = tokenizer.get_vocab(with_added_tokens=True)
    merges = _merges(folder)
    tokenizer.add_tokens(tokens.tokens_beside(folder, tokenizer))
    added = tokenizer.get_added_tokens_decoder()
    named = special_tokens(folder)
    unknown = tokenizer.token_to_id(named.get("unk_token", "<unk>"))
    base = tokenizer.get_vocab(with_added_tokens=False).values()
    report = {
        "tokens": tokenizer.get_vocab_size(), "highest": max(max(own.values(), default=-1), max(added, default=-1)),
        "special": {name: {"content": content, "id": tokenizer.token_to_id(content), "own": content in own}
                    for name, content in named.items() if content},
        "beyond": [] if rows is None else [number for number in base if number >= rows and number not in added][:SHOWN],
        "beyond_added": [] if rows is None else [token.content for number, token in sorted(added.items())
                                                 if number >= rows][:SHOWN],
        "absent": {name: [number for number in numbers if number >= 0 and tokenizer.id_to_token(number) is None]
                   for name, numbers in ids.items()},
        "merges": merges,
    }
    _say(stage="texts")
    report["texts"] = {name: _kept(tokenizer, text, unknown) for name, text in samples.SCRIPTS.items()}
    report["plain"] = _kept(tokenizer, samples.PLAIN, unknown, _bare)
    report["lines"] = _kept(tokenizer, samples.LINES, None)
    for text in samples.LONG:
        tokenizer.encode(text, add_special_tokens=False)
    _say(stage="template")
    report["template"] = _template(folder, tokenizer, named, set(added) | set(ids["eos_token"]))
    return report


def _merges(folder: Path) -> dict[str, int] | None:
    """Whether the merges of a BPE lead to its tokens: each longer one was made of two shorter ones when the tokenizer
    was trained.

    Returns:
        {"merges", "longer": tokens of several characters, "unmade": those that two tokens would make, and no merge
        does}; None of other kinds of tokenizers.
    """
    state = json.loads((folder / "tokenizer.json").read_bytes())
    model = state["model"]
    if "merges" not in model:
        return None
    vocabulary, added = model["vocab"], {token["content"] for token in state.get("added_tokens") or ()}
    made = {"".join(merge) if isinstance(merge, list) else merge.replace(" ", "", 1) for merge in model["merges"]}
    longer = [token for token in vocabulary if len(token) > 1 and token not in added]
    unmade = sum(token not in made and any(token[:at] in vocabulary and token[at:] in vocabulary
                                           for at in range(1, len(token))) for token in longer)
    return {"merges": len(model["merges"]), "longer": len(longer), "unmade": unmade}


def _kept(tokenizer: Any, text: str, unknown: int | None, form: Any = str.strip) -> bool:
    """Whether a text comes back out of its tokens as it went in, none of them unknown."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return unknown not in ids and form(tokenizer.decode(ids, skip_special_tokens=False)) == form(text)


def _bare(text: str) -> str:
    return "".join(text.casefold().split())


def _template(folder: Path, tokenizer: Any, named: dict[str, str], marks: set[int]) -> dict[str, Any] | None:
    """How the folder's template ends an assistant's turns: {"ends": [[id, text] or None of each answer]}, or {"error",
    "refused": whether it works, and refuses the conversation}; None if there is no template.

    Args:
        marks: the ids that may end a turn: added tokens, and those that config.json calls EOS.
    """
    try:
        source = find_template(folder)
        if source is None:
            return None
        template = ChatTemplate(source, named)
        template.check()
        if template.omits_question():
            return {"error": tr("The chat template never shows the question to the model."), "refused": True}
        try:
            encoded = tokens.encode(samples.CHAT, tokenizer, template)
        except UserError:
            encoded = tokens.encode(samples.CHAT[2:], tokenizer, template)
    except UserError as error:
        return {"error": f"{error.what} {error.why}".strip(), "refused": isinstance(error.__cause__, sandbox.Refusal)}
    ends = []
    for place, learned in enumerate(encoded.learned):
        if learned and not (encoded.learned[place + 1:place + 2] or [False])[0]:
            number = encoded.ids[place]
            ends.append([number, tokenizer.id_to_token(number)] if number in marks else None)
    return {"ends": ends, "highest": max(encoded.ids, default=-1)}


if __name__ == "__main__":
    main()
