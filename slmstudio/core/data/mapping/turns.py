"""Conversations as files write them, as the messages that `Record` has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from slmstudio.core.data import column_names as names
from slmstudio.core.data.conversations import KEYS, Findings
from slmstudio.core.data.mapping import speakers, tools
from slmstudio.core.data.mapping.speakers import CONTENT_KEYS, WORDS, content_key, content_of, role_key, role_of
from slmstudio.core.data.mapping.values import parsed
from slmstudio.core.data.sources.row import number_text
from slmstudio.core.data.strict_json import printable
from slmstudio.core.paths import resources

# -- Conversations that are one text: as chat templates write them, below headings, or with a speaker before each
# turn.

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
    found = [_templated_message(role, content) for role, content in pattern.findall(text) if content]
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
    found = [_templated_message(role, said) for role, mark, end in zip(roles, begun, ends, strict=True)
             if (said := without_end(text[mark.end():end]).strip())]
    before = text[:begun[0].start()].strip()
    return [_templated_message("system", before), *found] if before and found else found


def _headed(text: str) -> list[dict[str, Any]]:
    """Questions and answers below headings, as Alpaca's "### Instruction:", "### Input:" and "### Response:", in any
    language; otherwise nothing. Sentences before them are the system message, except Alpaca's, which say nothing."""
    found, at = [_templated_message("system", "")], 0
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
            found.append(_templated_message(role, ""))
        else:
            found[-1]["content"] += "\n\n"
    found[-1]["content"] += text[at:].strip()
    if "assistant" not in titles:
        return []
    if found[0]["content"].startswith("Below is an instruction"):
        del found[0]
    # One without a text is the place of an answer in a prompt.
    return [_templated_message(each["role"], said) for each in found if (said := each["content"].strip())]


def _templated_message(role: str, content: str) -> dict[str, Any]:
    return {"role": role_of(role) or role, "content": content}


_PARTS = {
    "text": "text", "input_text": "text", "output_text": "text",
    "thinking": "thought", "redacted_thinking": "thought", "reasoningContent": "thought",
    "tool_use": "call", "toolUse": "call", "functionCall": "call", "function_call": "call",
    "tool_result": "result", "toolResult": "result", "functionResponse": "result", "function_response": "result"}
"""What a part of a message is, by its type; or by its key, as Bedrock's and Gemini's are called."""
_FORMS: tuple[tuple[str, Callable[[Any], list[Any]]], ...] = (
    ("people", speakers.by_people), ("turns", speakers.by_turns), ("pairs", speakers.by_pairs))


class NotText(Exception):
    """A message holds a picture, a sound or another thing that isn't text.

    Attributes:
        what: it, as the file calls it.
    """

    def __init__(self, what: str):
        super().__init__(what)
        self.what = what


class Turns(NamedTuple):
    """What a value holds.

    Attributes:
        messages: those of a conversation; a value of another kind as it is.
        tools: that it brings along.
        form: "templated", "spoken", "tree", "people", "turns" or "pairs"; "" of a list of messages, and of no
            conversation.
    """

    messages: Any
    tools: list[dict[str, Any]]
    form: str


def is_conversation(value: Any) -> bool:
    """Whether a value plainly is a list of messages, in one of the forms that `messages_of` reads."""
    value = _parsed(value)
    if isinstance(value, str):
        return len(messages(value)[1]) > 1
    if isinstance(value, dict):
        return speakers.is_tree(value) or isinstance(value.get("messages"), list) or bool(speakers.of_columns(value))
    if not isinstance(value, list) or not value:
        return False
    first = value[0]
    if not isinstance(first, dict):
        return speakers.are_texts(value) and is_conversation("\n".join(value))  # as MedDialog's
    return (role_key(first) != "" and content_of(first) is not None) or _has_calls(first) or bool(
        speakers.as_pair(first))


def is_message(value: Mapping[str, Any]) -> bool:
    """Whether an object is a message of a known speaker's, or a call."""
    return _has_calls(value) or (role_of(value.get(role_key(value))) is not None and content_of(value) is not None)


