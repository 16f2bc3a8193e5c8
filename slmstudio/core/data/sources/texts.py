"""Texts as rows: conversations, questions with answers, or plain text by paragraph, by line, by length, or whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, dropwhile, groupby, islice
from statistics import median
from typing import Any, NamedTuple

from slmstudio.core.data.candidates import Candidate, Evidence, Part, ranked
from slmstudio.core.data.column_names import ask_and_answer
from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.row_texts import lines_of, stretches
from slmstudio.core.data.sources import labels, questions
from slmstudio.core.data.sources.labels import END, OUT, Labels, Line, blocks, role
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.strict_json import NotJson, decode
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import ntr, tr

# -- texts whose lines begin with who speaks, as conversations; and with the fields of a record, as rows -----------

LEAST_TURNS, LEAST_SHARE = 4, 0.2
"""A conversation has at least this many turns, and at least this share of its lines begins with who speaks: fewer may
where both are known as speakers, which is less sure."""
FEW, LEAST_OF_PAIR = 0.05, 0.4
"""Share of turns up to which other labels don't make a conversation one of more than two people, and the share that the
two have at least."""
MOST_NAMED = 8
"""People that are proposed as one side of a conversation."""
KNOWN, ONE_KNOWN, UNKNOWN, GROUP = 0.9, 0.7, 0.6, 0.5
"""How sure a conversation is whose speakers are called by two known roles (or that a messenger wrote), by one, by none,
and one of more than two """
AND = " + "
"""Between several names, as `ReadOptions.user` has them."""
_NO_TEXT = re.compile(
    r"[\u200e\u200f]*(?:<.*(?:omitted|attached).*>|.*\bomitted|.*\(file attached\)|this message was deleted\.?|"
    r"you deleted this message\.?|missed (?:voice|video) call.*|null)", re.IGNORECASE)
"""What WhatsApp writes for a picture, a deleted message or a call."""


def conversation_candidates(labels: Labels) -> list[Candidate]:
    """The conversations that the labels may be; none if they hardly are speakers."""
    turns = [key for unit in labels.units for at, key in enumerate(unit) if not at or unit[at - 1] != key]
    counts = Counter(turns)
    ranked = sorted(counts, key=lambda key: (-counts[key], turns.index(key)))
    known = [next((key for key in ranked if role(key) == wanted), "") for wanted in ("user", "assistant")]
    is_said = all(known) or labels.share >= LEAST_SHARE
    if len(counts) < 2 or len(turns) < LEAST_TURNS or labels.are_fields or not is_said:
        return []
    pair = known if all(known) else ranked[:2]
    if not all(known) and role(pair[0]) != "user" and role(pair[1]) != "assistant":
        begins = Counter(next(key for key in unit if key in pair) for unit in labels.units
                         if not set(pair).isdisjoint(unit))
        pair = sorted(pair, key=lambda key: (role(key) == "assistant", role(key) != "user", -begins[key]))
    are_few = sum(counts[key] for key in pair) < LEAST_OF_PAIR * len(turns)
    if are_few and not labels.dated:
        return []
    inner = sum(key not in pair for unit in labels.units
                for key in dropwhile(lambda each: each not in pair, unit))
    is_group = inner > FEW * len(turns)
    is_known = (all(known) and labels.share >= LEAST_SHARE) or (labels.dated and len(counts) == 2)
    everyone = [key for key in ranked if key != pair[1]][:MOST_NAMED]
    ways = [(everyone, pair[1:], GROUP)] if are_few else [
        (pair[:1], pair[1:], ONE_KNOWN if all(known) else GROUP), (everyone, pair[1:], GROUP - 0.1),
        (pair[1:], pair[:1], GROUP - 0.2)] if is_group else [
        (pair[:1], pair[1:], KNOWN if is_known else ONE_KNOWN if any(map(role, pair)) else UNKNOWN),
        *([] if all(known) else [(pair[1:], pair[:1], UNKNOWN - 0.1)])]
    found = []
    for *sides, certainty in ways:
        user, assistant = (AND.join(labels.names[key] for key in keys) for keys in sides)
        found.append(Candidate("conversation", {}, ReadOptions(text_by="dialogue", user=user, assistant=assistant),
                               certainty, (Evidence("speakers", {"user": user, "assistant": assistant}),)))
    return found


class Message(NamedTuple):
    """One message of a chat: who said it, in which conversation, which may be that of a day, where it begins in the
    file, and the role if it has one."""

    who: str
    text: str
    day: str
    line: int
    role: str = ""


def turns(said: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Roles and texts as messages, those of one role in a row as one."""
    return [{"role": role, "content": "\n".join(filter(None, (text for _, text in each)))}
            for role, each in groupby(said, lambda each: each[0])]


