"""Which column of a row holds a conversation, and whether each row is one message of a longer one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from slmstudio.core.data import column_names as names
from slmstudio.core.data.candidates import Evidence
from slmstudio.core.data.mapping import ratings
from slmstudio.core.data.mapping.look import ColumnMap, Look, made_of
from slmstudio.core.data.mapping.question_columns import answered, by_name, marked
from slmstudio.core.data.mapping.speakers import are_pairs, by_turns, content_key, people_in, role_key, role_of
from slmstudio.core.data.mapping.turns import is_conversation
from slmstudio.core.data.mapping.values import written


def is_message_row(look: Look) -> bool:
    """Whether each row is one message of a conversation that goes over several rows, as in OASST1."""
    column = look.first(names.SPEAKERS)
    found = look.values(column) if column else []
    return bool(found) and any(word in look.by_name for word in names.MESSAGE) and all(map(role_of, found))


def conversations(look: Look) -> Iterator[ColumnMap]:
    named = [look.by_name[word] for word in names.CONVERSATION if word in look.by_name]
    but = set().union(*look.twos().values(), (look.by_name.get(word, "") for word in names.EXAMPLES))
    found = next((column for column in (*named, *look.columns)
                  if column not in but and _is_conversation(look, column, column in named)), "")
    paired = [column for column in look.columns if look.values(column) and all(map(are_pairs, look.values(column)))]
    if not found and len(paired) == 1:  # as IndicAlign's; several are the same in several languages
        found = paired[0]
    if not found:
        if "messages" in look.columns:  # which can mean nothing else: then what is wrong there can be said
            yield look.map("messages", ratings.LIKELY, messages="messages")
        yield from _turns_in_words(look)
        return
    answer = look.first((word for word in names.ANSWERED if word != "chosen"), (found,))
    if answer and look.is_prompt(found) and all(isinstance(each, (str, dict, list)) for each in look.values(answer)):
        yield from answered(look, found, answer, ratings.TURNS)
    elif found in named or not answer:  # else a "prompt" of messages beside its completion
        who = people_in(look.values(found))  # nobody knows which of two people answers
        yield from marked(look, look.map("messages", ratings.LOOK if who else ratings.TURNS, [
            Evidence("speakers", dict(zip(("user", "assistant"), who, strict=True))) if who else by_name(found)],
            messages=found), look.label((found,)), {"completion": found})


def _turns_in_words(look: Look) -> Iterator[ColumnMap]:
    """Turns of which no key is called as what is said is, only who says it: each of their texts, as that of a language,
    may be it."""
    for column in look.columns:
        turns = [turn for value in look.values(column) if isinstance(value, list) for turn in value]
        role = role_key(turns[0]) if turns and all(isinstance(turn, dict) for turn in turns) else ""
        if not role or any(role_of(turn.get(role)) is None or content_key(turn) for turn in turns):
            continue
        texts = [key for key in turns[0] if key != role and all(isinstance(turn.get(key), str) for turn in turns)]
        for at, key in enumerate(texts[:ratings.MOST_PAIRS]):
            turn = f"{written(column)}[].{{role: {written(role)}, content: {written(key)}}}"
            if (made := made_of(turn, look.columns, look.rows, "")) is not None:
                yield replace(look.map("messages", ratings.LOOK - at / 100, [by_name(column)], messages=turn),
                              made={turn: made})


def _is_conversation(look: Look, column: str, is_named: bool) -> bool:
    found, known = look.values(column), names.column(column)
    if not found or (known == "turns" and "question_id" in look.by_name):  # as MT-Bench's, which are all questions
        return False
    if known in names.ANSWERED and look.first(names.ASKED, (column,)) and all(
            isinstance(value, str) and value[:1] not in ("[", "{", "\n") for value in found):
        return False  # a play, or how people talk
    if is_named and all(isinstance(value, list) and value and all(isinstance(each, str) or (
            isinstance(each, list) and len(each) == 2) for each in value) for value in found):
        return True
    if known in names.DIALOGUE and all(by_turns(value) and isinstance(value[0], dict) for value in found):
        return True
    return sum(map(is_conversation, found)) * 2 > len(found)
