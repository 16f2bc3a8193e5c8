"""Texts as rows: conversations, questions with answers, or plain text by paragraph, by line, by length, or whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from statistics import median

from slmstudio.core.data.candidates import Candidate, Evidence, ranked
from slmstudio.core.data.column_names import ask_and_answer
from slmstudio.core.data.read_options import NO_OPTIONS, ReadOptions
from slmstudio.core.data.row_texts import BOM, ROW_LIMIT, Piece, numbered_lines, paragraphs
from slmstudio.core.data.sources import dialogues, questions
from slmstudio.core.data.sources.dialogues import DIALOGUE, Labels, Line
from slmstudio.core.data.sources.questions import QUESTION
from slmstudio.core.data.sources.row import Raw
from slmstudio.core.data.strict_json import NotJson, decode
from slmstudio.core.errors import Problem
from slmstudio.core.i18n import tr

LOOKED_AT = 2000
"""Lines that tell what a text is."""
LENGTH = 4000
LONG_LINE = 200
"""A line with more characters than this isn't a line of a page, but a paragraph or a whole article."""
HEADINGS = 3
"""From so many headings on, a text may be questions or subjects with what is said about them."""
STRUCTURED, ODD = 0.3, 0.2
"""Share of lines with labels, marks or signs from which a text is hardly prose; and of signs in one such line."""
WITH_HEADINGS, NOT_PROSE = 0.7, 0.5
"""How sure a text is that has headings, and one that is hardly prose."""
FEW_WORDS, MOST, SHORT_LINE = 8, 0.6, 16
"""Words with which most lines of a text begin that is a table or a list of settings, their share of lines, and
characters that a line of prose mostly has."""
_FULL_STOP = re.compile(r"[.?!।॥۔…。？！][\"'”’)\]]*\s*$")
_TOKEN = re.compile(r"[^\W\d]|#")
_SIGN_FIRST = re.compile(r"\s*[=~{}:<|/\\;@$%&+]")
_OF_CODE = re.compile(r"[<>{}\[\]=|\\/_#@$&^~*+%;]")
MOST_SIGNS = 0.06
"""Share of such signs in a text from which it is markup or settings; prose with links and marks has 0.04."""
_SIGNS = re.compile(r"[\d<>{}\[\]=|\\/_#@$&^~*+%;]")
_FRONT_MATTER = re.compile(rb"---\s*\n[\w-]+:(?:(?!---)[^\n]*\n){1,60}---[ \t]*\r?\n")
"""What a page of Markdown says about itself, for the program that makes a website of it."""
_TIMES = re.compile(r"(?:\d+:)?\d\d:\d\d[.,]\d{3} --> ")
_NOT_SAID = re.compile(r"\d+$|WEBVTT|NOTE\b|\S+ --> ")
_SHOWN_AS = re.compile(r"</?[a-z][^<>]*>|\{\\[^{}]*\}")
_SENTENCE_END = re.compile(r"[.?!।॥۔…:;\"'”’)\]]\s*$")

@dataclass(frozen=True)
class Reading:
    """A text that is read: its rows, how it is cut, and certainty, evidence and others as of `opening.Part`."""

    rows: Iterator[Raw]
    options: ReadOptions
    certainty: float = 1.0
    evidence: tuple[Evidence, ...] = ()
    others: list[Candidate] = field(default_factory=list)

    @property
    def is_plain(self) -> bool:
        """Whether its rows are plain text."""
        return self.options.text_by not in (QUESTION, DIALOGUE)


def guess_cut(first: bytes) -> str:
    """How a text that begins so is cut: at blank lines where there are any; otherwise at line ends, where lines are
    long or end as sentences do. Lines of a page that end anywhere belong together."""
    text = first.decode("utf-8", "replace").strip()
    lines = text.split("\n")
    if len(lines) < 3 or not all(map(str.strip, lines)):
        return "paragraph"
    ended = sum(_SENTENCE_END.search(line) is not None for line in lines)
    return "line" if median(map(len, lines)) > LONG_LINE or ended >= 0.8 * len(lines) else "paragraph"


