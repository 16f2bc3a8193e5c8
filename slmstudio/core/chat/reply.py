"""An answer in its parts: what the model thought before it, the tools that it calls, and the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from slmstudio.core.chat.markdown import Piece, Stream
from slmstudio.core.data.mapping.tools import calls_of, is_calls
from slmstudio.core.i18n import tr

_TAGS = "think|thinking|thought|reasoning|seed:think|THINK"
"""What opens the thoughts of DeepSeek, Qwen 3, SmolLM3 and others; ByteDance's and, in square brackets, Mistral's."""
_THOUGHTS = re.compile(rf"\s*[<\[](?P<tag>{_TAGS})[>\]](?P<inside>.*?)(?P<close>[<\[]/(?P=tag)[>\]]|\Z)\s*", re.DOTALL)
_OPENED = re.compile(rf"[<\[](?:{_TAGS})[>\]]\s*\Z")
_CALL = re.compile(r"^[ \t]*<(?P<tag>tool_call|function_call|functioncall)>(?P<inside>.*?)(?P<close></(?P=tag)>|\Z)\s*",
                   re.DOTALL | re.MULTILINE)
_UNFINISHED = re.compile(r"[<\[][\w:/]*\Z")
"""What may be the beginning of a tag."""


def parts(answer: str, writing: bool = False) -> list[tuple[str, str, bool]]:
    """The parts of an answer in their order: "thought", "call" or "text", what it says, and whether the tag is missing
    that closes it. Of an answer that is being written, an unfinished tag is held back.

    >>> parts("<think>\\n2 + 2\\n</think>\\n\\n4")
    [('thought', '2 + 2', False), ('text', '4', False)]
    """
    answer = _UNFINISHED.sub("", answer) if writing else answer
    found: list[tuple[str, str, bool]] = []
    if thoughts := _THOUGHTS.match(answer):
        if thoughts["inside"].strip() or not thoughts["close"]:
            found.append(("thought", thoughts["inside"].strip(), not thoughts["close"]))
        answer = answer[thoughts.end():]
    if not writing and (is_calls(answer) or is_calls(f"[{answer}]")):  # as Mistral and Llama 3 write them
        return [*found, ("call", answer, False)]
    at = 0
    for call in _CALL.finditer(answer):
        found += [("text", answer[at:call.start()], False)] if answer[at:call.start()].strip() else []
        found.append(("call", call["inside"], not call["close"]))
        at = call.end()
    return [*found, ("text", answer[at:], False)] if answer[at:].strip() or not found else found


def opening_tag(prompt_end: str) -> str:
    """The tag of a prompt that ends where thoughts begin, as that of a model which always thinks; otherwise ""."""
    tag = _OPENED.search(prompt_end)
    return tag[0].strip() if tag else ""


def without_tag(answer: str) -> str:
    """An answer that ended by itself: where thoughts never ended, it was given without any."""
    thoughts = _THOUGHTS.match(answer)
    return thoughts["inside"].strip() if thoughts and not thoughts["close"] else answer


def answer_of(answer: str) -> str:
    """A text without the thoughts before it; one that holds nothing else stays as it is."""
    thoughts = _THOUGHTS.match(answer)
    return (thoughts and answer[thoughts.end():].strip()) or answer


class Reply:
    """An answer that grows, as pieces to show; `wrap` puts places to break into words too long for a line."""

    def __init__(self, wrap: Callable[[str], str] = lambda text: text):
        self._wrap = wrap
        self._streams: dict[int, tuple[str, Stream]] = {}

    def pieces(self, answer: str, cursor: str = "") -> list[Piece]:
        """All pieces, as the answer is now. Only the end of each text is read again.

        Args:
            cursor: a sign that is shown at the end while more is to come.
        """
        found: list[Piece] = []
        all_parts = parts(answer, bool(cursor))
        for place, (kind, text, is_open) in enumerate(all_parts):
            if kind == "text":
                found += self._stream(place, text).pieces(cursor if place == len(all_parts) - 1 else "")
            elif kind == "call":
                found += _calls(text) if text.strip() else []
            else:
                found.append(Piece("thought", text, ("writing" if cursor else "cut") if is_open else ""))
        return found

    def _stream(self, place: int, text: str) -> Stream:
        known, stream = self._streams.get(place, ("", Stream(self._wrap)))
        if not text.startswith(known):
            known, stream = "", Stream(self._wrap)
        stream.add(text[len(known):])
        self._streams[place] = text, stream
        return stream


def _calls(text: str) -> list[Piece]:
    """Code for each call: its arguments below the tool's name; the text itself where it can't be read, or not yet."""
    calls = [call["function"] for call in calls_of({}, text, "", [])]
    return [Piece("code", "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}"
                                    for name, value in each["arguments"].items()),
                  tr("Calls the tool {name}", name=each["name"])) for each in calls] or [
        Piece("code", text.strip(), tr("Calls a tool"))]
