"""Conversations that are one text: as chat templates write them, below headings, or with a speaker before each turn."""

from __future__ import annotations

import json
import re
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.mapping.speakers import WORDS, role_of
from slmstudio.core.paths import resources

FORMS: dict[str, Any] = json.loads((resources() / "importing" / "templates.json").read_text("utf-8"))
"""How templates mark messages, with an example of each, which are the tests."""
_HEADINGS = re.compile(r"(?<!#)### *([^\n:#]{2,30}):\s*")
_SPEAKERS = re.compile(rf"(?:^|\n)\s*(?:#+ *|<)?({'|'.join(WORDS['in_texts'])})>? *: *", re.IGNORECASE)
"""What begins a turn where no template has written the text, as in glaive-function-calling-v2."""
_ENDS = tuple(FORMS["ends"])
_BEGINS = re.compile(rf"\s*(?:{'|'.join(map(re.escape, FORMS['begins']))})\s*")
_PATTERNS = {each["name"]: re.compile(each.get("message") or each["speaker"], re.DOTALL)
             for each in FORMS["templates"]}


def messages(text: str) -> tuple[str, list[dict[str, Any]]]:
    """The form of a text and its messages: "templated" by a template or headings, or "spoken"; "" and none of any
    other text, and of one of which a part is outside of all messages.

    >>> messages("<s>[INST] Hi [/INST] Hello </s>")
    ('templated', [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}])
    """
    if found := _templated(text):
        return "templated", found
    found = _in_turns(_SPEAKERS, text) if _SPEAKERS.match(text) else []
    return ("spoken", found) if found else ("", [])


def without_end(text: str) -> str:
    """A text without the mark that a template puts behind it, and without the blanks around that."""
    shown = text.rstrip()
    mark = next((mark for mark in _ENDS if shown.endswith(mark)), "")
    return shown[:-len(mark)].rstrip() if mark else text


def _templated(text: str) -> list[dict[str, Any]]:
    head = text[:400]
    if "<" not in head and "[" not in head and "### " not in head and "USER:" not in head:
        return []
    begin = _BEGINS.match(text)
    plain = text[begin.end():] if begin else text
    head = plain[:400].lstrip()
    if (first := _HEADINGS.search(head)) and names.column(first[1]) in names.ASKED and (
            found := _headed(without_end(plain))):
        return found
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


def _in_turns(marks: re.Pattern[str], text: str) -> list[dict[str, Any]]:
    """The messages of a text in which each begins with a mark, and what is before them as the system message; none of
    a text in which only one speaks."""
    text = without_end(text)
    begun = list(marks.finditer(text))
    roles = [mark.lastgroup or mark[1].casefold() for mark in begun]
    if len(set(roles)) < 2:
        return []
    ends = [*(mark.start() for mark in begun[1:]), len(text)]
    found = [_message(role, said) for role, mark, end in zip(roles, begun, ends, strict=True)
             if (said := without_end(text[mark.end():end]).strip())]
    before = text[:begun[0].start()].strip()
    return [_message("system", before), *found] if before and found else found


def _headed(text: str) -> list[dict[str, Any]]:
    """Questions and answers below headings, as Alpaca's "### Instruction:", "### Input:" and "### Response:", in any
    language; otherwise nothing. Sentences before them are the system message, except Alpaca's, which say nothing."""
    found, at = [_message("system", "")], 0
    titles: dict[str, str] = {}
    for mark in _HEADINGS.finditer(text):
        title, last = names.column(mark[1]), found[-1]["role"]
        if not titles and title in ("human", "user"):
            return []  # people who speak may do so in the middle of a line, too
        role = next((role for role, after, words in (
            ("user", "system assistant", names.ASKED), ("assistant", "user", names.ANSWERED), ("", "user", names.BELOW))
            if last in after and title in words and titles.get(role, title) == title), None)
        if role is None:
            continue  # a heading within what is said
        found[-1]["content"] += text[at:mark.start()].strip()
        at = mark.end()
        if role:
            titles[role] = title
            found.append(_message(role, ""))
        else:
            found[-1]["content"] += "\n\n"
    found[-1]["content"] += text[at:].strip()
    if "assistant" not in titles:
        return []
    if found[0]["content"].startswith("Below is an instruction"):
        del found[0]
    return [_message(each["role"], said) for each in found if (said := each["content"].strip())]  # a prompt: no answer


def _message(role: str, content: str) -> dict[str, Any]:
    return {"role": role_of(role) or role, "content": content}
