"""Models that a user names by a path, in the form in which a request holds them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from slmstudio.core import jobs, program
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Gpu
from slmstudio.core.i18n import tr
from slmstudio.core.model import library
from slmstudio.core.model.architecture import FP16_OVERFLOWS
from slmstudio.core.model.facts import model_name, read_model
from slmstudio.core.model.hub import on_disk
from slmstudio.core.run import adjust, checkpoints, folder, named
from slmstudio.core.run.config import RunConfig


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
    is_adapter = {folder.ADAPTER: True, folder.MODEL: False}.get(result.name, config.has_adapter)
    return {"name": config.name, "model": str(Path(config.model).absolute()) if is_adapter else str(result),
            "adapter": str(result) if is_adapter else None, "gguf": None, **step,
            **held_as_learned(config, whole=not is_adapter)}


def held_as_learned(config: RunConfig, whole: bool = False) -> dict[str, Any]:
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
    taken, name, number = set(others), str(model["name"]), 2
    while name in taken:
        name, number = f"{model['name']} ({number})", number + 1
    return {**model, "name": name}
