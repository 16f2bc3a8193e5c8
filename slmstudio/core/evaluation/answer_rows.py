"""Items and answers of a job folder, brought together row by row, as corrected.

    items.json           {"sha256": of the test file that the items are from, "rows": how many that file has,
                          "thinks": whether the models are to think before they answer}
    items.jsonl          what was asked
    answers-N.jsonl      what model N answered
    corrections.jsonl    one line per change, append-only; each has a name of its own as "change": {"id": item,
                         "references": [...]}, {"id": item, "category": text or null, "language": text or null},
                         {"id": item, "removed": true}, or {"undo": name of a change}. The rows stay as they were asked.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.evaluation.scores.metrics import METRICS, main_metric, needs_intl, row_counts, row_values
from slmstudio.core.evaluation.scores.score_table import ScoreTable
from slmstudio.core.i18n import tr

# -- Corrections of an evaluation's rows, kept beside them: the rows and the test file stay as they were asked.

CORRECTIONS = "corrections.jsonl"


@dataclass(frozen=True)
class Corrections:
    """
    Attributes:
        values: by item, what it has instead of what it was asked with.
        removed: items that count no more.
    """

    values: dict[int, dict[str, Any]] = field(default_factory=dict)
    removed: frozenset[int] = frozenset()

    def applied(self, items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**item, **self.values.get(item["id"], {})} for item in items if item["id"] not in self.removed]

    def has_other_references(self, item: Any) -> bool:
        """Whether nobody has asked a model, or a judge, about the item's references as they are now."""
        return "references" in self.values.get(item, {})

    def counts(self, item: Any) -> bool:
        """Whether what a judge said about the item still holds."""
        return item not in self.removed and not self.has_other_references(item)


def read_corrections(folder: Path) -> Corrections:
    """The changes that hold: of several of a row's references, or of its tags, the last."""
    lines = list(files.LineReader(folder / CORRECTIONS).read())
    undone = {line["undo"] for line in lines if isinstance(line.get("undo"), str)}
    values: dict[int, dict[str, Any]] = {}
    removed = set()
    for line in lines:
        item = line.get("id")
        if not isinstance(item, int) or line.get("change") in undone:
            continue
        if line.get("removed"):
            removed.add(item)
        elif isinstance(line.get("references"), list):
            values[item] = values.get(item, {}) | {"references": line["references"]}
        elif "category" in line:
            values[item] = values.get(item, {}) | {
                "category": line["category"], "language": line.get("language"), "language_guessed": False}
    return Corrections(values, frozenset(removed))


def add_correction(folder: Path, item: int, **change: Any) -> str:
    """Keep a change of a row; its name. Raises OSError."""
    name = secrets.token_hex(8)
    files.append_line(folder / CORRECTIONS, {"change": name, "id": item, **change})
    return name


def undo_correction(folder: Path, change: str) -> None:
    """Let a change count no more. Raises OSError."""
    files.append_line(folder / CORRECTIONS, {"undo": change})


# -- What is known about an evaluation's items beside themselves: items.json, written before items.jsonl.

ITEMS_FACTS = "items.json"


def items_facts(digest: str, rows: int, thinks: bool) -> bytes:
    return files.dump_pretty({"sha256": digest, "rows": rows, "thinks": thinks}).encode()


def test_file_sha256(folder: Path) -> str | None:
    """The hash of the test file that was asked; None if it isn't known."""
    found = _items_facts(folder).get("sha256")
    return found if isinstance(found, str) else None


def test_file_rows(folder: Path) -> int | None:
    """How many rows of the test file could have been asked; None if it isn't known."""
    found = _items_facts(folder).get("rows")
    return found if isinstance(found, int) else None


def may_think(folder: Path) -> bool:
    """Whether the models are to think, where they can."""
    return bool(_items_facts(folder).get("thinks", True))


def _items_facts(folder: Path) -> dict[str, Any]:
    return files.read_json(folder / ITEMS_FACTS) or {}


# -- What a model thinks before it answers, `<think>…</think>`: no part of the answer, and kept beside it.

OPEN, CLOSE = "<think>", "</think>"
KEY = "thoughts"
"""In the line of an answer: what the model thought before it; None if it thought nothing."""


