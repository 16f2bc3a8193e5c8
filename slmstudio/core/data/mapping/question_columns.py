"""Which column holds a question and which its answer, by their names and by what is beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, islice, permutations

from slmstudio.core.data import column_names as names
from slmstudio.core.data.candidates import SURE, Evidence
from slmstudio.core.data.mapping import choices, ratings, values
from slmstudio.core.data.mapping.look import ColumnMap, Look, made_of
from slmstudio.core.data.mapping.profile import ColumnProfile
from slmstudio.core.data.mapping.speakers import are_texts, content_key, content_of
from slmstudio.core.data.mapping.values import written

_FEW_COLUMNS = 4
"""In a table of more, the only other text hardly is the answer because it is the only one."""


def questions_answers(look: Look) -> Iterator[ColumnMap]:
    if look.of(look.by_name.get("resolution", "")).is_state:  # what became of a ticket, as Jira's "Fixed"
        return
    answer = look.first(names.ANSWERED, look.people) or look.first(names.ANSWERED)
    if not answer:
        yield from _answers_unnamed(look)
        return
    worked = look.first(names.WORKED, (answer,))  # the way to a result, as in LIMO and OpenMathInstruct
    if worked and names.column(answer) not in names.WORKED and look.is_text(worked) and (
            look.of(worked).mean_length > 2 * look.of(answer).mean_length):
        answer = worked
    for question, below, certainty in _asked(look, answer):
        yield from answered(look, question, answer, min(certainty, _clarity(answer)), below)


def _clarity(column: str) -> float:
    """How clearly a name says that its column holds a question or an answer."""
    known = names.column(column)
    is_clear = known in (*names.ASKED, *names.ANSWERED) and known not in names.WEAK_ANSWERS
    return ratings.CLEAR if is_clear else ratings.SIMILAR


def _asked(look: Look, answer: str) -> Iterator[tuple[str, str, float]]:
    """The columns that may hold the question of an answer, with what is below it and how sure that is."""
    # Beside another answer than its translation, a source is where the row is from.
    sources = () if names.column(answer).startswith(("target", "tgt", "translation")) else names.SOURCES
    words = [word for word in names.ASKED if word not in sources]
    lists = [each for each in look.columns if any(  # of objects, which aren't messages
        isinstance(value, list) and value and isinstance(value[0], dict) and not content_key(value[0])
        for value in look.values(each))]
    if question := look.first(words, (answer, *lists, *look.names)):
        yield question, "", _clarity(question)
        return
    may_name = look.first(words, (answer, *lists))
    if may_name:
        yield may_name, "", ratings.SIMILAR - 0.05
    profile = look.of(may_name)
    if not may_name or (profile.is_word and (profile.is_class or profile.known not in names.SOURCES)):
        yield from _asked_otherwise(look, answer, may_name)  # else words are translated


def _asked_otherwise(look: Look, answer: str, may_name: str) -> Iterator[tuple[str, str, float]]:
    """The same where no column is called as questions are, or only one that names a task, or who asked."""
    is_reply = not names.REPLIES.isdisjoint({names.column(answer)} | names.words_in(answer))
    is_sure = names.column(answer) not in names.WEAK_ANSWERS and all(
        isinstance(values.as_text(value), str) for value in look.values(answer))
    without = (answer, may_name)
    head, title = look.first(names.HEADS, (*without, *look.names)), look.of(look.first(names.HEADS, without))
    below = [word for word in names.DETAILS if not may_name or word not in names.BELOW]  # doesn't replace a question
    before = look.first(names.HISTORY, (answer,))  # what was said before it
    remarks = [before] if before and look.is_list(before) else [
        each for each in look.unused_words((answer,)) if look.values(each) != look.values(answer)]
    only = _only_text(look, answer)
    for is_fit, question, certainty in (
            (is_reply, head, ratings.SIMILAR),
            (is_sure or names.column(answer) == "code", look.first(below, without), ratings.SIMILAR - 0.01),
            (is_sure and not may_name, only or next(iter(remarks), ""),
             ratings.DROPPED if not only and len(remarks) != 1 else ratings.LIKELY if names.is_known(answer) else
             ratings.RIVALLED),
            (is_reply and title.is_word and not title.is_class, title.name, ratings.LIKELY - 0.01)):
        if is_fit and question:
            yield question, look.first(names.DETAILS, (head, answer)) if question == head else "", certainty


def _only_text(look: Look, beside: str) -> str:
    """The only other text of a table, or the only one with sentences; "" if there are more."""
    texts = look.texts((beside,))
    found = texts if len(texts) == 1 else [each for each in texts if look.of(each).is_told]
    return found[0] if len(found) == 1 else ""


def _answers_unnamed(look: Look) -> Iterator[ColumnMap]:
    """A question beside the only other text of the table, which then is its answer."""
    words = [word for word in names.ASKED if word not in names.SOURCES]
    may_name = look.first(words)
    question = look.first(words, look.names) or ("" if look.of(may_name).is_word else may_name)
    answer = _only_text(look, question) if question else ""
    head = look.first(names.HEADS)
    wanted = list(_wanted(look, question or look.first(("input",)) or head,
                          "" if question else look.first(names.DETAILS, (head,))))
    yield from wanted
    if answer and answer not in look.names and names.column(answer) not in (*names.BELOW, *names.TEXT, "source") and (
            not hold_more(look, [answer]) and not is_title(look, answer, question)):
        is_sure = len(look.columns) <= _FEW_COLUMNS and names.column(question) not in names.NAMES and not (
            look.of(answer).is_class or any(each.is_class and each.words & names.CLASS_WORDS
                                            for each in map(look.of, look.columns))) and all(
            each.columns["output"] == answer for each in wanted)
        yield from answered(look, question, answer, ratings.LIKELY if is_sure else ratings.LOOK)


def _wanted(look: Look, question: str, below: str) -> Iterator[ColumnMap]:
    """A question, or a title and what is below it, beside columns that say what is expected, or which function is to be
    called: as text, in JSON; a function and its arguments together."""
    found = sorted((each for each in look.columns if each != question and look.of(each).words & names.WANTED_WORDS),
                   key=lambda each: look.is_text(each))
    if not question or not look.is_text(question):
        return
    if len(found) > 1 and any(look.of(each).kind == "objects" for each in found):
        parts = [written(each) for each in sorted(found, key=look.columns.index)]
        whole = f"{{{', '.join(f'{each}: {each}' for each in parts)}}}"
        if (made := made_of(whole, look.columns, look.rows, "")) is not None:
            yield replace(look.map("instruction", ratings.DROPPED + 0.01, map(by_name, found), instruction=question,
                                   output=whole), made={whole: made})
    for at, each in enumerate(found[:ratings.MOST_PAIRS]):
        yield from answered(look, question, each, ratings.DROPPED - at / 100)


def translated(look: Look) -> Iterator[ColumnMap]:
    """Columns that are called by languages: the same in each of them; or a word in one, and its meaning."""
    found = [each for each in look.columns if look.of(each).has_words and names.is_language(each)]
    found += [each for each in look.columns if len(found) == 1 and look.of(each).known in names.MEANINGS]
    for at, (one, other) in enumerate(islice(combinations(found, 2), ratings.MOST_PAIRS)):
        for each in answered(look, one, other, ratings.SORTED - at / 100):
            yield replace(each, evidence=(by_name(one), by_name(other)))


def corrected(look: Look) -> Iterator[ColumnMap]:
    """A text with mistakes, or a draft, and what it should be; with a question, these are two answers to it."""
    texts = [each for each in map(look.of, look.columns) if each.has_words]
    for one, other in permutations(texts, 2):
        if not one.words & names.FAULTY or not other.words & names.MENDED or other.words & names.FAULTY or (
                (one.words ^ other.words) & (names.QUESTIONS | names.REPLIES_TO)):
            continue
        pair = one.name, other.name
        evidence = tuple(map(by_name, pair))
        if (question := look.first(names.ASKED, (*pair, *look.names))) and look.of(question).has_words:
            yield look.map("preference", ratings.SORTED, evidence, prompt=question, chosen=other.name,
                           rejected=one.name)
            yield from answered(look, question, other.name, ratings.DROPPED)
        for each in answered(look, *pair, ratings.DROPPED - 0.01 if question else ratings.SORTED):
            yield replace(each, evidence=evidence)


def answered(look: Look, question: str, answer: str, certainty: float, below: str = "") -> Iterator[ColumnMap]:
    evidence = [by_name(each) for each in (question, answer) if names.is_known(each)]
    label = "" if names.column(answer) in names.KINDS else look.label((question, answer))  # the number of a class, then
    below = below or _same_form(look, question) or look.first(names.BELOW, (question, answer))
    if below and not all(isinstance(values.passage(value), str) for value in look.values(below)):
        below = ""
    if parts := _parts(look, answer):  # whether these are several answers or one, no one knows
        made = made_of(parts, look.columns, look.rows, "")
        if made is not None:
            found = look.map("instruction", ratings.DROPPED, evidence, instruction=question, input=below, output=parts)
            yield replace(found, made={parts: made})
            certainty = min(certainty, ratings.LOOK)
    frame = look.first(names.FRAMES, (question, answer))
    if frame and not below and names.column(question) in names.BELOW:
        question, below = frame, question
    history = look.first(names.HISTORY, (question, answer))
    if any(answer in pair and set(base.split("_")) & names.ANSWER_WORDS for base, pair in look.twos().items()):
        certainty = min(certainty, ratings.DROPPED)  # of two answers, no one knows the better one
    certainty = min(certainty, _most(look, question, answer, below))
    evidence = evidence or [Evidence("names_unclear")] * (certainty < SURE)
    found = look.map("instruction", certainty, evidence, instruction=question, input=below, output=answer,
                     history=history if history and look.is_list(history) else "")
    yield from marked(look, found, label, {"prompt": question, "completion": answer, "input": below})


def _most(look: Look, question: str, answer: str, below: str) -> float:
    """The highest certainty that the contents of two columns allow: numbers aren't questions, nor is what all have, a
    text that repeats the question isn't an answer, and a letter or digit needs the choices that it names."""
    asked, said = look.of(question), look.of(answer)
    both = [(row[question], row[answer]) for row in look.rows if row.get(question) and row.get(answer)]
    is_repeated = asked.is_same and not below and (asked.known in names.SOURCES or asked.known not in names.ASKED)
    if asked.is_number or is_repeated or 2 * sum(one == other for one, other in both) > len(both):
        return ratings.UNLIKELY
    said_in = [one for each in said.values for one in (each.values() if isinstance(each, dict) else (each,))]
    if asked.is_class and said.is_class and not (names.is_sure(question) and names.is_sure(answer)):
        # what a row is of, twice; where the names say otherwise, the same rows come again and again
        return ratings.LOOK
    is_mark = said.is_class and choices.are_marks(said_in)
    return ratings.LOOK if is_mark and not any(
        map(choices.offers, (*asked.values, *(look.values(below) if below else ())))) else ratings.CLEAR


