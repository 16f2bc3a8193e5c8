"""What an evaluation is asked to do: proposed for a run, or for a model without one, and made into a job.
`request_check` says what may be asked.

    {"kind": "evaluate", "test": path or null, "limit": rows or null, "seed": 0,
     "test_columns": what a user said about the test file's columns, as `read_options.parse` reads it, or left out,
     "benchmark": null or {"name", "data": folder or null for what was fetched, "fetch": true where it may be fetched,
                           "limit": questions a subject or null, "shots": n or null},
     "models": [{"name", "model": folder or null, "adapter": folder or null, "gguf": path or null,
                 "load_in_4bit": true or left out, "chat_template": name of the run's, or left out,
                 "system": text instead of the request's, or left out, "context": rows that it is shown with each
                 question (`core.chat.context`), or left out}, ...],
     "train_run": folder or null, "train_file": path or null, "train_split": null or {"eval_fraction", "seed", "by"},
     "system": text or null, "max_new_tokens": n, "precision": "fp32" | "bf16" | "fp16", "batch_size": n or null,
     "first": how many rows all models answer before the others, and are shown meanwhile, or left out,
     "judge": null or {"model": folder or null, "gguf": path or null, "rubric": text},
     "general": whether base and tuned model are asked general questions besides (`evaluation.general`), or left out}

A model with a GGUF file and an adapter is that base with a GGUF LoRA beside it.

The first model is what the others are compared with. The rows that `train_run` keeps and has learned are compared with
the test set; of a run that keeps none those of `train_file`, with `train_split` only the ones that were learned.

The result of a QLoRA run is loaded as it learned: the base in 4 bits, the adapter beside it. So is the base that it is
compared with, under equal terms: the difference is what was learned, and not what rounding cost. What the base can do
in its own precision is told by the same folder, added as another model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space, files, jobs, paths, program
from slmstudio.core.chat import partners
from slmstudio.core.chat.context import RETRIEVAL
from slmstudio.core.data import split
from slmstudio.core.data.reader import Dataset, read_as
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.evaluation import rival_models
from slmstudio.core.evaluation.comparability import unique
from slmstudio.core.evaluation.held_out import own_test_file, write_held_out
from slmstudio.core.evaluation.request_check import Checked, check
from slmstudio.core.evaluation.rival_models import BASE, PROMPT
from slmstudio.core.evaluation.scoring import SCORES
from slmstudio.core.evaluation.testset.reader import read_test_set
from slmstudio.core.hardware.machine import Gpu, read_gpus
from slmstudio.core.i18n import tr
from slmstudio.core.jobs import new
from slmstudio.core.model import library
from slmstudio.core.model.architecture import FP16_OVERFLOWS
from slmstudio.core.model.facts import model_name, read_model
from slmstudio.core.model.gguf.model import read_gguf
from slmstudio.core.model.hub import on_disk
from slmstudio.core.run import adjust, checkpoints, folder, named
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.config_file import IMPORTED

# -- Models that a user names by a path, in the form in which a request holds them.


def model_at(place: Path | str, unfinished: bool = False) -> dict[str, Any]:
    """What a path or a name means: the result of a run, a model folder, a GGUF file, or with "starter" the starter
    model.

    Args:
        unfinished: whether the last checkpoint of a run will do, where it has no result.

    Returns:
        {"name", "model", "adapter", "gguf"} as in a request, with "load_in_4bit" where the run is a QLoRA one,
        "chat_template" where it chose one, and "checkpoint" with its step where it is one.

    Raises:
        UserError: it isn't a model, or is a run without a result.
    """
    path = Path(place)
    if str(place) == library.STARTER and not path.exists():
        from slmstudio.core import starter

        return {"name": library.STARTER, "model": str(starter.prepare().path), "adapter": None, "gguf": None}
    if path.suffix.lower() == ".gguf" and path.is_file():
        return {"name": path.stem, "model": None, "adapter": None, "gguf": str(path.absolute())}
    if (run := named.find(place)) is not None:
        return _result_of(run, unfinished)
    try:
        folder_ = on_disk.resolve(str(place))
    except UserError:
        if "/" in str(place):
            raise
        folder_ = path  # it may as well be a run whose folder is elsewhere
    if (folder_ / "config.json").is_file():
        return {"name": model_name(folder_), "model": str(folder_), "adapter": None, "gguf": None}
    why = tr("It isn't a run, a model folder or a GGUF file.")
    raise UserError(tr("{place} can't be used as a model.", place=place), f"{why} {named.similar(place)}".strip(),
                    tr("To see the runs: {command}", command=program.command("runs")))


def _result_of(run: Path, unfinished: bool) -> dict[str, Any]:
    config = adjust.apply(RunConfig.from_dict(jobs.Job(run).request()), run)
    result, step = folder.result_folder(run), {}
    if result is None and unfinished:
        kept = checkpoints.newest_good(run / folder.CHECKPOINTS, lambda *damaged: None)  # an older one will do as well
        result, step = (kept.path, {"checkpoint": kept.global_step}) if kept else (None, {})
    if result is None:
        raise folder.no_result(run, config.name)
    return {**_tuned_model(config.name, config, result), **step}


def _tuned_model(name: str, config: RunConfig, result: Path) -> dict[str, Any]:
    """The result of a run, an adapter or a whole model, or a checkpoint of it."""
    is_adapter = {folder.ADAPTER: True, folder.MODEL: False}.get(result.name, config.has_adapter)
    return {"name": name, "model": str(Path(config.model).absolute()) if is_adapter else str(result),
            "adapter": str(result) if is_adapter else None, "gguf": None,
            **loading_options(config, whole=not is_adapter)}


def loading_options(config: RunConfig, whole: bool = False) -> dict[str, Any]:
    """What a model of a request says about its weights and its chat template, so that it is held and asked as while the
    run learned.

    Args:
        whole: whether it is a whole model that the run has left: its chat template is in it.
    """
    return {**({"load_in_4bit": True} if config.method == "qlora" else {}),
            **({"chat_template": config.chat_template} if config.chat_template and not whole else {})}


def precision_of(models: Iterable[Mapping[str, Any]], gpu: Gpu | None) -> str:
    """In which number format to evaluate models that don't come from a run: on a GPU in that of their checkpoints, if
    it has that, the widest if they differ, since it must hold all of them; on the processor in fp32, in which all of
    them run well.

    Args:
        gpu: that will be used; None for the processor.
    """
    if gpu is None:
        return "fp32"
    ampere = (gpu.compute_capability or (0, 0)) >= (8, 0)
    formats = set()
    for model in models:
        with contextlib.suppress(UserError):  # `request_check` tells what is wrong with it
            if model.get("model"):
                facts = read_model(model["model"])
                formats.add("fp32" if facts.model_type in FP16_OVERFLOWS and not ampere else facts.dtype)
    if "fp32" in formats:
        return "fp32"
    return "bf16" if ampere and formats != {"fp16"} else "fp16"


def with_own_name(model: Mapping[str, Any], others: Iterable[str]) -> dict[str, Any]:
    """The model under a name that none of the others has.

    >>> with_own_name({"name": "base"}, ["base", "base (2)"])
    {'name': 'base (3)'}
    """
    return {**model, "name": unique([*others, str(model["name"])])[-1]}


__all__ = ["Checked", "check", "create", "propose"]

ENOUGH_ROWS = 200
"""Rows that are drawn from a larger test set: their intervals are narrow enough for most questions."""
SAMPLED = 100
"""References that are measured in order to propose the answers' length."""
SHORTEST, USUAL, LONGEST = 32, 256, 1024
"""Tokens of an answer that are proposed."""


