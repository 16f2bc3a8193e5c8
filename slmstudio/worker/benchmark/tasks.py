"""lm_eval's own tasks, told to take their data from a folder on this machine."""

from __future__ import annotations

import csv
import functools
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.evaluation import benchmark_store
from slmstudio.core.evaluation.testset.reader import COLUMNS, LAYOUT, find_mmlu, rows_in
from slmstudio.core.i18n import ntr, tr

# -- Folders in MMLU's layout: dev/SUBJECT_dev.csv and test/SUBJECT_test.csv of question,A,B,C,D,answer.

MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Subject:
    """
    Attributes:
        name: as in file names.
        test, dev: rows {"question", "choices", "answer", "subject"} as lm_eval's MMLU has them; few-shot examples are
            taken from dev.
    """

    name: str
    test: list[dict[str, Any]]
    dev: list[dict[str, Any]]


def read_mmlu(folder: Path, only: str | None = None) -> tuple[list[Subject], tuple[str, ...]]:
    """Read all subjects of a folder, or one.

    Returns:
        The subjects by name; and what must be said about them.

    Raises:
        UserError: with everything that is wrong.
    """
    found = find_mmlu(folder)
    files = {name: splits for name, splits in found.files.items() if only in (None, name)}
    if not files:
        raise UserError(tr("{folder} doesn't have {subject}.", folder=folder.name, subject=only), "", tr(LAYOUT))
    problems = [Problem(tr("The subject {subject} has no test file, only: {splits}.", subject=name,
                           splits=", ".join(splits)))
                for name, splits in sorted(files.items()) if "test" not in splits]
    with_dev = {name for name, splits in files.items() if "dev" in splits}
    if with_dev:
        problems += [Problem(tr("The subject {subject} has no dev file, unlike the others.", subject=name))
                     for name in sorted(files.keys() - with_dev)]
    subjects = []
    for name, splits in sorted(files.items()):
        rows = {split: _rows(path, name, problems) for split, path in splits.items() if split != "val"}
        subjects.append(Subject(name, rows.get("test", []), rows.get("dev", [])))
    if problems:
        more = len(problems) - MOST_PROBLEMS
        raise UserError(tr("The benchmark in {folder} is incomplete.", folder=folder.name),
                        ntr("And {n:,} more.", "And {n:,} more.", more) if more > 0 else "", tr(LAYOUT),
                        problems[:MOST_PROBLEMS])
    return subjects, () if only else found.missing


def has_subject(folder: Path, name: str) -> bool:
    try:
        return name in find_mmlu(folder).files
    except UserError:
        return False


