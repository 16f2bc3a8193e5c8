"""The questions and answers that are made of some documents, on the disk.

A project is a folder, and the folder of the job that works on it (`core.jobs`):

    project.json      what is to be made of which files (`Settings`)
    passages.jsonl    a line for each `Passage`; complete or absent
    documents.json    pages and problems of each file; written after the passages, so it says that they are all there
    made.jsonl        a line for each passage that is finished, {"passage": id, "pairs": [...]}; append-only
    decisions.jsonl   what a person decided, {"pairs": [ids], "decision": ...} or {"undo": true}; append-only

A job may append to made.jsonl while a window reads it, and the window to decisions.jsonl.
"""

from __future__ import annotations

import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, i18n, jobs, paths
from slmstudio.core.data.record import GROUP
from slmstudio.core.documents.evidence import Draft, check
from slmstudio.core.documents.passages import Passage, held_out
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import noop, tr
from slmstudio.core.run.folder import slug

FILE, PASSAGES, DOCUMENTS = "project.json", "passages.jsonl", "documents.json"
MADE, DECISIONS = "made.jsonl", "decisions.jsonl"
ACCEPTED, EDITED, REJECTED, RESTORED = "accepted", "edited", "rejected", "restored"
KINDS = {
    "fact": noop("Fact"), "how_to": noop("How-to"), "condition": noop("Condition"), "comparison": noop("Comparison"),
    "unanswerable": noop("Not in the document"), "rewritten": noop("Rewritten"), "translated": noop("Translated"),
    "paraphrase": noop("Paraphrase"),
}
"""Kinds of questions, as people read them."""
ASKED = tuple(KINDS)[:5]
"""Those that a teacher asks about a passage."""
USUAL = ASKED[:4]


@dataclass(frozen=True)
class Settings:
    """What is to be made.

    Attributes:
        sources: files and folders, as absolute paths.
        teacher: `teacher.Teacher.to_dict()`.
        languages: ISO 639 codes of the questions; none for each document's own.
        kinds: some of `ASKED`.
        per_passage: questions for each passage, in each language.
        budget: tokens of a passage, about.
        held_out: share of the passages whose sections are held out for testing.
    """

    sources: tuple[str, ...]
    teacher: dict[str, Any] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    kinds: tuple[str, ...] = USUAL
    per_passage: int = 3
    budget: int = 350
    held_out: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Pair:
    """A question with its answer.

    Attributes:
        passage: id of the one that it is about.
        kind: one of `KINDS`.
        doubts: codes of `evidence.DOUBTS`; of an edited pair, those that its new words have. A pair with any is left
            out unless a person takes it.
        decision: None, `ACCEPTED`, `EDITED` (accepted with other words), `REJECTED`, or `RESTORED` (not left out any
            more, and still to be decided).
        held_out: whether it is for the test set.
    """

    id: str
    passage: str
    kind: str
    language: str
    question: str
    answer: str
    quotation: str
    doubts: tuple[str, ...] = ()
    decision: str | None = None
    held_out: bool = False

    @property
    def is_accepted(self) -> bool:
        return self.decision in (ACCEPTED, EDITED)

    @property
    def is_left_out(self) -> bool:
        return bool(self.doubts) and self.decision is None

    @property
    def is_waiting(self) -> bool:
        """Whether a person is still to decide."""
        return self.decision == RESTORED or (self.decision is None and not self.doubts)


@dataclass(frozen=True)
class DocumentInfo:
    """A file of the project.

    Attributes:
        pages: None where it has none.
        problems: sentences on what couldn't be read.
    """

    name: str
    path: str
    pages: int | None
    passages: int
    pairs: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Counts:
    """Pairs by what became of them.

    Attributes:
        by_doubt: of those that are left out, how many have each doubt.
    """

    all: int
    waiting: int
    accepted: int
    rejected: int
    left_out: int
    by_doubt: dict[str, int]