def who_answers(user: str, assistant: str) -> str:
    return tr("“{user}” asks and “{assistant}” answers; the model learns these answers.",
              user=user.replace(AND, "”, “"), assistant=assistant.replace(AND, "”, “"))


def joined(said: Iterable[Message], roles: Mapping[str, str], notes: list[str]) -> Iterator[Raw]:
    """A row for each conversation, up to its last answer.

    Args:
        roles: of each who speaks; what others say is left out.
        notes: gets sentences on what was left out.
    """
    others: Counter[str] = Counter()
    unanswered = 0
    for _, day in groupby(said, lambda each: each.day):
        found = list(day)
        here = [each for each in found if each.who in roles]
        if len(here) < len(found):
            others.update(each.who for each in found if each.who not in roles)
        messages = turns((roles[each.who], each.text) for each in here)
        first = next((at for at, each in enumerate(messages) if each["role"] != "assistant"), len(messages))
        answered = messages[first:]
        if answered and answered[-1]["role"] == "user":
            del answered[-1]
        unanswered += len(messages) - len(answered)
        if answered:
            line = next(each.line for each in here if roles[each.who] != "assistant")
            yield Raw({"messages": answered}, line)
    if shown := [f"“{name}”" for name, n in others.most_common(5) if n]:
        notes.append(tr("What {names} said was left out.", names=", ".join(shown)))
    if unanswered:
        notes.append(ntr("{n:,} message was left out: it is before a first question, or nobody answers it.",
                         "{n:,} messages were left out: they are before a first question, or nobody answers them.",
                         unanswered))


def conversations(lines: Iterable[Line], labels: Labels, user: str, assistant: str, notes: list[str]) -> Iterator[Raw]:
    """The conversations of two sides.

    Args:
        labels: as found at the beginning of the text.
        user, assistant: as of `ReadOptions`.
        notes: gets a sentence on who speaks, and later on what was left out.
    """
    roles = {name.strip().casefold(): side for side, names in (("user", user), ("assistant", assistant))
             for name in [names, *names.split(AND)]}
    notes.append(who_answers(user, assistant))
    said = (Message(block.key if block.key in roles else labels.names[block.key], block.text, str(block.unit),
                           block.lines[0].number)
            for block in blocks(labels.events(lines, roles))
            if block.key not in (OUT, END) and not _NO_TEXT.fullmatch(block.lines[0].text))
    return joined(said, roles, notes)


def records(lines: Iterable[Line], labels: Labels) -> Iterator[Raw]:
    """A row for each record, by its labels."""
    row: dict[str, str] = {}
    begin = 0
    for block in blocks(labels.events(lines)):
        if block.key not in (OUT, END):
            name = labels.names[block.key]
            if name in row:
                yield Raw(row, begin)
                row = {}
            begin = begin if row else block.lines[0].number
            row[name] = block.text
    if row:
        yield Raw(row, begin)


# -- what a text is, and its rows --------------------------------------------------------------------------------