def split_thoughts(text: str, opened: bool = False, ended: bool = False) -> tuple[str | None, str]:
    """The thoughts that a text begins with, None if it begins with none, and what follows them.

    Args:
        opened: whether what comes before the text has begun to think.
        ended: whether the text's writer ended by itself: then it isn't a thought, unless it says where the thought
            ends. Of a text that was cut, thoughts that don't end are all there is.

    >>> split_thoughts("<think>\\n2 + 2\\n</think>\\n\\n4"), split_thoughts("4"), split_thoughts("Well</think>4", True)
    (('2 + 2', '4'), (None, '4'), ('Well', '4'))
    """
    begun = text.lstrip()
    if (ended and CLOSE not in begun) or (not opened and not begun.startswith(OPEN)):
        return None, text
    thoughts, _, answer = begun.removeprefix(OPEN).partition(CLOSE)
    return thoughts.strip(), answer.strip()


def answer_of(text: str) -> str:
    """A text without the thoughts before it; one that holds nothing else stays as it is."""
    return split_thoughts(text)[1] or text


def opens(prompt: str) -> bool:
    """Whether a rendered prompt ends where the thoughts begin, as that of a model does which always thinks."""
    return prompt.rstrip().endswith(OPEN)


def have_thoughts(references: Iterable[str]) -> bool:
    """Whether any of these references shows how to think, so that models are to think too."""
    return any(CLOSE in each for each in references)


def is_cut(line: Mapping[str, Any]) -> bool:
    """Whether an answer's line has thoughts alone, since there was no room for more."""
    return line.get(KEY) is not None and not line.get("answer") and line.get("finish") == "length"


ITEMS = "items.jsonl"


@dataclass(frozen=True)
class Row:
    """One item with what each model made of it.

    Attributes:
        id: its place in the test set, from 0.
        line: of the test file, from 1.
        answers: name of a model → its answer; a model that gave none is left out.
        scores: name of a model → key of a metric → score of this row.
        skipped: name of a model → why it gave no answer.
    """

    id: int
    line: int | None
    kind: str
    messages: list[dict[str, str]]
    references: list[str]
    category: str | None
    language: str | None
    trained_on: bool
    answers: dict[str, str] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def gain(self, of: str, with_: str) -> float | None:
        """How much better `of` did than `with_` by the metric that decides for rows of this kind, in its unit; None if
        one of them has no score."""
        first, second = self.scores.get(of, {}), self.scores.get(with_, {})
        key = main_metric(first, [self.kind])
        if key is None or key not in first or key not in second:
            return None
        gain = first[key] - second[key]
        return gain if METRICS[key].higher_is_better else -gain


class Rows:
    """All items in the order of the test set, each with the models' answers: (item, one answer or None a model). Both
    are as they are scored, which is without the thoughts before an answer or a reference.

    Answers are held in memory as read; of several to one item, as after a kill in the middle of a batch, the last
    counts.

    Attributes:
        names: of the models; the first is what others are compared with.
        damaged: lines that couldn't be read, as one that a power cut has left.
        sha256: of the test file that the items are from; None if that isn't known.
    """

    def __init__(self, items: list[dict[str, Any]], answers: list[dict[int, dict[str, Any]]], names: list[str],
                 request: dict[str, Any], damaged: int, sha256: str | None = None):
        self._items, self._answers = items, answers
        self.names, self.request, self.damaged, self.sha256 = names, request, damaged, sha256

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any] | None]]]:
        for item in self._items:
            yield _without_thoughts(item), self._given(item)

    def _given(self, item: Mapping[str, Any]) -> list[dict[str, Any] | None]:
        return [answers.get(item["id"]) for answers in self._answers]

    def scored(self, progress: Callable[[int, int], None] | None = None, known: Iterable[Row] = ()) -> list[Row]:
        """Each row with its own scores.

        Args:
            progress: called with (rows scored, rows) now and then; what it raises ends the scoring.
            known: rows that were scored before; those with the same references and answers aren't scored again.
        """
        intl = self.need_intl()
        before = {row.id: row for row in known}
        found: list[Row] = []
        for item in self._items:
            if progress and len(found) % 256 == 0:
                progress(len(found), len(self))
            old = before.get(item["id"])
            if old is not None and old.references == item.get("references") and old.kind == item.get("kind"):
                found.append(replace(old, line=item.get("line"), category=item.get("category"),
                                     language=item.get("language")))
            else:
                found.append(self._row(item, self._given(item), intl))
        return found

    def scored_with_ends(self) -> Iterator[tuple[Row, dict[str, str]]]:
        """Row after row, as they are asked for: each with its scores, and how each model's answer ended."""
        intl = self.need_intl()
        for item in self._items:
            given = self._given(item)
            yield self._row(item, given, intl), {name: str(line.get("finish")) for name, line in zip(
                self.names, given, strict=True) if line}

    def thought(self, model: int) -> bool:
        """Whether a model thought before it answered, in any row."""
        return any(line.get(KEY) for line in self._answers[model].values())

    def table(self, progress: Callable[[int, int], None] | None = None) -> ScoreTable:
        """The scores of all rows.

        Args:
            progress: called with (rows scored, rows), and at the end for each interval and comparison with all of
                them; what it raises ends the work.
        """
        table = ScoreTable(len(self.names), self.need_intl())
        for done, (item, answers) in enumerate(self):
            table.add(item, answers)
            if progress and done % 256 == 0:
                progress(done, len(self))
        table.close(lambda: progress(len(self), len(self)) if progress else None)
        return table

    def need_intl(self) -> bool:
        """Whether any reference has punctuation that BLEU's usual tokenizer doesn't know."""
        return any(map(needs_intl, map(_without_thoughts, self._items)))

    def _row(self, item: dict[str, Any], answers: list[dict[str, Any] | None], intl: bool) -> Row:
        messages = [each for each in item.get("messages") or [] if isinstance(each, dict)]
        row = Row(item["id"], item.get("line"), item.get("kind") or "free", messages,
                  [str(each) for each in item.get("references") or []], item.get("category"), item.get("language"),
                  bool(item.get("trained_on")))
        all_counts = row_counts(_without_thoughts(item), answers, intl)
        for name, answer, counts in zip(self.names, answers, all_counts, strict=True):
            if answer is None:
                continue
            if answer.get("skipped"):
                row.skipped[name] = tr(str(answer["skipped"]))
                continue
            row.answers[name] = str(answer.get("answer") or "")
            row.scores[name] = dict(row_values(counts))
        return row