@dataclass(frozen=True)
class FileRead:
    """What reading a file gave, beside its passages."""

    name: str
    path: str
    pages: int | None
    problems: tuple[str, ...] = ()


class _Passages(Mapping[str, Passage]):
    """The passages of a file, of which only the places are in memory."""

    def __init__(self, path: Path):
        self._path = path
        self._places: dict[str, tuple[int, str, str]] = {}
        reader = files.LineReader(path)
        for line in reader.read():
            self._places[line["id"]] = reader.at, line["document"], line["section"]

    def __getitem__(self, key: str) -> Passage:
        with io.open(self._path, "rb", opener=files.regular) as file:  # noqa: UP020 - `open` is a project's here
            file.seek(self._places[key][0])
            line = json.loads(file.readline())
        return Passage(**{**line, "heading": tuple(line["heading"])})

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def document(self, key: str) -> str:
        return self._places[key][1]

    def section(self, key: str) -> str:
        return self._places[key][2]


class Project:
    """A project's folder. Nothing is kept that isn't on the disk.

    Raises:
        UserError: the folder isn't a project, or a newer program made it.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder).absolute()
        state = formats.read("documents", self.folder / FILE)
        try:
            values: dict[str, Any] = {each.name: (state or {})[each.name] for each in fields(Settings)}
            values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
            self.settings = Settings(**values)
        except (KeyError, TypeError) as error:
            raise UserError(tr("{folder} isn't a project of documents.", folder=self.folder),
                            tr("Its {file} is missing or damaged.", file=FILE),
                            tr("Choose a folder in {folder}.", folder=paths.documents_dir())) from error
        self._passages: _Passages | None = None
        self._held_out: frozenset[str] = frozenset()
        self._made = files.LineReader(self.folder / MADE)
        self._decided = files.LineReader(self.folder / DECISIONS)
        self._original: dict[str, Pair] = {}
        self._current: dict[str, Pair] = {}
        self._finished: set[str] = set()
        self._history: list[dict[str, Any]] = []
        self._decisions: dict[str, list[dict[str, Any]]] = {}

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def job(self) -> jobs.Job:
        """The job that works on it; its events, pause, resume and outcome."""
        return jobs.Job(self.folder)

    # -- documents and passages -------------------------------------------------------------------

    @property
    def is_read(self) -> bool:
        """Whether its documents have been read; until then there are no passages."""
        return (self.folder / DOCUMENTS).exists()

    def write_passages(self, passages: Iterable[Passage], read: Sequence[FileRead]) -> None:
        """Keep what reading its documents gives, as it comes.

        Args:
            read: what is known of each file once all passages were given.

        Raises:
            OSError: they can't be written.
        """
        files.write_atomically(self.folder / PASSAGES, (files.dump_line(asdict(each)) for each in passages))
        state = [{"name": each.name, "path": each.path, "pages": each.pages,
                  "problems": [i18n.with_sources({"text": text}) for text in each.problems]} for each in read]
        files.write_atomically(self.folder / DOCUMENTS, files.dump_pretty({"documents": state}))
        self._passages = None

    def passages(self) -> Mapping[str, Passage]:
        """By id, in the order of the documents; each is read from the disk when it is asked for."""
        return self._index()

    def _index(self) -> _Passages:
        if self._passages is None or not self._passages:
            self._passages = _Passages(self.folder / PASSAGES)
            self._held_out = held_out(map(self._passages.section, self._passages), self.settings.held_out,
                                      self.settings.seed)
        return self._passages

    def document_of(self, pair: Pair) -> str:
        return self._index().document(pair.passage)

    def section_of(self, pair: Pair) -> str:
        """Id of the section that a pair is about."""
        return self._index().section(pair.passage)

    def documents(self) -> list[DocumentInfo]:
        index = self._index()
        passages = Counter(map(index.document, index))
        pairs = Counter(index.document(each.passage) for each in self._current.values())
        state = files.objects((files.read_json(self.folder / DOCUMENTS) or {}).get("documents"))
        return [DocumentInfo(each["name"], each["path"], each["pages"], passages[each["name"]], pairs[each["name"]],
                             tuple(i18n.retranslate(problem)["text"] for problem in each["problems"]))
                for each in state]

    # -- questions and answers --------------------------------------------------------------------

    def refresh(self) -> bool:
        """Take in what was appended since the last call. Returns whether there was anything."""
        index, before = self._index(), (self._made.offset, self._decided.offset)
        for line in self._made.read():
            if line["passage"] in self._finished or line["passage"] not in index:
                continue
            self._finished.add(line["passage"])
            apart = index.section(line["passage"]) in self._held_out
            for number, state in enumerate(line["pairs"], 1):
                pair = Pair(f"{line['passage']}-{number}", line["passage"], state["kind"], state["language"],
                            state["question"], state["answer"], state["quotation"], tuple(state["doubts"]),
                            held_out=apart)
                self._original[pair.id] = self._current[pair.id] = pair
        for line in self._decided.read():
            self._apply(line)
        return before != (self._made.offset, self._decided.offset)

    def _apply(self, line: dict[str, Any]) -> None:
        """Take in a line of decisions.jsonl."""
        undone = bool(line.get("undo"))
        if undone:
            if not self._history:
                return
            line = self._history.pop()
        else:
            self._history.append(line)
        for key in line["pairs"]:
            if (pair := self._original.get(key)) is None:
                continue
            decided = self._decisions.setdefault(key, [])
            decided.pop() if undone else decided.append(line)
            for each in decided:
                texts = {name: each[name] for name in ("question", "answer", "quotation") if name in each}
                pair = replace(pair, decision=each["decision"], **texts)
            if pair != replace(self._original[key], decision=pair.decision):
                passage = self._index()[pair.passage]
                draft = Draft(pair.kind, pair.language, pair.question, pair.answer, pair.quotation)
                pair = replace(pair, doubts=check(draft, passage.text, passage.heading))
            self._current[key] = pair

    @property
    def finished(self) -> frozenset[str]:
        """Passages whose questions are made."""
        return frozenset(self._finished)

    def pairs(self) -> list[Pair]:
        """All pairs so far, as they are after a person's decisions. `refresh` first."""
        return list(self._current.values())

    def counts(self) -> Counts:
        pairs = self._current.values()
        out = [pair for pair in pairs if pair.is_left_out]
        return Counts(len(pairs), sum(pair.is_waiting for pair in pairs), sum(pair.is_accepted for pair in pairs),
                      sum(pair.decision == REJECTED for pair in pairs), len(out),
                      dict(Counter(doubt for pair in out for doubt in pair.doubts).most_common()))

    def decide(self, pairs: str | Sequence[str], decision: str, question: str | None = None,
               answer: str | None = None, quotation: str | None = None) -> None:
        """Keep what a person decided, on the disk at once.

        Args:
            pairs: the id of a pair, or several ids that are decided, and undone, together.
            question, answer, quotation: new texts; only for `EDITED`, of one pair.

        Raises:
            UserError: it can't be written.
        """
        texts = {"question": question, "answer": answer, "quotation": quotation}
        self._append({"pairs": [pairs] if isinstance(pairs, str) else list(pairs), "decision": decision,
                      **{name: text for name, text in texts.items() if text is not None}})
        self.refresh()

    def undo(self) -> str | None:
        """Take the last decision back. Returns its (first) pair; None if there is none. Raises as `decide`."""
        self.refresh()
        if not self._history:
            return None
        last: str = self._history[-1]["pairs"][0]
        self._append({"undo": True})
        self.refresh()
        return last

    def _append(self, line: dict[str, Any]) -> None:
        with os_errors_as(tr("The decision can't be saved.")):
            files.append_line(self.folder / DECISIONS, line)