QUESTION, DIALOGUE = "question", "dialogue"
"""Two of `read_options.CUTS`: each question with its answer; conversations."""
_SPEAKERS = ReadOptions(user="User", assistant="Assistant")
LOOKED_AT = 2000
"""Lines that tell what a text is."""
LENGTH = 4000
LONG_LINE = 200
"""A line with more characters than this isn't a line of a page, but a paragraph or a whole article."""
HEADINGS = 3
"""A text with fewer headings hardly is about subjects with what is said about them."""
SHORT, STRUCTURED, NOT_PROSE = 4, 0.3, 0.5
"""Lines of a text that tell nothing, unless they are long; share of lines with labels, marks or choices from
which a text is hardly prose; how sure it is to be learned so."""
BY_HEADINGS, MOSTLY_SAID = 0.4, 0.5
"""How sure it is that headings are questions which don't ask; share of lines with labels from which a text with
headings is rather a conversation."""
PROSE, LONG_ENOUGH, MOST_SIGNS, MOST_DIGITS = 0.5, 32, 0.04, 0.2
"""Share of a text that is prose at least; characters of a line of prose without a full stop; and shares of its signs
and digits."""
LONGEST = 1000
"""Characters of a line that tell what it is: some patterns would take hours for a long run of one sign."""
_FULL_STOP = re.compile(r"[.?!।॥۔…。？！:][\"'”’»)\]*_]*$", re.DOTALL)
_SIGN = re.compile(r"[<>{}\[\]=|\\/_#@$&^~*+%;]")
_SETTING = re.compile(r"[\w.-]+\s*=\s*\S|.*\S\t+\S.*\t|\"[^\"]*\"\s*:")
"""A line of a program's settings, of a table, or of JSON."""
_MARKUP = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])|https?://\S+|(?::[\w:]+:)?`+[^`]*`+_*|\*\*?|__?")
_TABLE = re.compile(r"\|.*\||\+[-=+]+\+|[-=~^\"'#*+_.\s]+")
"""A row of a table, or a rule, as Markdown and reStructuredText have them."""
_FRONT_MATTER = re.compile(rb"---\s*\n[\w-]+:(?:(?!---)[^\n]*\n){1,400}---[ \t]*\r?\n")
"""What a page of Markdown says about itself, for the program that makes a website of it."""
_SIGNED = re.compile(r"\s*(?:([*_$%@~=+^&-])(?!\1)\w(?!.*\1\W)|[%$@~=+^&]+\s*$)")
"""A line that begins with a sign of some notation, which isn't Markdown's."""
_TIMES = re.compile(r"(?:\d+:)?\d\d:\d\d[.,]\d{3} --> ")
_NOT_SAID = re.compile(r"\d+$|WEBVTT|NOTE\b|\S+ --> ")
_SHOWN_AS = re.compile(r"</?[a-z][^<>]*>|\{\\[^{}]*\}")
_SENTENCE_END = re.compile(r"[.?!।॥۔…:;\"'”’)\]]\s*$")


def guess_cut(first: bytes) -> str:
    """How a text that begins so is cut: at blank lines where there are any; otherwise at line ends, where lines are
    long or end as sentences do. Lines of a page that end anywhere belong together."""
    text = first.decode("utf-8", "replace").strip()
    lines = text.split("\n")
    if len(lines) < 3 or not all(map(str.strip, lines)):
        return "paragraph"
    ended = sum(_SENTENCE_END.search(line) is not None for line in lines)
    return "line" if median(map(len, lines)) > LONG_LINE or ended >= 0.8 * len(lines) else "paragraph"


def candidates(lines: Sequence[Line], found: Labels, default: str) -> tuple[Candidate, ...]:
    """What a text that begins with these lines may be read as; the surest first.

    Args:
        found: the labels of the lines.
        default: how it is cut as plain text, one of `read_options.CUTS`.
    """
    conversations = [each for each in conversation_candidates(found) if not (
        labels.mark(each.options.user or "") and labels.mark(each.options.assistant or ""))]
    way, certainty = _way_of(lines, found)
    evidence: tuple[Evidence, ...] = (_recurring(found) if way == "records" else Evidence("questions"),)
    prose = _prose(lines, found, default)
    headings = sum(line.level > 0 for line in lines)
    if headings >= HEADINGS and found.share < MOSTLY_SAID:  # subjects, with remarks below them
        conversations = [replace(each, certainty=min(each.certainty, BY_HEADINGS - 0.1))
                         if each.certainty <= UNKNOWN else each for each in conversations]
    if best := max([certainty, *(each.certainty for each in conversations)]):
        prose = replace(prose, certainty=min(prose.certainty, NOT_PROSE, max(best - 0.1, BY_HEADINGS)))
    if best < BY_HEADINGS and (headings >= HEADINGS or (found.are_fields and not prose.is_sure)):
        certainty, evidence = BY_HEADINGS, (Evidence("headings", {"n": headings}),) if headings else prose.evidence
    asked = [Candidate("question_answer", {}, ReadOptions(text_by=QUESTION), certainty, evidence)] * (certainty > 0)
    return ranked([*asked, *conversations, prose])


def _way_of(lines: Sequence[Line], found: Labels) -> tuple[str | None, float]:
    """As `questions.way_of`; "records" for those with more labels than marks of questions and answers."""
    are_records = found.are_fields and not all(map(labels.mark, found.names))
    if are_records and ask_and_answer(list(found.names.values())) is not None:
        return "records", questions.RULES[0].certainty
    way, certainty = questions.way_of(lines)
    return ("records", 0.0) if way is None and are_records else (way, certainty)


