"""What a run changes about itself on the way: less memory after running out of it, and what the user asked for.

run.json stays as it was written. adjustments.json beside it holds the values that came later, so that every later
start of the run, on whatever machine, uses them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.run.config import FIELDS, METHOD, RUN, RunConfig
from slmstudio.core.run.run_fields import SHORTEST

FILE = "adjustments.json"
FIXED = frozenset(name for name, about in FIELDS.items()
                  if about.group in (RUN, METHOD) or name in ("optimizer", "precision", "seed"))
"""Fields on which a run's rows, the shape of its checkpoints, or their meaning depend."""


def load(folder: Path) -> dict[str, Any]:
    """`{"values": {field: value}, "schedule": [{"global_step", "learning_rate", "total_steps"}]}`, or empty.

    Raises:
        UserError: the file is damaged, or a newer program wrote it.
    """
    if not (folder / FILE).exists():
        return {"values": {}, "schedule": []}
    state = formats.read("adjustments", folder / FILE)
    if state is None:
        raise UserError(tr("{file} is damaged.", file=folder / FILE), tr("It isn't a JSON object."),
                        tr("Remove it: the run then continues with the values of run.json."))
    return {"values": dict(state.get("values") or {}), "schedule": list(state.get("schedule") or [])}


def apply(config: RunConfig, folder: Path) -> RunConfig:
    return replace(config, **load(folder)["values"])


def record(folder: Path, values: dict[str, Any]) -> None:
    """Keep values for all later starts.

    Raises:
        OSError: the disk is full or gone.
    """
    state = load(folder)
    state["values"] |= values
    _write(folder, state)


def record_schedule(folder: Path, global_step: int, learning_rate: float | None, total_steps: int) -> None:
    """Keep a change of the learning rate or of the length, which holds from `global_step` on.

    Raises:
        OSError: the disk is full or gone.
    """
    state = load(folder)
    state["schedule"].append({"global_step": global_step, "learning_rate": learning_rate, "total_steps": total_steps})
    _write(folder, state)


def _write(folder: Path, state: dict[str, Any]) -> None:
    files.write_atomically(folder / FILE, files.dump_pretty({**formats.stamp("adjustments"), **state}))


def consent(folder: Path, values: dict[str, Any]) -> None:
    """The user agrees to other values, as to a shorter length when nothing else saves memory.

    Raises:
        UserError: a value doesn't fit its field; all of them at once.
        OSError: the disk is full or gone.
    """
    record(folder, checked(folder, values))


def checked(folder: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Other values for this run, each in its field's type.

    Raises:
        UserError: a value doesn't fit its field, or the field is one of `FIXED`; all of them at once.
    """
    problems, fitting = [], {}
    config = apply(RunConfig.from_dict(files.read_json(folder / "run.json") or {}, folder / "run.json"), folder)
    for name, value in values.items():
        try:
            fitting[name] = FIELDS[name].read(value)
        except (KeyError, ValueError) as error:
            why = tr("It isn't a field of a run.") if isinstance(error, KeyError) else str(error)
            problems.append(Problem(why, field=name))
    if fixed := {name for name, value in fitting.items() if name in FIXED and value != getattr(config, name)}:
        raise _fixed(folder, fixed, values)
    if not problems:
        problems = replace(config, **fitting).problems()
    if problems:
        raise UserError(tr("These values can't be used."), "", tr("Correct them."), problems)
    return fitting


def _fixed(folder: Path, fixed: set[str], values: dict[str, Any]) -> UserError:
    """What to say about values that only a new run can have."""
    typed = {name: ",".join(map(str, value)) if isinstance(value, list) else "" if value is None else value
             for name, value in values.items()}
    settings = [word for name, value in typed.items() for word in ("--set", f"{name}={value}")]
    return UserError(
        tr("These fields can't be changed in a run that already exists."),
        tr("Its rows and its checkpoints depend on them."),
        join_sentences(tr("Start a new run that has these values: {command}",
                          command=program.command("train", folder / "run.json", *settings)),
                       tr("A run that is resumed can have other values of: {names}.",
                          names=", ".join(name for name in FIELDS if name not in FIXED))),
        [Problem(tr("In this run, it stays as it is."), field=name) for name in values if name in fixed])


def next_lever(config: RunConfig) -> dict[str, Any] | None:
    """What to change when memory ran out, the effective batch staying as it is; None when only the length is left.

    First fewer rows at once (and more of them accumulated), then activations that are computed twice.
    """
    micro, least = config.micro_batch_size, 2 if config.objective == "kto" else 1
    total = config.effective_batch_size
    smaller = next((n for n in range(micro // 2, least - 1, -1) if total % n == 0), None)
    if smaller is not None:
        return {"micro_batch_size": smaller, "gradient_accumulation_steps": total // smaller}
    if not config.gradient_checkpointing:
        return {"gradient_checkpointing": True}
    return None


def shorter(config: RunConfig) -> int | None:
    """The length to ask the user for when no lever is left: half, in whole 64s; None when that is too short."""
    length = max(64, config.max_length // 2 // 64 * 64)
    return length if SHORTEST <= length < config.max_length else None
