"""Which column of a row holds what: every way to read the columns, by their names and by what is in them.

Each function finds ways of one kind and says how sure each is. The surest one counts, whichever function found it. A
way that explains more columns is surer than one that explains a part of them: choices beside a question, a class
beside a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from slmstudio.core.data import column_names as names
from slmstudio.core.data.candidates import SURE, Evidence
from slmstudio.core.data.mapping import choices, pairs, ratings
from slmstudio.core.data.mapping.conversation_columns import conversations, is_message_row
from slmstudio.core.data.mapping.look import ColumnMap, Look, made_of, questions_in
from slmstudio.core.data.mapping.question_columns import (
    answered,
    by_name,
    corrected,
    has_objects,
    hold_more,
    is_title,
    questions_answers,
    translated,
)
from slmstudio.core.data.mapping.speakers import are_texts

_CELLS = 20
"""Cells that tell whether a column has questions with their answers."""
_PAIRS = (("premise", "hypothesis"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("text1", "text2"),
          ("question1", "question2"), ("question_1", "question_2"), ("text_a", "text_b"), ("sentence_a", "sentence_b"))
"""Two texts that are compared, as in SNLI, MRPC and QQP: neither answers the other."""
_COUNTED = re.compile(r"(?P<base>.*[^\W_])(?:[a-h]|_?\d|_[^\W_])|[^\W_]")
"""The name of one of several columns of a kind: "engopt1", "risposta_a", "ক"."""
_LANGUAGE = re.compile("[a-z]{2}")
"""What two columns with the same in two languages may be called."""
_SHORT = 300
"""Characters of a text that is sorted, on average; an article has more."""
_ARTICLE = 1500
"""Characters of a text that is rather learned than sorted, on average."""
_MOST_OF_A_TEXT = 8
"""Classes that one text has at most."""
_FEW = 4
"""Rows that are too few to tell numbers from texts."""
_LEAST_CHOICES = 3
"""Columns with a choice each that a question hardly goes without."""
_QUESTIONS = 0.3
"""Share of texts that ask from which on they may be questions whose answers are elsewhere, or in turn."""


def guess(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], by_look: bool = True) -> ColumnMap | None:
    """The surest of `guesses`; None if there is none."""
    return next(iter(guesses(columns, rows, by_look)), None)


def guesses(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], by_look: bool = True,
            use_marks: bool = True, asks: bool = True) -> tuple[ColumnMap, ...]:
    """What the columns may hold, the surest first.

    Args:
        columns: their names, in order.
        rows: some rows with them; the more, the surer.
        by_look: whether columns without a telling name are taken for what they look like.
        use_marks: whether a column may say which answers are good.
        asks: whether a user will be asked about what is unsure; otherwise, what is only possible is left out.
    """
    look = Look(columns, rows, by_look, use_marks)
    found = [*pairs.preferences(look), *conversations(look)]
    if not is_message_row(look):
        if (pair := next((pair for pair in _PAIRS if set(pair) <= look.by_name.keys()), None)) and (
                kind := look.first(names.RELATIONS)):
            found += _compared(look, look.by_name[pair[0]], look.by_name[pair[1]], kind)
        else:
            found += [each for ways in (_with_choices, questions_answers, translated, corrected, _classes, _texts,
                                        _by_look) for each in ways(look)]
    least = 0 if asks and all(each.certainty < ratings.CLEAR for each in found) else ratings.POSSIBLE
    found = _by_coverage(look, [each for each in found if each.certainty > least])
    if asks and all(each.certainty < ratings.DROPPED for each in found):
        found += _inside_objects(look, by_look)
    best: dict[tuple[Any, ...], ColumnMap] = {}
    for each in found:
        key = (each.layout, *sorted(each.columns.items()), each.series)
        if key not in best or best[key].certainty < each.certainty:
            best[key] = each
    ranked = sorted(best.values(), key=lambda each: -each.certainty)
    if ranked and ranked[0].certainty >= SURE:
        ranked[0] = _asked_about(look, ranked[0], ranked[1:])
    return tuple(ranked)


def _asked_about(look: Look, first: ColumnMap, others: Sequence[ColumnMap]) -> ColumnMap:
    """The surest way; asked about, where its columns aren't called as questions and answers are, and other columns have
    something to learn, too."""
    is_rivalled = first.certainty <= ratings.LIKELY and any(
        each.certainty >= ratings.SORTED and not each.used & first.used for each in others)
    named = [column for target, column in first.columns.items() if target in ("instruction", "output")]
    are_clear = all(names.is_sure(each) or names.column(each) in names.SURE_KINDS for each in named)
    offered = next((each for each in choices.series_of(look.by_name) if len(each) >= _LEAST_CHOICES
                    and first.used.isdisjoint(each)), ()) if first.layout == "instruction" else ()
    dropped = list(offered) if are_clear or first.layout != "instruction" else [
        each for each in look.unused_words(first.used)
        if look.of(each).is_told and look.values(each) != look.values(first.columns["output"])]
    if not (is_rivalled or dropped):
        return first
    return replace(first, certainty=ratings.RIVALLED, evidence=(
        *(first.evidence or (Evidence("names_unclear"),)),
        *(Evidence("words_dropped", {"column": each}) for each in dropped[:3])))


def _inside_objects(look: Look, by_look: bool) -> list[ColumnMap]:
    """The ways to read what is in the objects of rows that have nothing to learn beside them."""
    columns, rows = look.inside_objects()
    found = []
    for each in guesses(columns, rows, by_look) if rows else ():
        made = {name: column for name in each.used - set(look.columns)
                if (column := made_of(name, look.columns, look.rows, "")) is not None}
        if each.layout != "text":
            found.append(replace(each, certainty=min(each.certainty, ratings.LOOK), made={**each.made, **made}))
    return found


def _by_coverage(look: Look, found: list[ColumnMap]) -> list[ColumnMap]:
    """The same ways; less sure where half of the rows have other columns, and no sure way reads those."""
    def covered(maps: Iterable[ColumnMap]) -> float:
        needed = [each.used - each.made.keys() if each.made else each.needed for each in maps]
        return sum(any(all(row.get(name) not in (None, "") for name in each) for each in needed)
                   for row in look.rows) / max(len(look.rows), 1)

    sure = [each for each in found if each.certainty > ratings.DROPPED]
    if sure and 2 * covered(sure) >= 1:
        return found
    return [replace(each, certainty=min(each.certainty, ratings.DROPPED) * (1 + 3 * covered([each])) / 4)
            for each in found]


# -- comparisons and choices ---------------------------------------------------------------------------


def _compared(look: Look, one: str, other: str, kind: str) -> Iterator[ColumnMap]:
    """Two texts and how they compare in words, which is asked for; numbers for it say nothing to a model."""
    if _is_class(look, kind) and not look.of(kind).is_number_or_date:
        yield look.map("instruction", ratings.COMPARED, [by_name(kind)], instruction=one, input=other, output=kind)


def _with_choices(look: Look) -> Iterator[ColumnMap]:
    """Questions with choices, in columns that are called so; otherwise in any that look like them."""
    right = choices.right_ones(look.columns, look.by_name)
    listed = [(look.by_name[word],) for word in (*names.LISTED, choices.ANSWERS) if word in look.by_name]
    for series in (*choices.series_of(look.by_name), *listed):
        key = choices.key_of(series, right, look.rows)
        question = look.first((*names.ASKED, "sentence", *names.BELOW), (*series, key))
        if key and question and not look.of(question).is_number:
            yield _chosen(look, series, key, question, ratings.CHOICES)
            return
    named = [each for each in look.columns if look.of(each).has_words and (
        look.of(each).words & names.QUESTIONS or names.column(each) == "q")]
    right += [each for each in look.columns if names.column(each) == "a"]
    for series in islice(_series(look), ratings.MOST_PAIRS) if right else ():
        key = choices.key_of(series, right, look.rows)
        before = look.columns[:look.columns.index(series[0])] if key else []
        asked = [each for each in before if each in named or (not named and look.of(each).has_words)] or named
        question = max(asked, key=lambda each: _shared(each, series[0]), default="")
        if key and question:
            yield _chosen(look, series, key, question, ratings.CHOICES if question in named else ratings.DROPPED)


def _chosen(look: Look, series: tuple[str, ...], key: str, question: str, certainty: float) -> ColumnMap:
    below = look.first(names.BELOW, (*series, key, question))
    found = look.map("instruction", certainty, [by_name(key)], instruction=question, input=below, output=key,
                     choices=series[0] if len(series) == 1 else "")
    return replace(found, series=series if len(series) > 1 else ())


def _shared(one: str, other: str) -> int:
    """Letters that two names begin with."""
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))


def _series(look: Look) -> Iterator[tuple[str, ...]]:
    """Columns that look as if they had the choices: one with a list of texts, or several whose names count."""
    for column in look.columns:
        found = look.values(column)
        if found and all(are_texts(each) and len(each) > 1 for each in found[:_CELLS]):
            yield (column,)
    counted: dict[str, list[str]] = {}
    for column in look.columns:
        if name := _COUNTED.fullmatch(names.column(column)):
            counted.setdefault(name["base"] or "", []).append(column)
    yield from (tuple(each) for each in counted.values() if 2 < len(each) <= 10 and _differ(look, each))


def _differ(look: Look, series: Sequence[str]) -> bool:
    """Whether the columns of a series have other values in most rows, as choices have."""
    rows = [[str(row[name]) for name in series if row.get(name) is not None] for row in look.rows[:_CELLS]]
    return 2 * sum(len(set(each)) == len(each) > 1 for each in rows) > len(rows)


# -- texts and their classes -----------------------------------------------------------------------------------------


def _classes(look: Look) -> Iterator[ColumnMap]:
    """Texts with their class, in words or numbers, which is the answer."""
    text = look.first(names.TEXT) or look.first((*names.CLAIMS, *names.REMARKS))
    if text and look.is_text(text):
        yield from _sorted(look, text, ratings.CLEAR)


def _sorted(look: Look, text: str, certainty: float) -> Iterator[ColumnMap]:
    kind, is_sure = _kind_of(look, text)
    if not kind:
        return
    most = ratings.CLEAR if is_sure else ratings.SIMILAR if names.column(text) in names.TEXT else ratings.DROPPED
    if look.of(text).is_word:  # each with its tag, for a tagger
        most = ratings.LOOK
    certainty = min(certainty, most) - 0.2 * bool(look.first(names.ANSWERED, (kind,)))
    asked = look.first(names.OF_TEXT, (text, kind))  # of the text, as in QNLI and BoolQ
    question = asked if asked and look.is_text(asked) and not look.of(asked).is_same else ""
    if names.column(text) in names.CLAIMS and not question:
        yield from answered(look, text, kind, certainty)
        return
    question = question or _title_of(look, text, kind)  # as DBpedia's
    yield look.map("instruction", certainty, [by_name(kind)], instruction=question or text,
                   input=text if question else "", output=kind)


def _sorted_by(look: Look, text: str, kinds: Iterable[str]) -> Iterator[ColumnMap]:
    """A text, and its title, with each of the classes that reports and tickets are sorted by."""
    title = _title_of(look, text)
    for at, kind in enumerate(kinds):
        yield from answered(look, title or text, kind, ratings.SORTED - at / 100, text if title else "")


def _title_of(look: Look, *without: str) -> str:
    title = look.first(names.HEADS, without)
    return title if title and look.is_text(title) and not look.of(title).may_name else ""


def _kind_of(look: Look, text: str) -> tuple[str, bool]:
    """The column with the class of a text, "" if there is none; and whether its name can mean nothing else."""
    kind = look.first(names.KINDS, (text,)) or _kind_by_last_word(look, text)
    profile = look.of(kind)
    is_sure = not names.SURE_KINDS.isdisjoint(names.column(kind).split("_")) or names.column(text) in names.REMARKS
    if _is_class(look, kind):
        is_fit = is_sure or (len(look.columns) == 2 and 1 < profile.distinct < len(profile.values)
                             and look.of(text).mean_length <= _SHORT)
    else:
        is_fit = is_sure and profile.is_class and profile.is_number
    return (kind, is_sure) if kind and is_fit else ("", False)


def _kind_by_last_word(look: Look, text: str) -> str:
    """The column of classes under a longer name, such as "airline_sentiment". Beside others than an id and how sure it
    is, it may be said about the text, as its quality is, and what to learn is the text alone."""
    for column in look.columns:
        name = names.column(column)
        words = name.removesuffix("_index").split("_")
        if column != text and words[-1] in names.SURE_KINDS - {"stars"} and not names.OF_KIND & set(words) and (
                look.of(column).is_class):
            others = {each for each in map(names.column, look.columns) if each.split("_")[-1] not in names.IDS
                      and each not in names.HEADS} | {name}
            return column if f"{name}_confidence" in others or others == {name, names.column(text)} else ""
    return ""


def _is_class(look: Look, column: str) -> bool:
    found = look.values(column)
    return bool(found) and all(
        len(value) <= 60 if isinstance(value, str) else are_texts(value) and len(value) <= _MOST_OF_A_TEXT
        for value in found)


def _texts(look: Look) -> Iterator[ColumnMap]:
    """Plain text; beside other words, it is one of several ways."""
    text = look.first(names.TEXT)
    profile = look.of(text)
    is_told = not (profile.is_number or profile.is_number_or_date or (
        profile.is_same and look.unused_words((text,)))) or (len(look.columns) == 1 and len(profile.values) <= _FEW)
    is_told = is_told and (not profile.is_word or len(look.columns) == 1)
    if text and (profile.is_text or profile.are_lines) and is_told and not look.has_tags:
        yield from (each for each in _plain(look, text, is_named=True) if profile.is_text or each.layout == "text")


def _plain(look: Look, text: str, is_named: bool, is_likely: bool = True) -> Iterator[ColumnMap]:
    """A text, learned whole, and what else it may be where other columns have words too."""
    dropped = look.unused_words((text,))
    speaker = look.first(names.SPEAKERS)
    is_sorted = any(look.of(each).words & names.CLASS_WORDS and look.is_text(each)
                    for each in look.columns if each != text)
    is_alone = not (dropped or is_sorted or _hold_most(look, text)) and is_likely and not (
        speaker and look.of(speaker).is_class) and not any(map(look.is_thread, look.columns))
    likely, other_ways = (ratings.DROPPED, ratings.LOOK) if is_named else (ratings.UNLIKELY, ratings.DROPPED)
    codes = [each for each in look.classes(text) if look.of(each).is_number and not look.of(each).ascends] if (
        is_alone and is_likely) else []
    if heads := [each for each in look.columns if each != text and is_alone and look.of(each).may_be_told_apart]:
        is_alone = False
        yield from answered(look, heads[0], text, ratings.LOOK)
    if codes and len(look.columns) == 2:  # what it is, as a number
        likely, is_alone = ratings.UNLIKELY, False
        yield from answered(look, text, codes[0], ratings.DROPPED)
    is_file = is_named and len(look.columns) == 1  # a text file is cut by what it is before
    cells = [] if is_file else [each for each in look.values(text)[:_CELLS] if isinstance(each, str)]
    if 2 * sum(any(questions_in(each, None)) for each in cells) > len(cells):
        likely, is_alone = ratings.UNLIKELY, False
        yield ColumnMap("instruction", {"cell": text}, certainty=ratings.RIVALLED if is_named else ratings.SIMILAR,
                        evidence=(Evidence("questions"),))
    is_prose = look.of(text).is_told or (is_named and not look.of(text).is_word)
    asks = look.of(text).asks > _QUESTIONS and len(look.values(text)) > _FEW
    if is_alone and is_prose and not asks:
        likely = ratings.SIMILAR - 0.05 if is_named else ratings.LIKELY
    yield ColumnMap("text", {"text": text}, certainty=likely, evidence=(
        by_name(text) if is_named else Evidence("only_words", {"column": text}),
        *(Evidence("words_dropped", {"column": each}) for each in dropped)))
    kinds = look.classes(text)
    if look.of(text).mean_length < _ARTICLE and any(look.of(each).words & names.SORTED_WORDS for each in kinds):
        yield from _sorted_by(look, text, kinds)
    for at, other in enumerate(dropped[:2]):
        is_first = is_named or names.column(other) in names.HEADS or (
            look.columns.index(other) < look.columns.index(text))
        pair = (other, text) if is_first else (text, other)
        yield from answered(look, *pair, other_ways - at / 10)
        yield ColumnMap("text", {"text": f"{other} + {text}"}, certainty=ratings.UNLIKELY - at / 10)


# -- without telling names -------------------------------------------------------------------------------------------


def _by_look(look: Look) -> Iterator[ColumnMap]:
    """The only text, with its class or alone; or pairs of texts, which are asked about."""
    every = look.texts()
    told = [each for each in every if look.of(each).is_told or look.of(each).are_lines]
    found = every if len(every) < 3 or not told else [
        each for each in every if look.of(each).is_told or look.of(each).are_lines or look.of(each).has_words]
    known = set(found)
    heads = [each for each in look.columns if each not in known and names.is_head(each) and look.of(each).has_words]
    if look.has_tags:
        return
    is_fit = not hold_more(look, found, of_register=len(every) > 2)
    differ = [each for each in found if not (look.of(each).kind == "classes" or look.of(each).is_about_row)]
    only = next((each for each in (found, told, differ) if len(each) == 1), [])
    if only and names.column(only[0]) not in names.TEXT:
        yield from (classes := list(_sorted(look, only[0], ratings.LIKELY)))
        if not classes and len(look.columns) > 1:
            kinds = [each for each in look.classes(only[0]) if is_fit or look.of(each).is_number]
            classes = [replace(each, evidence=(Evidence("by_look", {"column": only[0]}), by_name(kind)))
                       for at, kind in enumerate(kinds[:3])
                       for each in answered(look, only[0], kind, ratings.LOOK - at / 100)]
            yield from classes
        is_named = names.column(only[0]) in names.NAMED
        is_alone = len(look.columns) == 1 and names.column(only[0]) not in names.QUESTIONS  # which lack their answers
        if is_fit and not look.of(only[0]).is_word and (not is_named or is_alone):
            for each in _plain(look, only[0], is_named=False, is_likely=not classes):
                yield replace(each, certainty=min(each.certainty, ratings.LOOK if is_named else 1.0))
        elif only == told and look.is_text(only[0]) and names.column(only[0]) not in names.NAMED:
            yield look.map("text", ratings.UNLIKELY, [Evidence("only_words", {"column": only[0]})], text=only[0])
    if len(told) > 1 and not only:  # what it is called by says more than that there are two texts
        text = max(told, key=lambda each: look.of(each).mean_length)
        kinds = [each for each in look.classes(text) if names.column(each) in names.SURE_KINDS]
        yield from _sorted_by(look, text, kinds)
    if is_fit or not any(look.of(each).words & names.QUESTIONS for each in found):  # else those hold the answer
        for each in _pairs(look, [*heads, *found], len(every), told):
            yield each if is_fit else replace(each, certainty=min(each.certainty, ratings.POSSIBLE))


def _pairs(look: Look, found: list[str], texts: int, told: list[str]) -> Iterator[ColumnMap]:
    """Texts in pairs, by the points that speak for a question and its answer.

    Args:
        texts: how many there are, with those that have no sentences.
        told: those that have.
    """
    known = set(found)
    found = [each for each in look.columns if each in known and not (
        look.of(each).is_address or look.of(each).is_same)]
    is_form = all(text.rstrip().endswith(("?", "？", "؟")) for text in found)  # below what it asks are answers
    if is_form or len(found) < 2:
        return
    least = ratings.LEAST_OF_TWO if texts == 2 else ratings.LEAST
    ranked = [each for each in ratings.pairs(map(look.of, found)) if each.points >= least][:ratings.MOST_PAIRS]
    for at, (question, answer, _) in enumerate(ranked):
        is_swapped = any({question, answer} == {each.question, each.answer} for each in ranked[:at])
        are_two = len(found) == 2 or (at == 0 and len(told) == 2)
        is_named = texts == len(found) == 2 and _are_named(question, answer)
        code = "by_name" if is_named else "by_look" if texts == 2 else "by_sentences"
        evidence = tuple(Evidence(code, {"column": column}) for column in (question, answer)) if are_two else (
            Evidence("names_unclear"),)
        certainty = ratings.LIKELY if is_named else ratings.LOOK if are_two and not (
            len(found) == 2 and is_title(look, *found)) else ratings.POSSIBLE
        if is_swapped and any(map(names.is_known, (question, answer))):
            continue
        for each in answered(look, question, answer, ratings.SWAPPED if is_swapped else certainty - at / 100):
            yield replace(each, evidence=evidence)


def _are_named(question: str, answer: str) -> bool:
    """Whether the name of one of two texts tells what both are: a question, a meaning, a class, or two languages."""
    return names.column(question) in names.ASKED or names.column(answer) in names.MEANINGS or (
        names.column(answer) in names.SURE_KINDS) or all(map(_LANGUAGE.fullmatch, (question, answer)))


def _hold_most(look: Look, text: str) -> bool:
    """Whether objects beside a text have more in them."""
    beside = sum(len(str(value)) for column in look.columns if has_objects(look.of(column), anything=True)
                 and look.of(column).known not in names.OF_FILE for value in look.values(column))
    return beside > sum(len(str(value)) for value in look.values(text))
