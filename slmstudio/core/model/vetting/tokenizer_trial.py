"""What vetting tries of a tokenizer and a chat template, in the process that may run them (`foreign_child`).

A tokenizer of a few hundred bytes can ask for any amount of time (a regular expression that tries every way to cut a
text) or memory (a normalizer that makes ten characters of one, ten times over). So each trial is a request of its own,
and where the process is stopped it is known at which.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate, find_template, special_tokens
from slmstudio.core.model.foreign import sandbox
from slmstudio.core.model.json_files import printable

# -- Texts that a tokenizer must give back as they are, in ten scripts, and others that have brought tokenizers down.

PLAIN = "The answer is 42. Ask again, please: which office (open 9-5) helps?"
"""Every tokenizer must keep this; a difference in capital letters or white space is forgiven."""
LINES = "if ready:\n    print(1)\n\n\tdone"
SCRIPTS = {
    noop("Latin"): "Où est l'église? Größe, niño, žluťoučký kůň.",
    noop("Devanagari"): "जन्म प्रमाण पत्र कितने दिन में मिलता है? क्षत्रिय, १२३।",
    noop("Bengali"): "জন্ম সনদ কত দিনে পাওয়া যায়? ক্ষমা করবেন।",
    noop("Tamil"): "பிறப்புச் சான்றிதழ் எத்தனை நாட்களில் கிடைக்கும்?",
    noop("Telugu"): "జనన ధృవీకరణ పత్రం ఎన్ని రోజుల్లో వస్తుంది?",
    noop("Gujarati"): "જન્મનું પ્રમાણપત્ર કેટલા દિવસમાં મળે છે?",
    noop("Arabic"): "پیدائش کا سرٹیفکیٹ کتنے دن میں ملتا ہے؟ مرحبا بكم.",
    noop("Chinese"): "出生证明需要几天才能拿到？",
    noop("Cyrillic"): "Сколько дней нужно, чтобы получить справку?",
    noop("Emoji"): "Thanks 🙂 👍🏽 🇮🇳 👨‍👩‍👧",
}
LONG = tuple(text * (2_000 // len(text)) for text in ("a", " ", "0", "!", "\n", "ab ", "aA1 .", "क", "字", "\u200d"))
"""A regular expression that tries every way to cut a text takes forever on one of these."""
CHAT = ({"role": "user", "content": "Where is the office?"},
        {"role": "assistant", "content": "It is near the station."},
        {"role": "user", "content": "When does it open?"}, {"role": "assistant", "content": "It opens at nine."})


SHOWN = 5


def try_out(trial: str, folder: Path, tokenizer: Any, rows: int | None, ids: dict[str, list[int]]) -> dict[str, Any]:
    """One of the trials "tokenizer", "texts" and "template": a part of `tokenizer.Report`.

    Args:
        rows, ids: as of `tokenizer.measure`.

    Raises:
        UserError: the tokenizer fails.
    """
    with _failures_in_words():
        if trial == "tokenizer":
            return _numbers(folder, tokenizer, rows, ids)
        if trial == "texts":
            return _texts(folder, tokenizer)
        marks = set(tokenizer.get_added_tokens_decoder()) | set(ids["eos_token"])
        return {"template": _template(folder, tokenizer, special_tokens(folder), marks)}


@contextlib.contextmanager
def _failures_in_words() -> Iterator[None]:
    try:
        yield
    except BaseException as error:  # the library is written in Rust: it raises `Exception` itself, or panics
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        said = printable(str(error).rstrip("."), 200)
        raise UserError(tr("tokenizer.json fails on ordinary text: {reason}.", reason=said)) from error


def _numbers(folder: Path, tokenizer: Any, rows: int | None, ids: dict[str, list[int]]) -> dict[str, Any]:
    """The ids of its tokens, held against the model's."""
    state = json.loads((folder / "tokenizer.json").read_bytes())
    base, added = tokenizer.get_vocab(with_added_tokens=False), tokenizer.get_added_tokens_decoder()
    own = base.keys() | {token["content"] for token in state.get("added_tokens") or ()}
    return {
        "tokens": tokenizer.get_vocab_size(), "highest": max(max(base.values(), default=-1), max(added, default=-1)),
        "special": {name: {"content": content, "id": tokenizer.token_to_id(content), "own": content in own}
                    for name, content in special_tokens(folder).items() if content},
        "beyond": [] if rows is None else [number for number in base.values()
                                           if number >= rows and number not in added][:SHOWN],
        "beyond_added": [] if rows is None else [token.content for number, token in sorted(added.items())
                                                 if number >= rows][:SHOWN],
        "absent": {name: [number for number in numbers if number >= 0 and tokenizer.id_to_token(number) is None]
                   for name, numbers in ids.items()},
        "merges": _merges(state),
    }


def _texts(folder: Path, tokenizer: Any) -> dict[str, Any]:
    """Which texts come back as they went in; and long ones, which mustn't take forever."""
    unknown = tokenizer.token_to_id(special_tokens(folder).get("unk_token", "<unk>"))
    found = {"texts": {name: _kept(tokenizer, text, unknown) for name, text in SCRIPTS.items()},
             "plain": _kept(tokenizer, PLAIN, unknown, _bare), "lines": _kept(tokenizer, LINES, None)}
    for text in LONG:
        tokenizer.encode(text, add_special_tokens=False)
    return found


def _merges(state: dict[str, Any]) -> dict[str, int] | None:
    """Whether the merges of a BPE lead to its tokens: each longer one was made of two shorter ones when the tokenizer
    was trained.

    Returns:
        {"merges", "longer": tokens of several characters, "unmade": those that two tokens would make, and no merge
        does}; None of other kinds of tokenizers.
    """
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
            encoded = tokens.encode(CHAT, tokenizer, template)
        except UserError:
            template.render(CHAT[2:])  # whose error says whether it refuses the conversation
            encoded = tokens.encode(CHAT[2:], tokenizer, template)
    except UserError as error:
        return {"error": f"{error.what} {error.why}".strip(), "refused": isinstance(error.__cause__, sandbox.Refusal)}
    ends = []
    for place, learned in enumerate(encoded.learned):
        if learned and not (encoded.learned[place + 1:place + 2] or [False])[0]:
            number = encoded.ids[place]
            ends.append([number, tokenizer.id_to_token(number)] if number in marks else None)
    return {"ends": ends, "highest": max(encoded.ids, default=-1)}