def create(sources: Sequence[Path], settings: Settings, name: str = "") -> Project:
    """A new project. Its documents are read by `reading.read_into`, or by its job.

    Args:
        sources: files and folders; they replace those of the settings.
        name: of its folder; by default as the first source is called.

    Raises:
        UserError: the folder can't be made.
    """
    settings = replace(settings, sources=tuple(str(Path(each).absolute()) for each in sources))
    with os_errors_as(tr("The project can't be made.")):
        folder = files.new_folder(paths.documents_dir() / slug(name or Path(settings.sources[0]).stem))
        files.write_atomically(folder / FILE, files.dump_pretty({**formats.stamp("documents"), **asdict(settings)}))
    return Project(folder)


def open(folder: Path) -> Project:
    """A project as it is on the disk now. Raises as `Project`."""
    project = Project(folder)
    project.refresh()
    return project


def list_projects() -> list[Project]:
    """All that can be read, the one that was worked on last first; none of them refreshed."""
    found = []
    for file in paths.documents_dir().glob(f"*/{FILE}"):
        try:
            found.append(Project(file.parent))
        except UserError:  # a damaged one hides no others
            continue
    return sorted(found, key=_changed, reverse=True)


def _changed(project: Project) -> float:
    return max((project.folder / name).stat().st_mtime for name in (FILE, MADE, DECISIONS)
               if (project.folder / name).exists())