def candidates(lines: Sequence[Line], default: str) -> tuple[Candidate, ...]:
    """What a text that begins with these lines, blank ones among them, may be read as; the surest first.

    Args:
        default: how it is cut as plain text, one of `read_options.CUTS`.
    """
    labels = dialogues.find(lines)
    found = [each for each in dialogues.candidates(labels) if not (
        questions.mark(each.options.user or "") and questions.mark(each.options.assistant or ""))]
    certainty = questions.way_of(lines)[1]
    evidence: tuple[Evidence, ...] = (Evidence("questions"),)
    if _are_records(labels) and ask_and_answer(list(labels.names.values())) is not None:
        certainty, evidence = questions.CERTAIN, (_recurring(labels),)
    prose = _prose(lines, labels, default)
    if best := max([certainty, *(each.certainty for each in found)]):
        prose = replace(prose, certainty=min(prose.certainty, NOT_PROSE, best - 0.1))
    elif prose.certainty < 1 and (labels.are_fields or any(line.heading for line in lines)):
        certainty, evidence = NOT_PROSE - 0.1, prose.evidence
    if certainty:
        found.insert(0, Candidate("question_answer", {}, ReadOptions(text_by=QUESTION), certainty, evidence))
    return ranked([*found, prose])


def _are_records(labels: Labels) -> bool:
    """Whether a text holds records with more than marks of questions and answers."""
    return labels.are_fields and not all(map(questions.mark, labels.names))


def _recurring(labels: Labels) -> Evidence:
    return Evidence("recurring", {"labels": ", ".join(f"“{name}”" for name in list(labels.names.values())[:3])})


def _prose(lines: Sequence[Line], labels: Labels, by: str) -> Candidate:
    """The text as plain text: sure only if it is prose, in which hardly anything recurs."""
    text = Candidate("text", options=ReadOptions(text_by=by))
    filled = [line for line in lines if line.text.strip()]
    structured = sum(questions.is_marked(line) or len(_SIGNS.findall(line.text)) > ODD * len(line.text)
                     or _SIGN_FIRST.match(line.text) is not None or labels.of(line.text)[0] != "" for line in filled)
    signs = sum(len(_OF_CODE.findall(line.text)) for line in filled)
    if signs > MOST_SIGNS * sum(len(line.text) for line in filled) or (len(filled) > HEADINGS and (
            structured >= STRUCTURED * len(filled) or _is_listed([line.text for line in filled]))):
        evidence = _recurring(labels) if labels.share >= dialogues.LEAST_SHARE else Evidence("not_prose")
        return replace(text, certainty=NOT_PROSE, evidence=(evidence,))
    headings = sum(line.heading != "" for line in filled)
    if headings >= HEADINGS:
        return replace(text, certainty=WITH_HEADINGS, evidence=(Evidence("headings", {"n": headings}),))
    return text


def _is_listed(filled: Sequence[str]) -> bool:
    """Whether lines that hardly end as sentences do are short, or mostly begin with one of a few words."""
    first = Counter(text.split(maxsplit=1)[0] for text in filled)
    few = sum(count for word, count in first.most_common(FEW_WORDS) if count >= HEADINGS and _TOKEN.search(word))
    ended = sum(_FULL_STOP.search(text) is not None for text in filled)
    return 2 * ended < len(filled) and (few >= MOST * len(filled) or median(map(len, filled)) < SHORT_LINE)


def choose(lines: Sequence[Line], default: str, options: ReadOptions) -> tuple[Candidate, list[Candidate]]:
    """How a text is read, and how else it may be.

    Args:
        lines, default: as of `candidates`.
        options: what a user has chosen.
    """
    by = DIALOGUE if options.text_by is None and (options.user or options.assistant) else options.text_by
    if by is None:
        best, *others = candidates(lines, default)
        found = best.options
        return replace(best, options=replace(options, text_by=found.text_by, user=found.user,
                                             assistant=found.assistant)), others
    chosen = replace(options, text_by=by)
    if by == DIALOGUE and not (options.user and options.assistant):
        likely = next((each.options for each in dialogues.candidates(dialogues.find(lines))), NO_OPTIONS)
        names = [likely.user or "User", likely.assistant or "Assistant"]
        user = options.user or next(name for name in names if name != options.assistant)
        assistant = options.assistant or next(name for name in reversed(names) if name != user)
        chosen = replace(chosen, user=user, assistant=assistant)
    return Candidate("text", options=chosen), []