def _recurring(found: Labels) -> Evidence:
    return Evidence("recurring", {"labels": ", ".join(f"“{name}”" for name in list(found.names.values())[:3])})


def _prose(lines: Sequence[Line], found: Labels, by: str) -> Candidate:
    """The text as plain text: sure only if it is prose, in which hardly anything recurs."""
    text = Candidate("text", options=ReadOptions(text_by=by))
    labelled = sum(questions.is_marked(line) or found.of(line)[0] != "" for line in lines)
    is_short = len(lines) <= SHORT and sum(len(line.text) for line in lines) < LONGEST
    signed = sum(_SIGNED.match(line.text) is not None for line in lines if not line.is_code)
    if 2 * signed <= len(lines) and (is_short or (
            labelled < STRUCTURED * len(lines) and _prose_share(lines) >= PROSE)):
        return text
    evidence = _recurring(found) if found.share >= LEAST_SHARE else Evidence("not_prose")
    return replace(text, certainty=NOT_PROSE, evidence=(evidence,))


def _prose_share(lines: Sequence[Line]) -> float:
    """The share of a text, in characters, that is sentences or long lines of words; code and tables don't count."""
    size = prose = 0
    before, is_code = "", False
    for line in lines:
        is_code = line.text[:1].isspace() and (is_code or before.endswith("::"))  # as reStructuredText has it
        before = before if is_code else line.text.rstrip()
        text = line.text.strip()[:LONGEST]
        if is_code or line.is_code or line.level or _TABLE.fullmatch(text):
            continue
        text = _MARKUP.sub(r"\1", text).strip()
        size += len(text)
        is_prose = len(text) >= LONG_ENOUGH or _FULL_STOP.search(text) is not None
        if is_prose and len(_SIGN.findall(text)) < MOST_SIGNS * len(text) and not _SETTING.match(text) and (
                sum(map(str.isdigit, text)) < MOST_DIGITS * len(text)):
            prose += len(text)
    return prose / size if size else 1.0


def read_lines(part: Part, begin: Sequence[Line], lines: Iterable[Line | Raw],
               plain: Callable[[str], Iterator[Raw]] | None, default: str) -> bool:
    """Read a text by what it is, or as a user has chosen.

    Args:
        begin: its first lines.
        lines: all of them, blank ones left out in both; what has a problem stays as it is.
        plain: its rows as plain text, by the cut; None leaves them as they are.
        default: as of `candidates`.

    Returns:
        whether its rows are plain text.
    """
    options = part.options
    by = options.text_by or (DIALOGUE if options.user or options.assistant else None)
    found = labels.find(begin) if by in (None, QUESTION, DIALOGUE) else Labels()
    best, *others = candidates(begin, found, default) if by is None else [Candidate("text")]
    if by is None:
        by, user, assistant = best.options.text_by, best.options.user, best.options.assistant
    else:
        user, assistant = _speakers(found, options) if by == DIALOGUE else (options.user, options.assistant)
    is_plain = by not in (QUESTION, DIALOGUE)
    if is_plain and plain is None:
        return True
    problems: list[Raw] = []
    whole = _whole(lines, problems)
    if by == DIALOGUE:
        part.rows = conversations(whole, found, user or "", assistant or "", part.notes)
    elif is_plain and plain is not None:
        part.rows = plain(by or default)
    elif _way_of(begin, found)[0] == "records":
        part.rows = records(whole, found)
    else:
        part.rows = questions.rows(whole, questions.best_way(begin))
    part.rows = _with_problems(part.rows, problems)
    part.choose(best.certainty, best.evidence, others, text_by=by, user=user, assistant=assistant)
    part.text_by, part.columns = by or "", ()
    return is_plain


def _whole(lines: Iterable[Line | Raw], problems: list[Raw]) -> Iterator[Line]:
    """The lines; rows with a problem go to `problems`."""
    for line in lines:
        if isinstance(line, Line):
            yield line
        else:
            problems.append(line)


def _with_problems(rows: Iterator[Raw], problems: list[Raw]) -> Iterator[Raw]:
    """The rows, and those with a problem as these are met."""
    for row in rows:
        yield from problems
        problems.clear()
        yield row
    yield from problems


def read_column(part: Part) -> None:
    """Read the rows of a table with a single column as its lines, if that makes more of them."""
    (column,) = part.columns
    begin = list(islice(part.rows, LOOKED_AT))
    part.rows = rows = chain(begin, part.rows)
    lines = [raw if raw.problem else Line(str(raw.value[column]), raw.line) for raw in begin]
    read_lines(part, [line for line in lines if isinstance(line, Line)],
               (raw if raw.problem else Line(str(raw.value[column]), raw.line) for raw in rows), None, "line")