def is_asked(value: Any) -> bool:
    """Whether a prompt is a conversation: as above, or a text that ends where the answer begins."""
    return is_conversation(value) or (isinstance(value, str) and bool(messages(value)[1]))


def messages_of(value: Any, column: str, findings: Findings, unused: set[str]) -> Turns:
    """The messages in `column` with roles and keys as `Record` has them, and the tools that they bring along.

    What can't be put into that form stays as it is: `list_of_messages` says what is wrong with it.

    Args:
        unused: gets the keys of messages that nothing is made of.

    Raises:
        NotText: a message holds what isn't text.
    """
    form, value, offered = _listed(value, findings)
    if not isinstance(value, list):
        return Turns(value, offered, form)
    found: list[Any] = []
    for each in value:
        for message in _of_parts(each, column, unused):
            if isinstance(message, dict):
                offered += tools.schemas(message.get("tools"), "tools", findings)
                _add(found, _message(message, column, findings), message)
                unused.update(_left_out(message, column))
            else:
                found.append(message)
    roles = [each.get("role") if isinstance(each, dict) else None for each in found]
    if "system" in roles[1:] and "user" in roles[:roles.index("system", 1)] and (
            all(role in ("user", "system") for role in roles)):  # a dialogue system, as in MultiWOZ
        found = [each if role == "user" or not at else {**each, "role": "assistant"}
                 for at, (role, each) in enumerate(zip(roles, found, strict=True))]
    return Turns(*tools.written_out(found, offered), form)


def _listed(value: Any, findings: Findings) -> tuple[str, Any, list[dict[str, Any]]]:
    """A conversation as a list of its messages, in the keys that they have, the form that it had, and its tools; any
    other value as it is."""
    value, offered = _parsed(value), []
    if speakers.is_tree(value):
        return "tree", speakers.best_path(value), []
    if isinstance(value, Mapping):
        if isinstance(value.get("messages"), list):
            offered, value = tools.schemas(value.get("tools"), "tools", findings), value["messages"]
        else:
            value = speakers.of_columns(value) or value
    if isinstance(value, str) or speakers.are_texts(value):
        form, found = messages(value if isinstance(value, str) else "\n".join(value))
        if found:
            return form, found, offered
    for form, read in _FORMS if isinstance(value, list) else ():
        if found := read(value):
            return form, found, offered
    return "", value, offered


def _parsed(value: Any) -> Any:
    """The list that a text holds as JSON, as cells of tables do; otherwise the value itself."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        value = parsed(value)
    if isinstance(value, list) and value and isinstance(value[0], dict) and not role_key(value[0]) and (
            role_key(speakers.with_role(value[0]))):
        return [speakers.with_role(each) if isinstance(each, dict) else each for each in value]
    return value


# -- one message ---------------------------------------------------------------------------------------------------


def _message(message: Mapping[str, Any], column: str, findings: Findings) -> dict[str, Any]:
    key = role_key(message)
    said = message.get(key)
    role = role_of(said) or said
    content = text_of(content_of(message))
    calls = tools.calls_of(message, content if role == "call" else None, column, findings)
    if role == "call":
        role, content = "assistant", ""
    if calls or role == "tool":
        made = {"role": role, "content": content if content is not None else ""}
        return made | ({"tool_calls": calls} if calls else {}) | (
            {name: message[name] for name in KEYS[3:] if isinstance(message.get(name), str)} if role == "tool" else {})
    made = {"role": role, "content": content}
    if key == "" or ("content" not in message and content is None):  # it is said that it is missing, then
        made = {name: each for name, each in made.items() if each is not None}
    return made


def _add(found: list[Any], made: dict[str, Any], message: Mapping[str, Any]) -> None:
    """Put a message behind those before it; a call behind a text is a part of the same turn."""
    before = found[-1] if found else None
    if "tool_calls" in made and not made["content"] and isinstance(before, dict) and (
            before.get("role") == "assistant" and "tool_calls" not in before):
        before["tool_calls"] = made["tool_calls"]
    else:
        found.append(made)


def _left_out(message: Mapping[str, Any], column: str) -> set[str]:
    """The keys of a message that nothing is made of; a weight is the assistant's, as it is learned anyway."""
    used = {role_key(message), content_key(message), *CONTENT_KEYS[:2], "function_call", "tools", *KEYS}
    is_learned = message.get("weight") == (role_of(message.get(role_key(message))) == "assistant")
    return {f"{column}.{printable(str(name))}" for name, each in message.items()
            if name not in used and each not in (None, "", []) and not (name == "weight" and is_learned)}