def _parts(look: Look, answer: str) -> str:
    """The expression that joins the texts of an answer's lists; "" where these hold the same in other words, or one
    each."""
    lists = [each for each in look.values(answer) if are_texts(each)]
    several = [each for each in lists if len(each) > 1]
    if 4 * len(several) < max(len(look.values(answer)), 4) or look.of(answer).are_lines:
        return ""
    words = [[set(text.casefold().split()) for text in each] for each in several]
    apart = sum(not set.intersection(*each) and each[0].isdisjoint(each[1]) for each in words)
    return f"{written(answer)} | join(', ', to_array(@))" if 2 * apart > len(several) else ""


def marked(look: Look, found: ColumnMap, label: str, columns: Mapping[str, str]) -> Iterator[ColumnMap]:
    """A way to read the rows, or, where a column says which answers are good, that one and the same without it."""
    if not label:
        yield found
        return
    is_published = names.column(columns["completion"]) in ("completion", *names.CONVERSATION)
    may_be_class = names.column(label) in ("label", "labels") and look.of(label).is_number and not is_published and (
        not all(isinstance(value, bool) for value in look.values(label)))
    marks, plain = (ratings.SORTED, ratings.DROPPED) if may_be_class else (found.certainty, ratings.UNLIKELY)
    yield look.map("labelled", min(found.certainty, marks),
                   [*found.evidence, Evidence("mark_decides", {"column": label})], label=label, **columns)
    yield replace(found, certainty=plain)