def write_dataset(project: Project, accepted_only: bool, target: Path, name: str = "") -> tuple[Path, Path | None]:
    """Write the rows that are learned and, beside them, those of the held-out sections.

    What a held-out row asks, or quotes, is in no learned row: it is left out of the test set where a second section
    says the same. More questions like others, and translations, never test anything.

    Args:
        accepted_only: whether what nobody has decided on yet is left out too.
        target: the folder.
        name: of the file, without its ending; files of that name are replaced. By default the project's, with a number
            where that is taken.

    Returns:
        The file with the rows, and the one with the test set; None if nothing is held out.

    Raises:
        UserError: there is no row, or they can't be written.
    """
    chosen = [pair for pair in project.pairs() if pair.is_accepted or (pair.is_waiting and not accepted_only)]
    learned = [pair for pair in chosen if not pair.held_out]
    if not learned:
        raise UserError(tr("There are no rows to write."),
                        tr("No question was accepted yet.") if accepted_only else
                        tr("No question passed the checks, and none was accepted."),
                        tr("Review the questions first, or choose all that passed the checks.") if accepted_only else
                        tr("Choose a larger model as the teacher, or review what was left out in the Data tab, under "
                           "“From documents”."))
    known = {_folded(text) for pair in learned for text in (pair.question, pair.quotation)} - {""}
    test = [pair for pair in chosen if pair.held_out and pair.kind not in ("paraphrase", "translated")
            and known.isdisjoint((_folded(pair.question), _folded(pair.quotation)))]
    with os_errors_as(tr("The dataset can't be written.")):
        target.mkdir(parents=True, exist_ok=True)
        names = (project.name, *(f"{project.name}-{number}" for number in range(2, 10**6)))
        name = name or next(each for each in names if not (target / f"{each}.jsonl").exists()
                    and not (target / f"{each}-test.jsonl").exists())
        rows, tests = target / f"{name}.jsonl", target / f"{name}-test.jsonl"
        tests.unlink(missing_ok=True)
        if test:
            files.write_atomically(tests, (files.dump_line(_row(project, pair)) for pair in test))
        files.write_atomically(rows, (files.dump_line(_row(project, pair)) for pair in learned))
    return rows, tests if test else None


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _row(project: Project, pair: Pair) -> dict[str, Any]:
    passage = project.passages()[pair.passage]
    return {"messages": [{"role": "user", "content": pair.question}, {"role": "assistant", "content": pair.answer}],
            "document": passage.document, "page": passage.page, "heading": " › ".join(passage.heading),
            "quotation": pair.quotation, "kind": pair.kind, "language": pair.language, GROUP: passage.section}