def propose(run: Path, exports: bool = False, cancelled: Callable[[], bool] | None = None,
            rivals: Sequence[str] = (), system: str | None = None) -> dict[str, Any]:
    """A request that compares a run's result with its base model, on rows that the run never learned.

    Reads the run's data: seconds for a large file, so not on the UI thread.

    Args:
        exports: whether its GGUF files are evaluated too.
        rivals: of the tuned model, some of `rival_models.NAMES`.
        system: the system prompt of those that are the base; None proposes one from the rows that were learned.

    Returns:
        The request; "test" is null where no rows were held out, with the reason under "no_test" (text).

    Raises:
        UserError: run.json can't be used, the run has no result yet, or there is no such rival.
        ReadingCancelled: `cancelled` said so.
    """
    place = run.absolute()
    state = jobs.Job(place).request()
    config, imported = adjust.apply(RunConfig.from_dict(state), place), IMPORTED in state
    models = run_models(place, config, exports)
    test, no_test = _test(place, config, cancelled) if not imported else (
        None, tr("The adapter was trained elsewhere, so the rows it learned from aren't known."))
    said = config.eval_map if config.eval_file and test == Path(config.eval_file).absolute() else None
    rows, tokens, said = measure(test, said, models, cancelled)
    if rivals:
        models = rival_models.added(models, rivals, rival_models.system_for_run(place) if system is None else system)
    return {
        "kind": "evaluate", "test": str(test) if test else None, "no_test": no_test, "test_columns": said,
        "limit": ENOUGH_ROWS if rows > ENOUGH_ROWS else None, "seed": 0, "benchmark": None, "models": models,
        "train_run": str(place), "train_map": config.train_map,
        "train_file": None if imported else str(Path(config.train_file).absolute()),
        "train_split": None if config.eval_file else {
            "eval_fraction": config.eval_fraction, "seed": config.split_seed, "by": config.split_by},
        "system": None, "max_new_tokens": tokens, "precision": config.precision, "batch_size": None, "judge": None,
        "general": True,
    }


