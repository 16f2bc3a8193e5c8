"""Columns with a better and a worse answer, or with answers that are scored or ranked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.candidates import Evidence
from slmstudio.core.data.mapping import ratings
from slmstudio.core.data.mapping.look import ColumnMap, Look
from slmstudio.core.data.mapping.speakers import role_of
from slmstudio.core.data.mapping.turns import is_conversation

NAMED, TOLD_APART, RANKED = 0.98, 0.97, 0.96
"""How sure pairs are whose columns are called so; answers with a winner, or a score each; a list with ranks."""
_ASKED = ("prompt", *names.ASKED, "input")
_ORDERS = (("a", "b"), ("0", "1"), ("1", "2"))


def preferences(look: Look) -> Iterator[ColumnMap]:
    """The ways in which the columns hold pairs of answers."""
    for found, certainty in ((_named(look), NAMED), (_told_apart(look), TOLD_APART), (_ranked(look), RANKED)):
        if found is not None:
            marks = [column for target, column in found.columns.items() if target in ("winner", "score_chosen")]
            yield replace(found, certainty=certainty, evidence=(
                *(Evidence("by_name", {"column": column}) for column in found.needed),
                *(Evidence("mark_decides", {"column": column}) for column in marks)))


def _named(look: Look) -> ColumnMap | None:
    rejected = look.first(names.REJECTED)
    chosen = look.first(names.CHOSEN, (rejected,))
    if rejected and not chosen:
        whole = look.first(names.CONVERSATION, (rejected,))
        chosen = whole if whole and _are_whole(look, whole) and not look.is_prompt(whole) else ""
    if not chosen or not rejected or not all(_is_answer(look, column) for column in (chosen, rejected)):
        return None
    return _compared(look, chosen, rejected)


def _is_answer(look: Look, column: str) -> bool:
    return all(isinstance(value, (str, list, dict)) for value in look.values(column))


def _compared(look: Look, chosen: str, rejected: str, **more: str) -> ColumnMap:
    taken = (chosen, rejected, *more.values())
    if _are_whole(look, chosen):
        return look.map("preference", 1.0, (), prompt=_beginning(look, chosen, taken), chosen=chosen,
                        rejected=rejected, **more)
    prompt = look.first((*names.CONVERSATION, *_ASKED, *names.BELOW), taken)
    if prompt and prompt == look.first(names.CONVERSATION) and not look.is_prompt(prompt):
        prompt = look.first(_ASKED, (*taken, prompt))
    if not prompt and (post := look.first(names.HISTORY, taken)) and look.is_text(post):
        prompt = post  # what the set SHP calls a post
    below = look.first(names.BELOW, (*taken, prompt)) if prompt else ""
    return look.map("preference", 1.0, (), prompt=prompt, chosen=chosen, rejected=rejected, input=below, **more)


def _are_whole(look: Look, chosen: str) -> bool:
    """Whether the answers are conversations that hold what was asked."""
    values = look.values(chosen)
    return bool(values) and all(isinstance(each, list) and len(each) > 1 and isinstance(each[0], dict) and role_of(
        each[0].get("role", each[0].get("from"))) in ("user", "system") for each in values)


def _beginning(look: Look, chosen: str, taken: tuple[str, ...]) -> str:
    """The column that holds the beginning of the conversations; "" when there is none, as when "source" names their
    origin."""
    def begins(row: Mapping[str, Any], column: str) -> bool:
        said, asked = row.get(chosen), row.get(column)
        if not isinstance(said, list) or asked is None:
            return True
        if isinstance(asked, str):
            return any(isinstance(each, dict) and each.get("content", each.get("value")) == asked for each in said)
        return is_conversation(asked)

    wanted = dict.fromkeys(look.by_name[word] for word in (*names.CONVERSATION, *_ASKED) if word in look.by_name)
    return next((column for column in wanted if column not in taken
                 and (column not in map(look.by_name.get, names.CONVERSATION) or look.is_prompt(column))
                 and all(begins(row, column) for row in look.rows)), "")


def _told_apart(look: Look) -> ColumnMap | None:
    """Two answers, and a column that says which is better, as in the files of Chatbot Arena; or one with the score of
    each, as in those of WebGPT and SHP."""
    series = look.marked()
    for base, marks in series.items():
        one, other = next((order for order in _ORDERS if set(order) <= set(marks)), ("", ""))
        if not one or base in names.NO_ANSWERS or not all(
                _is_answer(look, marks[mark]) for mark in (one, other)):
            continue
        pair = marks[one], marks[other]
        scores = next((each for word in names.SCORES if set(each := series.get(word, {})) >= {one, other}), None)
        strength = look.first(names.STRENGTHS, pair)
        if strength and _are_scores(look, strength):
            return _compared(look, *pair, winner=strength)
        winner = look.first(names.WINNER, pair)
        if scores and not set(base.split("_")).isdisjoint(names.ANSWER_WORDS) and _are_scores(
                look, scores[one], scores[other]):
            return _compared(look, *pair, score_chosen=scores[one], score_rejected=scores[other])
        is_list = pair[0].endswith("]")  # places in it may count from 1
        said = look.values(winner) if winner else []
        if said and any(all(ratings.winner_of(value, each) is not None for value in said)
                        for each in ((one, other), *((("1", "2"),) if is_list else ()))):
            return _compared(look, *pair, winner=winner)
    return None


def _are_scores(look: Look, *columns: str) -> bool:
    return all(ratings.number(value) is not None for column in columns for value in look.values(column))


def _ranked(look: Look) -> ColumnMap | None:
    """One column with several answers and the rank of each, as Nectar's, or the score, as UltraFeedback's."""
    for column in look.columns:
        values = look.values(column)
        if 2 * sum(map(ratings.are_ranked, values)) > len(values) and (
                prompt := look.first((*_ASKED, *names.HEADS), (column,)) or look.first(names.CONVERSATION, (column,))):
            return look.map("preference", 1.0, (), prompt=prompt, ranked=column,
                            input=look.first(names.DETAILS if names.column(prompt) in names.HEADS else names.BELOW,
                                             (column, prompt)))
    return None