def _same_form(look: Look, question: str) -> str:
    """The column with what a question is about that is called as the question's is but for one word, such as
    "hindi_input" beside "hindi_instruction"; "" if there is none."""
    name = names.column(question)
    words = [word for word in names.words_in(question) if word != name and word in name]
    return look.first(name.replace(word, below) for word in words for below in ("input", "context", "passage"))


def is_title(look: Look, text: str, question: str) -> bool:
    """Whether a text in front of a question is its title, much shorter and never the same, as the roles of a collection
    of prompts are."""
    title, below = look.of(text), look.of(question)
    return below.known in names.ASKED and look.columns.index(text) < look.columns.index(question) and (
        title.distinct == len(title.values)
        and 3 * len("".join(map(str, title.values))) < len("".join(map(str, below.values))))


def hold_more(look: Look, texts: Sequence[str], *, of_register: bool = False) -> bool:
    """Whether a column beside some texts of unknown names holds objects, or numbers of classes: it may be what is to be
    learned.

    Args:
        of_register: whether there are names, states and the like too: then most numbers are of wards or counters.
    """
    others = [each for each in map(look.of, look.columns)
              if each.values and each.name not in texts and each.known not in names.OF_FILE]
    return any(has_objects(each) if each.known in names.BESIDE else has_objects(each, anything=True) or (
        each.is_number and each.is_class and (
            (len(texts) > 1 and not of_register and each.words & (names.CLASS_WORDS | names.SORTED_WORDS))
            or set(map(str, each.values)) == {"0", "1"})) for each in others)


def has_objects(profile: ColumnProfile, anything: bool = False) -> bool:
    """Whether there are lists of objects with texts, as comments on a ticket that may answer it; or any objects."""
    return any(isinstance(part, dict) and (anything or (isinstance(value, list) and bool(content_of(part))))
               for value in profile.values for part in (value if isinstance(value, list) else [value]))


def by_name(column: str) -> Evidence:
    return Evidence("by_name" if names.is_known(column) else "similar_name", {"column": column})