def run_models(run: Path, config: RunConfig, exports: bool) -> list[dict[str, Any]]:
    """The base model, the result, and where wanted the GGUF exports by their quantization type; and the adapter beside
    each GGUF file of the base that is here, where the run has it as GGUF LoRA.

    Raises:
        UserError: the run has no result.
    """
    result = folder.result_folder(run)
    if result is None:
        raise folder.no_result(run, config.name)
    models = [{"name": "base", "model": str(Path(config.model).absolute()), "adapter": None, "gguf": None,
               **loading_options(config)}, _tuned_model("tuned", config, result)]
    for path in folder.exported(run) if exports else ():
        name = path.stem
        with contextlib.suppress(UserError):  # `check` tells what is wrong with it
            name = read_gguf(path).quantization
        if any(model["name"] == name for model in models):
            name = path.stem
        models.append({"name": name, "model": None, "adapter": None, "gguf": str(path)})
    for base, lora in partners.quantized_bases(run) if exports else ():
        beside = {"name": f"{read_gguf(base).quantization} + adapter", "model": None, "adapter": str(lora),
                  "gguf": str(base)}
        models.append(with_own_name(beside, [model["name"] for model in models]))
    return models


def create(request: Mapping[str, Any], run: Path | None = None) -> jobs.Job:
    """The job of a checked request, not started: below the run, or below the evaluations that don't belong to a run.

    Raises:
        UserError: its folder can't be written, or the disk is full.
    """
    parent = run / "jobs" if run else paths.evaluations_dir()
    disk_space.require(parent)
    with os_errors_as(tr("Could not create the evaluation's folder.")):
        return new.make(parent, "evaluate", **{key: value for key, value in request.items() if key != "kind"})


def _test(run: Path, config: RunConfig, cancelled: Callable[[], bool] | None) -> tuple[Path | None, str | None]:
    try:
        return own_test_file(run, config, cancelled), None
    except UserError as error:
        if cancelled is not None and cancelled():
            raise
        return None, " ".join(part for part in (error.what, error.why) if part)