def reading(begin: Sequence[Line], lines: Iterable[Line | Raw], plain: Callable[[str], Iterator[Raw]], default: str,
            options: ReadOptions, notes: list[str]) -> Reading:
    """Read a text by what it is, or as a user has chosen.

    Args:
        begin: its first lines, blank ones among them; `lines` are all but blank ones.
        plain: its rows as plain text, by the cut.
        default: as of `candidates`.
    """
    best, others = choose(begin, default, options)
    chosen = best.options
    labels = dialogues.find(begin) if chosen.text_by in (QUESTION, DIALOGUE) else Labels()
    if chosen.text_by == DIALOGUE:
        rows = dialogues.conversations(lines, labels, chosen.user or "", chosen.assistant or "", notes)
    elif chosen.text_by != QUESTION:
        rows = plain(chosen.text_by or default)
    elif _are_records(labels):
        rows = dialogues.records(lines, labels)
    else:
        rows = questions.rows(lines, questions.best_way(begin))
    return Reading(rows, chosen, best.certainty, best.evidence, others)


def read(first: bytes, chunks: Iterator[bytes], options: ReadOptions, notes: list[str], *, markdown: bool) -> Reading:
    """Read a text in UTF-8.

    Args:
        first: how it begins; `chunks` have it, too.
        options: what a user has chosen.
    """
    if options.text_by is None and len(_TIMES.findall(first[:4000].decode("utf-8", "replace"))) > 2:
        notes.append(tr("The subtitles are read as text, without their numbers and times."))
        return Reading(of_subtitles(chunks), ReadOptions(text_by="length"))
    if markdown and (about := _FRONT_MATTER.match(first)):
        next(chunks)
        first = b"\n" * about[0].count(b"\n") + first[about.end():]
        chunks = chain([first], chunks)
    begin = [questions.line_of(line, number, markdown) for number, line in enumerate(
        first.decode("utf-8", "replace").split("\n")[:LOOKED_AT], 1)]
    lines = (raw if raw.problem else questions.line_of(raw.value["text"], raw.line, markdown)
             for raw in text_rows(chunks, "line"))
    return reading(begin, lines, lambda by: text_rows(chunks, by), guess_cut(first), options, notes)


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


def text_rows(chunks: Iterator[bytes], by: str) -> Iterator[Raw]:
    """The rows of a text in UTF-8; those without a word are left out.

    Args:
        by: one of `read_options.CUTS`, except `QUESTION` and `DIALOGUE`.
    """
    pieces = {"paragraph": paragraphs, "line": _lines, "document": _document, "length": _stretches}[by](chunks)
    for piece in pieces:
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


def _lines(chunks: Iterator[bytes]) -> Iterator[Piece]:
    for line, number, size in numbered_lines(chunks):
        trouble = "" if size <= ROW_LIMIT else tr(
            "the line is longer than {limit} MB (it has {size:,} bytes), so it wasn't read.", limit=ROW_LIMIT >> 20,
            size=size)
        yield Piece(line.removeprefix(BOM).removesuffix(b"\r"), number, trouble=trouble)


def _document(chunks: Iterator[bytes]) -> Iterator[Piece]:
    text = bytearray()
    for chunk in chunks:
        text += chunk[:max(0, ROW_LIMIT + 1 - len(text))]
    trouble = "" if len(text) <= ROW_LIMIT else tr(
        "the text is longer than {limit} MB; cut it by paragraph, line or length instead.", limit=ROW_LIMIT >> 20)
    yield Piece(bytes(text).strip(b"\n"), 1, trouble=trouble)


def _stretches(chunks: Iterator[bytes]) -> Iterator[Piece]:
    text, begin = b"", 1
    for line, number, _ in chain(numbered_lines(chunks), [(b"", 0, 0)]):
        if not number or (text and len(text.decode("utf-8", "replace")) + len(line) > LENGTH):
            yield Piece(text.strip(b"\n"), begin)
            text, begin = b"", number
        text += line.removeprefix(BOM) + b"\n"