def without_greeting(messages: Any) -> Any:
    """A conversation without what the assistant says before the first question; as it is where there is no question, or
    a tool was called."""
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        return messages
    at = 1 if messages and messages[0].get("role") == "system" else 0
    end = next((at for at, each in enumerate(messages) if each.get("role") == "user"), at)
    greeting = messages[at:end]
    is_greeting = all(each.get("role") == "assistant" and not each.get("tool_calls") for each in greeting)
    return messages[:at] + messages[end:] if greeting and is_greeting else messages


def _has_calls(message: Mapping[str, Any]) -> bool:
    return bool(message.get("tool_calls") or message.get("function_call"))


# -- messages in parts ---------------------------------------------------------------------------------------------


def _kind_of(part: Any) -> tuple[str, Any]:
    """The kind of a part of a message, by `_PARTS` or its own "type", and its content; "" if it isn't a part."""
    if not isinstance(part, dict):
        return "text" if isinstance(part, str) else "", part
    key = next((key for key in part if _PARTS.get(key, "text") != "text" and isinstance(part[key], dict)), "")
    if key:
        return _PARTS[key], part[key]
    kind = "thinking" if part.get("thought") is True else (
        part.get("type") or ("text" if "text" in part else next(iter(part), "")))
    kind = _PARTS.get(kind, kind) if isinstance(kind, str) else ""
    text = part.get("text")  # which is {"value": …} in the threads of OpenAI's assistants
    return kind, part if kind != "text" else text.get("value") if isinstance(text, dict) else text


def _of_parts(message: Any, column: str, unused: set[str]) -> list[Any]:
    """A message that has uses of tools or their results among its parts, as those of Anthropic's, Bedrock's and
    Gemini's interfaces, as messages that have them beside their texts."""
    parts = message.get("content", message.get("parts")) if isinstance(message, dict) else None
    by_kind = list(map(_kind_of, parts)) if isinstance(parts, list) else []
    kinds = {kind for kind, _ in by_kind} & {"thought", "call", "result"}
    if not isinstance(parts, list) or not kinds:
        return [message]
    if "thought" in kinds:
        unused.add(f"{column}.thinking")
    results = [{"role": "tool", "content": _result(part),
                "tool_call_id": part.get("tool_use_id", part.get("toolUseId"))}
               for kind, part in by_kind if kind == "result"]
    calls = [part for kind, part in by_kind if kind == "call"]
    rest = [part for part, (kind, _) in zip(parts, by_kind, strict=True) if kind not in kinds]
    if results and not calls and not rest:
        return results
    said = {name: each for name, each in message.items() if name != "parts"} | {"content": rest}
    return [*results, said | {"tool_calls": calls} if calls else said]


def _result(part: Mapping[str, Any]) -> Any:
    """What a tool has returned; objects as JSON."""
    found = part.get("content", part.get("response", ""))
    if isinstance(found, dict) and "text" not in found:
        return json.dumps(found, ensure_ascii=False)
    return [json.dumps(each["json"], ensure_ascii=False) if isinstance(each, dict) and "json" in each else each
            for each in found] if isinstance(found, list) else found


def text_of(content: Any) -> Any:
    """A content that is a text, or parts of which all are text; anything else stays as it is.

    Raises:
        NotText: one of the parts is a picture or a sound.
    """
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        return number_text(content)
    if isinstance(content, dict) and isinstance(content.get("text"), str):
        content = [content]
    if not isinstance(content, list):
        return content
    parts = list(map(_kind_of, content))
    if (other := next((kind for kind, _ in parts if kind not in ("text", "")), "")):
        raise NotText(printable(other))
    texts = [text for _, text in parts]
    return "\n".join(texts) if all(isinstance(text, str) for text in texts) else content