def _without_thoughts(item: dict[str, Any]) -> dict[str, Any]:
    references = item.get("references") or []
    if not any(isinstance(each, str) and OPEN in each for each in references):
        return item
    return {**item, "references": [answer_of(each) if isinstance(each, str) else each for each in references]}


def read_rows(folder: Path) -> Rows:
    """Raises UserError: there are no items, or none was answered, or a file can't be read."""
    request = files.read_json(folder / jobs.REQUEST) or {}
    models = request.get("models")
    names = [str((model.get("name") if isinstance(model, dict) else "") or f"model {i}")
             for i, model in enumerate(models if isinstance(models, list) else [])]
    if not names:
        names = [path.stem for path in sorted(folder.glob("answers-*.jsonl"))]
    with os_errors_as(tr("Could not read the answers.")):
        items, damaged = _read(folder / ITEMS, _ITEM)
        answers = []
        for i in range(len(names)):
            lines, lost = _read(folder / f"answers-{i}.jsonl", _ANSWER)
            answers.append(lines)
            damaged += lost
    if not items or not any(answers):
        raise UserError(tr("There is nothing to score in {folder}.", folder=folder.name),
                        tr("The evaluation has no test rows yet.") if not items else
                        tr("The evaluation has no answers yet."),
                        tr("Start it, or let it continue, and come back."))
    found = read_corrections(folder)
    answers = [{item: {**line, **NOT_MEASURED} if found.has_other_references(item) else line
                for item, line in each.items()} for each in answers] if found.values else answers
    return Rows(found.applied(items.values()), answers, names, request, damaged, test_file_sha256(folder))


NOT_MEASURED: dict[str, Any] = {"reference_nats": [], "reference_tokens": []}
"""How likely a model held references that nobody has asked it about."""
_ITEM = {"kind": str, "messages": list, "references": list, "choices": list}
_ANSWER = {"reference_nats": list, "reference_tokens": list, "choice_logprobs": list}
"""What each value must be, where there is one."""


def _read(path: Path, shape: Mapping[str, type]) -> tuple[dict[int, dict[str, Any]], int]:
    """Lines by their id, in the order of the file, and how many are damaged."""
    reader, found, lost = files.LineReader(path), {}, 0
    for line in reader.read():
        if isinstance(line.get("id"), int) and all(
                line.get(key) is None or isinstance(line[key], kind) for key, kind in shape.items()):
            found[line["id"]] = line
        else:
            lost += 1
    return found, lost + reader.damaged