def _speakers(found: Labels, options: ReadOptions) -> tuple[str | None, str | None]:
    """Who asks and who answers in a conversation, where a user has chosen at most one of them."""
    likely = next((each.options for each in conversation_candidates(found)), _SPEAKERS)
    user = options.user or (likely.user if likely.user != options.assistant else likely.assistant)
    return user, options.assistant or (likely.assistant if likely.assistant != user else likely.user)


def _question_in(about: bytes) -> str:
    """The question that a page says it answers, as the pages of a website's FAQ do; "" if it says none."""
    if b"question:" not in about:
        return ""
    import yaml  # type: ignore[import-untyped]

    try:
        found = next(yaml.safe_load_all(about), None)
    except yaml.YAMLError:
        return ""
    question = found.get("question") if isinstance(found, dict) else ""
    return question.strip() if isinstance(question, str) else ""


def read(part: Part, first: bytes, chunks: Iterator[bytes]) -> None:
    """Read a text in UTF-8 that begins so; `chunks` have that, too."""
    is_markdown = part.format == "markdown"
    if part.options.text_by is None and len(_TIMES.findall(first[:4000].decode("utf-8", "replace"))) > 2:
        part.notes.append(tr("The subtitles are read as text, without their numbers and times."))
        part.rows, part.text_by = of_subtitles(chunks), "length"
        part.choose(1.0, text_by="length")
        return
    if is_markdown and (about := _FRONT_MATTER.match(first)):
        next(chunks)
        if part.options.text_by is None and (question := _question_in(about[0])):
            answer = b"".join([first[about.end():], *chunks]).decode("utf-8", "replace").strip()
            part.rows, part.columns = iter([Raw({"question": question, "answer": answer}, 1)]), ("question", "answer")
            return
        first = b"\n" * about[0].count(b"\n") + first[about.end():]
        chunks = chain([first], chunks)
    texts = ((line, at) for at, line in enumerate(first.decode("utf-8", "replace").split("\n")[:LOOKED_AT], 1))
    begin = [line for line in labels.lines_of(texts, is_markdown) if isinstance(line, Line)]
    lines = labels.lines_of((raw if raw.problem else (raw.value["text"], raw.line)
                             for raw in text_rows(chunks, "line")), is_markdown)
    read_lines(part, begin, lines, lambda by: text_rows(chunks, by), guess_cut(first))


def of_subtitles(chunks: Iterator[bytes]) -> Iterator[Raw]:
    """What is said in subtitles, without their numbers and times, in rows of about `LENGTH` characters."""
    said: list[str] = []
    begin = 0
    for raw in chain(text_rows(chunks, "line"), [Raw({"text": ""}, 0)]):
        if raw.problem is not None:
            yield raw
            continue
        if said and (not raw.line or sum(map(len, said)) > LENGTH):
            yield Raw({"text": "\n".join(said)}, begin)
            said = []
        text = _SHOWN_AS.sub("", raw.value["text"]).strip()
        if text and not _NOT_SAID.match(text):
            begin = begin if said else raw.line
            said.append(text)


_ENDS: dict[str, Callable[[bytearray, bytes], bool]] = {
    "paragraph": lambda text, line: not line.strip(),
    "length": lambda text, line: len(text.decode("utf-8", "replace")) + len(line) > LENGTH,
    "document": lambda text, line: False,
}
"""By the cut, whether a row ends before a line."""


def text_rows(chunks: Iterator[bytes], by: str) -> Iterator[Raw]:
    """The rows of a text in UTF-8; those without a word are left out.

    Args:
        by: one of `read_options.CUTS`, except `QUESTION` and `DIALOGUE`.
    """
    for piece in lines_of(chunks) if by == "line" else stretches(chunks, _ENDS[by]):
        if piece.trouble:
            yield Raw(None, piece.line, Problem(piece.trouble, piece.line))
            continue
        try:
            text = decode(piece.text).replace("\r\n", "\n")
        except NotJson as error:
            yield Raw(None, piece.line, error.problem(piece.line))
            continue
        if "\0" in text:
            yield Raw(None, piece.line, Problem(tr("there are NUL bytes here; the file is damaged at this place."),
                                                piece.line))
        elif text.strip():
            yield Raw({"text": text}, piece.line)