def measure(test: Path | None, said: str | None, models: list[dict[str, Any]],
             cancelled: Callable[[], bool] | None) -> tuple[int, int, str | None]:
    """How many rows there are; how many tokens an answer needs: one and a half times the longest of some; and what the
    columns hold: training has read them so, too."""
    if test is None:
        return 0, USUAL, said
    try:
        found = read_test_set(test, cancelled=cancelled, said=said)
        from slmstudio.core.model.tokens import load_tokenizer

        tokenizer = load_tokenizer(models[0]["model"])
    except UserError:
        if cancelled is not None and cancelled():
            raise
        return 0, USUAL, said
    step = max(1, len(found.items) // SAMPLED)
    texts = [text for item in found.items[::step] for text in item.references[:1] if item.kind != "choice"]
    longest = max((len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts), default=SHORTEST)
    return (len(found.items), max(SHORTEST, min(LONGEST, -(-longest * 3 // 64) * 32)),
            said if found.is_sure else found.candidates[0].line)

# -- A trial: what a model can do without training, on rows that a run of the same file would hold out.

TRIAL_ROWS = 30
"""Held-out rows that are asked: a few minutes on a processor."""
TRIAL_RIVALS = (PROMPT, RETRIEVAL)
"""What is asked beside the bare model, unless others are chosen."""


def propose_trial(data: Path | Dataset, model: str | Path, rows: int = TRIAL_ROWS, rivals: Sequence[str] = TRIAL_RIVALS,
                  columns: str | None = None, system: str | None = None, eval_fraction: float | None = None,
                  split_seed: int = 0, split_by: str = split.ROWS,
                  cancelled: Callable[[], bool] | None = None) -> dict[str, Any]:
    """A request that asks a base model in several ways, to be made into a job by `create`.

    Reads the file where it isn't read yet, and writes the held-out rows beside the evaluations: not for the UI thread.

    Args:
        data: a file with rows, or what was read of it.
        model: as `model_at` reads it.
        rivals: some of `rival_models.NAMES` that need no tuned model.
        columns: what a user said about the file's columns.
        system: of the rivals; None proposes one from the rows that training would learn.
        eval_fraction, split_seed, split_by: as of the run that will learn from this file; by default, as it is planned.

    Raises:
        UserError: the file or the model can't be used, nothing can be held out, or it is plain text.
        ReadingCancelled: `cancelled` said so.
    """
    dataset = data if isinstance(data, Dataset) else read_as(data, columns, cancelled=cancelled)
    share = split.usual_share(len(dataset.records)) if eval_fraction is None else eval_fraction
    held_out = split.held_out(dataset.records, share, split_seed, split_by)
    test = _test_file(dataset, columns, share, split_seed, split_by)
    test.parent.mkdir(parents=True, exist_ok=True)
    write_held_out(test, dataset, held_out, cancelled)
    base = {**model_at(model), "name": BASE}
    if system is None:
        learned = [record for record, out in zip(dataset.records, held_out, strict=True) if not out]
        system = rival_models.proposed_system(learned[:rival_models.SAMPLED])
    models = rival_models.added([base], rivals, system)
    count, tokens, said = measure(test, None, models, cancelled)
    gpus, _ = read_gpus()
    return {"kind": "evaluate", "test": str(test), "test_columns": said, "limit": rows if count > rows else None,
            "seed": 0, "benchmark": None, "models": models, "train_run": None,
            "train_file": str(dataset.path.absolute()), "train_map": columns,
            "train_split": {"eval_fraction": share, "seed": split_seed, "by": split_by, "groups": True},
            "system": None, "max_new_tokens": tokens, "batch_size": None, "judge": None,
            "precision": precision_of(models, gpus[0] if gpus else None)}


def _test_file(dataset: Dataset, columns: str | None, share: float, seed: int, by: str) -> Path:
    """Of the rows that are held out. Its name says what it was made from."""
    made_of = hashlib.sha256(json.dumps([dataset.sha256, columns, share, seed, by]).encode()).hexdigest()
    return paths.evaluations_dir() / f"held-out-{made_of[:12]}.jsonl"


def newest_trial(dataset: Dataset, columns: str | None, eval_fraction: float, split_seed: int, split_by: str,
                 test: Path | None = None) -> Path | None:
    """The folder of the newest trial of these rows, split like this, that has scores; None if there is none.

    Args:
        test: the file with evaluation rows, where they have one of their own.
    """
    asked = str(test or _test_file(dataset, columns, eval_fraction, split_seed, split_by))
    found = []
    for scores in paths.evaluations_dir().glob(f"evaluate-*/{SCORES}"):
        known = files.read_json(scores.parent / jobs.REQUEST) or {}
        if known.get("test") == asked and known.get("train_file") == str(dataset.path.absolute()) and (
                not known.get("train_run")):
            found.append(scores)
    return max(found, key=lambda scores: scores.stat().st_mtime).parent if found else None
