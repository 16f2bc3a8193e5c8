"""Conversations that a chat template has written out as one text, as many sets for tutorials hold them."""

from __future__ import annotations

import json
import re
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.speakers import role_of
from slmstudio.core.paths import resources

FORMS: dict[str, Any] = json.loads((resources() / "importing" / "templates.json").read_text("utf-8"))
"""How templates mark messages, with an example of each, which are the tests."""
_INST = re.compile(r"\s*(?:<s>)?\s*\[INST\]\s*(.*?)\s*\[/INST\]\s*", re.DOTALL)
_SYS = re.compile(r"<<SYS>>\s*(.*?)\s*<</SYS>>\s*", re.DOTALL)
_HEADINGS = re.compile(r"(?<!#)### *([^\n:#]{2,30}):\s*")
_ENDS = tuple(FORMS["ends"])
_BEGINS = re.compile(rf"\s*(?:{'|'.join(map(re.escape, FORMS['begins']))})\s*")
_PATTERNS = {each["name"]: re.compile(each.get("message") or each["speaker"], re.DOTALL)
             for each in FORMS["templates"]}


def messages(text: str) -> list[dict[str, Any]]:
    """The messages of a text in the form of a known template, of Llama 2 or of Alpaca; empty for any other text, and
    for one of which a part is outside of all messages.

    >>> messages("<s>[INST] Hi [/INST] Hello </s>")
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]
    """
    head = text[:400]
    if "<" not in head and "[" not in head and "### " not in head and "USER:" not in head:
        return []
    begin = _BEGINS.match(text)
    plain = text[begin.end():] if begin else text
    head = plain[:400].lstrip()
    if head.startswith("[INST]"):
        return _instructed(plain)
    if (first := _HEADINGS.search(head)) and names.column(first[1]) in names.ASKED:
        return _headed(without_end(plain))
    form = next((each for each in FORMS["templates"] if (
        head.startswith(each["starts"]) if "starts" in each else each["has"] in plain)), None)
    if form is None or form.get("without", "\0") in plain:
        return []
    pattern = _PATTERNS[form["name"]]
    return _in_turns(pattern, plain) if "speaker" in form else _between(pattern, form["starts"], without_end(plain))


def _between(pattern: re.Pattern[str], mark: str, text: str) -> list[dict[str, Any]]:
    """The messages between marks; none if something is outside of them, or has such a mark in it."""
    found = [_message(role, content) for role, content in pattern.findall(text) if content]
    return [] if pattern.sub("", text).strip() or any(mark in each["content"] for each in found) else found


def without_end(text: str) -> str:
    """A text without the mark that a template puts behind it, and without the blanks around that."""
    shown = text.rstrip()
    mark = next((mark for mark in _ENDS if shown.endswith(mark)), "")
    return shown[:-len(mark)].rstrip() if mark else text


def _in_turns(marks: re.Pattern[str], text: str) -> list[dict[str, Any]]:
    """The messages of a text in which each begins with a mark, and what is before them as the system message."""
    before, *parts = marks.split(without_end(text))
    found = [_message(role, said) for role, content in zip(parts[::2], parts[1::2], strict=True)
             if (said := without_end(content).strip())]
    return [_message("system", before.strip()), *found] if before.strip() and found else found


def _headed(text: str) -> list[dict[str, Any]]:
    """Questions and answers below headings, as Alpaca's "### Instruction:", "### Input:" and "### Response:", in any
    language; otherwise nothing. Sentences before them are the system message, except Alpaca's, which say nothing."""
    cuts: list[tuple[str, int, int]] = []
    asks = says = ""
    for mark in _HEADINGS.finditer(text):
        title, last = names.column(mark[1]), cuts[-1][0] if cuts else ""
        if not cuts:
            if title in ("human", "user"):
                return []  # people who speak may do so in the middle of a line, too
            asks, kind = title, "user"
        elif last != "assistant" and title in names.ANSWERED and says in ("", title):
            says, kind = title, "assistant"
        elif last == "user" and title in names.BELOW:
            kind = "below"
        elif last == "assistant" and title == asks:
            kind = "user"
        else:
            continue  # a heading within what is said
        cuts.append((kind, mark.start(), mark.end()))
    if not says:
        return []
    found: list[dict[str, Any]] = []
    for (kind, _, begin), (_, end, _) in zip(cuts, [*cuts[1:], ("", len(text), 0)], strict=True):
        said = text[begin:end].strip()
        if kind == "below":
            found[-1]["content"] += f"\n\n{said}" if said else ""
        else:
            found.append({"role": kind, "content": said})
    head, found = text[:cuts[0][1]].strip(), [each for each in found if each["content"]]  # a prompt has no answer
    return found if not head or head.startswith("Below is an instruction") else [_message("system", head), *found]


def _instructed(text: str) -> list[dict[str, Any]]:
    before, *parts = _INST.split(text)
    if before.strip() or len(parts) < 2:
        return []
    found = []
    for asked, answer in zip(parts[::2], parts[1::2], strict=True):
        if system := _SYS.match(asked):
            found.append(_message("system", system[1]))
            asked = asked[system.end():]
        found += [_message("user", asked), _message("assistant", without_end(answer).strip())]
    return found if found[-1]["content"] else found[:-1]  # a prompt has no answer


def _message(role: str, content: str) -> dict[str, Any]:
    return {"role": role_of(role) or role, "content": content}