def _rows(path: Path, subject: str, problems: list[Problem]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    where = f"{path.parent.name}/{path.name}"
    try:
        for line, cells in rows_in(path):
            wrong = _wrong(cells)
            if wrong:
                problems.append(Problem(f"{where}: {wrong}", line=line))
            else:
                rows.append({"question": cells[0], "choices": cells[1:5], "subject": subject,
                             "answer": "ABCD".index(cells[5].strip())})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(Problem(tr("{file} can't be read: {reason}.", file=where, reason=error)))
        return rows
    if not rows:
        problems.append(Problem(tr("{file} has no questions.", file=where)))
    return rows


def _wrong(cells: list[str]) -> str:
    if len(cells) != len(COLUMNS):
        return ntr("{n} column where 6 are needed.", "{n} columns where 6 are needed.", len(cells))
    if cells[5].strip() not in ("A", "B", "C", "D"):
        return tr("the answer is {answer!r}, not A, B, C or D.", answer=cells[5].strip())
    if not cells[0].strip() or not any(cell.strip() for cell in cells[1:5]):
        return tr("the question or its choices are empty.")
    return ""


LOADERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
SPLITS = {"train": "train", "test": "test", "validation": "validation", "valid": "validation", "val": "validation",
          "dev": "dev"}
METRICS = ("acc_norm", "acc", "exact_match")
"""Which metric the field quotes, of those that a task has."""
MMLU = "cais/mmlu"
TITLES = {"mmlu": "MMLU", "arc_challenge": "ARC Challenge", "arc_easy": "ARC Easy", "hellaswag": "HellaSwag",
          "gsm8k": "GSM8K", "m_mmlu_hi": "MMLU in Hindi", "global_mmlu_hi": "Global MMLU in Hindi",
          "arc_hi": "ARC in Hindi", "hellaswag_hi": "HellaSwag in Hindi", "indicparam": "IndicParam"}


@dataclass(frozen=True)
class Tasks:
    """What lm_eval is asked to run.

    Attributes:
        subjects: task: what people read.
        metric: the one that counts; `filter`: of several ways to read an answer, the one that counts.
        notes: what must be said about the data.
    """

    folder: Path
    names: tuple[str, ...]
    subjects: dict[str, str]
    title: str
    metric: str
    filter: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where a task takes its data from: what it hands to `datasets.load_dataset`."""

    dataset: str
    part: str
    options: dict[str, Any]


def write_tasks(name: str, data: Path | None, place: Path) -> Tasks:
    """Write the YAML files of a benchmark into `place`.

    Args:
        name: "mmlu" for a folder in MMLU's layout, "mmlu_anatomy" for one subject of it, or any task or group of
            lm_eval whose data are in `data` as they are on the hub: one file or more a split, in JSONL, Parquet or CSV.
        data: None takes what was fetched.

    Raises:
        UserError: the benchmark isn't known, or its data is incomplete.
    """
    if data is None:
        fetched = benchmark_store.find(name)
        if fetched is None:
            raise benchmark_store.missing(name)
        (place / "tasks").mkdir(parents=True, exist_ok=True)
        return _Stock(name, None, place / "tasks", place, fetched).write()
    if not data.is_dir():
        raise UserError(tr("{data} isn't a folder.", data=data), "",
                        tr("Choose the folder with the benchmark's files."))
    folder = place / "tasks"
    folder.mkdir(parents=True, exist_ok=True)
    subject = name.removeprefix("mmlu_") if name.startswith("mmlu_") else None
    if name == "mmlu" or (subject and has_subject(data, subject)):
        subjects, notes = read_mmlu(data, subject)
        for each in subjects:
            _write_subject(each, folder, place / "data")
        named = {f"mmlu_{each.name}": each.name.replace("_", " ") for each in subjects}
        return Tasks(folder, tuple(named), named, _mmlu_title(name), "acc", notes=notes)
    return _Stock(name, data, folder, place).write()


def _mmlu_title(name: str) -> str:
    """With the part of it that is asked: scores of a subject aren't those of all.

    >>> _mmlu_title("mmlu"), _mmlu_title("mmlu_high_school_physics")
    ('MMLU', 'MMLU (high school physics)')
    """
    part = name.removeprefix("mmlu").strip("_").replace("_", " ")
    return TITLES["mmlu"] + (f" ({part})" if part else "")


def _write_subject(subject: Subject, folder: Path, data: Path) -> None:
    """A task equal to the harness's own: its template, description and few-shot rule, with the folder's questions."""
    splits = {}
    for split, rows in (("test", subject.test), ("dev", subject.dev)):
        if rows:
            splits[split] = data / f"{subject.name}_{split}.jsonl"
            files.write_atomically(splits[split], b"".join(map(files.dump_line, rows)))
    config = {
        "include": str(harness_tasks() / "mmlu" / "default" / "_default_template_yaml"),
        "task": f"mmlu_{subject.name}",
        "task_alias": subject.name.replace("_", " "),
        "description": f"The following are multiple choice questions (with answers) about "
                       f"{subject.name.replace('_', ' ')}.\n\n",
        **_source("json", {split: [path] for split, path in splits.items()}, data.parent),
        **({} if subject.dev else {"fewshot_split": None}),
    }
    _write_yaml(folder / f"mmlu_{subject.name}.yaml", config)


def _source(loader: str, splits: dict[str, list[Path]], place: Path) -> dict[str, Any]:
    """The keys that send a task to files instead of the hub."""
    return {"dataset_path": loader, "dataset_name": None, "dataset_kwargs": {
        "data_files": {split: [str(path) for path in paths] for split, paths in splits.items()},
        "cache_dir": str(place / "cache")}}


def _write_yaml(path: Path, config: dict[str, Any]) -> None:
    import yaml

    files.write_atomically(path, yaml.safe_dump(config, allow_unicode=True, sort_keys=False))


def harness_tasks() -> Path:
    """The folder of lm_eval's own tasks."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(tr("lm_eval isn't installed."), "", tr("Run: {command}", command=program.setup_command()))
    return Path(spec.submodule_search_locations[0]) / "tasks"


def sources_of(name: str) -> dict[str, Source]:
    """Where the tasks of a benchmark take their data from, by task.

    Raises:
        UserError: the benchmark isn't known, or one of its tasks makes its data by a program of its own.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    found = {}
    for task, entry in _entries(name).items():
        whole = load_yaml(entry.yaml_path, resolve_func=False)
        if not whole.get("dataset_path") or whole.get("custom_dataset"):
            raise UserError(tr("The data of {task} can't be downloaded.", task=task),
                            tr("The benchmark generates its data with a program of its own."),
                            tr("Choose another benchmark, or a folder that has its data."))
        found[task] = Source(whole["dataset_path"], str(whole.get("dataset_name") or ""),
                             dict(whole.get("dataset_kwargs") or {}))
    return found


def _entries(name: str) -> dict[str, Any]:
    """lm_eval's own entry of each task behind a name."""
    index = _index()
    found = {task: index[task] for task in dict.fromkeys(_members(index, name))}
    if not found:
        raise UserError(tr("The benchmark {benchmark} has no tasks that can be run.", benchmark=name), "",
                        tr("Choose another one."))
    return found


@functools.cache
def _index() -> Any:
    """All that lm_eval has, by name; it looks through thousands of files, which takes seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager().task_index


def _members(index: Any, name: str) -> Iterator[str]:
    """The tasks behind a name: a group's, a tag's, or the task itself."""
    entry = index.get(name)
    if entry is None:
        raise _unknown(name, list(index))
    if entry.kind.name == "GROUP":
        for member in entry.cfg["task"]:
            yield from _members(index, member if isinstance(member, str) else member["task"])
    elif entry.kind.name == "TAG":
        for member in sorted(entry.tags):
            yield from _members(index, member)
    else:
        yield name


class _Stock:
    """A task or group that lm_eval has, with its data in a folder, or as they were fetched."""

    def __init__(self, name: str, data: Path | None, folder: Path, place: Path,
                 fetched: benchmark_store.Fetched | None = None):
        self.name, self.data, self.folder, self.place, self.fetched = name, data, folder, place, fetched

    def write(self) -> Tasks:
        configs = {name: self._config(entry) for name, entry in _entries(self.name).items()}
        metrics = [{entry["metric"] for entry in config.get("metric_list") or []} for config in configs.values()]
        metric = next((each for each in METRICS if all(each in found for found in metrics)), None)
        if metric is None:
            raise UserError(tr("The benchmark {benchmark} doesn't count right answers.", benchmark=self.name),
                            tr("Only benchmarks that measure accuracy or exact match can be shown here."),
                            tr("Choose another one."))
        filters = next(iter(configs.values())).get("filter_list") or []
        title, subjects = TITLES.get(self.name, self.name), {name: name for name in configs}
        if all(config.get("dataset_path") == MMLU and name.startswith("mmlu_") for name, config in configs.items()):
            title = _mmlu_title(self.name)  # as of a folder in its own layout
            subjects = {name: name.removeprefix("mmlu_").replace("_", " ") for name in configs}
        return Tasks(self.folder, tuple(configs), subjects, title, metric, filters[0]["name"] if filters else None)

    def _config(self, entry: Any) -> dict[str, Any]:
        """Write a task's YAML; returns its whole configuration."""
        from lm_eval.tasks._yaml_loader import load_yaml

        whole: dict[str, Any] = load_yaml(entry.yaml_path, resolve_func=False)
        wanted = {whole.get(key) for key in ("test_split", "fewshot_split")} - {None}
        if not whole.get("test_split"):
            wanted.add(whole.get("validation_split") or "validation")
        if whole.get("num_fewshot") and not whole.get("fewshot_split") and whole.get("training_split"):
            wanted.add(whole["training_split"])  # without it, lm_eval would take the questions for examples
        splits, loader = self._fetched(entry.name) if self.fetched else self._find(whole.get("dataset_name"))
        # A file called "val" may be what the task calls "validation", or the other way round.
        named = {SPLITS.get(split, split): paths for split, paths in splits.items()}
        missing = sorted(split for split in wanted if SPLITS.get(split, split) not in named)
        if missing:
            values = {"missing": ", ".join(missing), "task": entry.name}
            raise UserError(tr("{folder} lacks these splits of {task}: {missing}.", folder=self.data, **values)
                            if self.data else
                            tr("The download lacks these splits of {task}: {missing}.", **values),
                            tr("Found: {splits}.", splits=", ".join(sorted(named)) or tr("nothing")),
                            tr("Put a file for each split there, named as on the hub, for example test.jsonl or "
                               "test-00000-of-00001.parquet."))
        used = {key for key in ("training_split", "validation_split", "test_split", "fewshot_split") if whole.get(key)}
        chosen = {whole[key]: named[SPLITS.get(whole[key], whole[key])] for key in used
                  if SPLITS.get(whole[key], whole[key]) in named}
        absent = {key: None for key in used if whole[key] not in chosen}
        _write_yaml(self.folder / f"{entry.name}.yaml", {
            "include": str(entry.yaml_path), "task": entry.name, **_source(loader, chosen, self.place), **absent})
        return whole

    def _fetched(self, task: str) -> tuple[dict[str, list[Path]], str]:
        assert self.fetched is not None
        if task not in self.fetched.tasks:  # fetched by another version of lm_eval, whose group had other tasks
            raise benchmark_store.missing(self.name)
        data_set = benchmark_store.read_data_set(self.fetched.tasks[task].folder, hashes=True)
        return {split: [path] for split, path in data_set.splits.items()}, "parquet"

    def _find(self, part: str | None) -> tuple[dict[str, list[Path]], str]:
        """The files of each split, of the part of the dataset that a task uses, if the folder has parts."""
        assert self.data is not None
        roots = [self.data / part] if part and (self.data / part).is_dir() else [self.data]
        found: dict[str, dict[str, list[Path]]] = {}
        for path in sorted(path for root in roots for path in root.rglob("*") if path.suffix.lower() in LOADERS):
            words = re.split(r"[-_.\s/\\]+", str(path.relative_to(roots[0])).lower())
            split = next((SPLITS[word] for word in words if word in SPLITS), None)
            if split:
                found.setdefault(LOADERS[path.suffix.lower()], {}).setdefault(split, []).append(path)
        loader = max(found, key=lambda each: len(found[each]), default="json")
        return found.get(loader, {}), loader


def _unknown(name: str, known: list[str]) -> UserError:
    import difflib

    near = difflib.get_close_matches(name, known, 3)
    return UserError(tr("The benchmark {benchmark} isn't known.", benchmark=name),
                     tr("Did you mean: {names}?", names=", ".join(near)) if near else "",
                     tr("lm_eval's own list of tasks has all of them."))
