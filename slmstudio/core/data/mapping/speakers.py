"""Who speaks in a conversation and what is said, as files call it; and the lists of turns that a value holds in other
forms: trees, columns, texts in turn, pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from slmstudio.core.paths import resources

WORDS: dict[str, Any] = json.loads((resources() / "importing" / "speakers.json").read_text("utf-8"))
"""What speakers are called, by the role they have, and the keys and columns of messages."""
ROLE_KEYS, CONTENT_KEYS = tuple(WORDS["role_keys"]), tuple(WORDS["content_keys"])
_ROLES = {word: role for role, words in WORDS["roles"].items() for word in words}
_PAIR = ("user", "assistant")


def role_of(speaker: Any) -> str | None:
    """The role of a speaker as files call them: "user", "assistant", "system", "tool" or "call"; None of any other."""
    return _ROLES.get(speaker.strip().casefold()) if isinstance(speaker, str) else None


def role_key(message: Mapping[str, Any]) -> str:
    return next((key for key in ROLE_KEYS if key in message), "")


def with_role(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message in which no lower-case key names who speaks, with such keys, and with a role if it says whether a
    person speaks, as PIPPA's do."""
    found = {key.casefold(): value for key, value in message.items()}
    mark = next((key for key in WORDS["is_user_keys"] if isinstance(found.get(key), bool)), "")
    if mark and not role_key(found):
        found["role"] = "user" if found.pop(mark) else "assistant"
    return found


def content_key(message: Mapping[str, Any]) -> str:
    return next((key for key in CONTENT_KEYS if message.get(key) is not None), "")


def content_of(message: Mapping[str, Any]) -> Any:
    return message.get(content_key(message))


def in_turn(texts: Iterable[Any], first: int = 0) -> list[dict[str, Any]]:
    """The messages of texts, or of objects that hold them, of user and assistant in turn.

    Args:
        first: 1 where the assistant begins.
    """
    return [{"role": _PAIR[at % 2], **(each if isinstance(each, dict) else {"content": each})}
            for at, each in enumerate(texts, first)]


def merged(messages: Iterable[dict[str, Any]], between: str = "\n") -> list[dict[str, Any]]:
    """Messages, of which the texts of one role in a row are one, with `between` them."""
    found: list[dict[str, Any]] = []
    for each in messages:
        key, last = content_key(each), found[-1] if found else {}
        if last.get("role") == each["role"] and isinstance(each.get(key), str) and isinstance(last.get(key), str):
            last[key] = between.join(filter(None, (last[key], each[key])))
        else:
            found.append(dict(each))
    return found


def are_texts(value: Any) -> bool:
    """Whether a value is a list of texts, of one or more."""
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def are_pairs(value: Any) -> bool:
    """Whether a value is a list of questions with their answers, each [question, answer]."""
    return isinstance(value, list) and bool(value) and all(are_texts(each) and len(each) == 2 for each in value)


def is_tree(value: Any) -> bool:
    """Whether a value is a message with the replies to it, and those to these, as in the trees of OASST."""
    return isinstance(value, dict) and isinstance(value.get("replies"), list) and role_key(value) != "" and (
        content_of(value) is not None)


def best_path(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The message, the best-ranked reply to it, the best-ranked to that and so on, until the last answer. Replies
    without a rank come last, the first of them first."""
    path: list[dict[str, Any]] = []
    here: Mapping[str, Any] | None = tree
    while here is not None:
        key = role_key(here)
        path.append({key: here.get(key), "content": content_of(here)})
        replies = [each for each in here.get("replies") or () if isinstance(each, dict) and not each.get("deleted")]
        here = min(replies, default=None, key=lambda each: (
            rank if isinstance(rank := each.get("rank"), (int, float)) else float("inf")))
    answers = [at for at, each in enumerate(path) if role_of(next(iter(each.values()))) == "assistant"]
    return path[:answers[-1] + 1] if answers else path[:1]


def of_columns(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Messages that a table keeps as columns: {"role": [...], "content": [...]}; otherwise none."""
    lists = {name: each for name, each in value.items() if isinstance(each, list)}
    if len(lists) < 2 or len({len(each) for each in lists.values()}) != 1 or not role_key(lists):
        return []
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def by_turns(value: Any) -> list[dict[str, Any]]:
    """The messages of a list of texts, or of objects with a text where nobody speaks, as MultiWOZ's "log": user and
    assistant take turns. Otherwise, none."""
    fits = isinstance(value, list) and all(isinstance(each, str) or (
        isinstance(each, dict) and not role_key(each) and isinstance(each.get("text", each.get("utterance")), str))
        for each in value)
    return in_turn(value) if fits else []


def by_people(value: Any) -> list[dict[str, Any]]:
    """The messages of two people with names of their own, of whom the first one asks and the other one answers, up to
    the last answer; otherwise none. Under "role", another name is a mistake."""
    first: Any = value[0] if isinstance(value, list) and len(value) > 1 else None
    key = role_key(first) if isinstance(first, dict) else ""
    if key in ("", "role") or (role_of(first[key]) is not None and first[key] not in ("A", "a")):
        return []
    who: list[Any] = [each.get(key) if isinstance(each, dict) else None for each in value]
    people = list(dict.fromkeys(who)) if are_texts(who) else []
    if len(people) != 2 or (any(map(role_of, people)) and {*map(str.casefold, people)} != {"a", "b"}):
        return []
    found = merged({**{name: said for name, said in each.items() if name != key},
                    "role": _PAIR[people.index(each[key])]} for each in value)
    return found[:-1] if found[-1]["role"] == "user" else found


def people_in(values: Iterable[Any]) -> tuple[str, ...]:
    """The two people of the first conversation whose speakers have names of their own, and not only "A" and "B"; in
    the order in which `by_people` takes them. None where speakers are called by their roles."""
    for value in values:
        if found := by_people(value):
            key = role_key(value[0])
            names = tuple(dict.fromkeys(str(each[key]) for each in value[:len(found) + 1]))
            return names if len(names) == 2 and {*map(str.casefold, names)} != {"a", "b"} else ()
    return ()


def by_pairs(value: Any) -> list[Any]:
    """The messages of a list of questions with their answers, [question, answer] or {"user": …, "assistant": …}, among
    which there may be messages; otherwise none."""
    if are_pairs(value):
        return in_turn([text for pair in value for text in pair])
    if not value or not isinstance(value[0], dict) or role_key(value[0]) or not as_pair(value[0]):
        return []
    return [message for each in value for message in (as_pair(each) or [each])]


def as_pair(message: Any) -> list[dict[str, Any]]:
    """A turn that is written as {"user": …, "assistant": …}, in that order; none of any other."""
    if not isinstance(message, dict) or not 1 <= len(message) <= 3 or not are_texts(list(message.values())):
        return []
    roles = [role_of(key) for key in message]
    if None in roles or "call" in roles:
        return []
    return [{"role": role, "content": each} for role, each in zip(roles, message.values(), strict=True)]
