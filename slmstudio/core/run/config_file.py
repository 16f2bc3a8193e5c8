"""Run configurations as files: read, written, and compared."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmstudio import __version__
from slmstudio.core import files
from slmstudio.core.errors import Problem, UserError, os_errors_as
from slmstudio.core.i18n import tr
from slmstudio.core.model.weights import fingerprint
from slmstudio.core.run.config import FIELDS, RunConfig, plan_command

# -- What a run was made with, as its run.json keeps it: the versions of the packages, and hashes of what it reads.

WEIGHTS = "weights"
"""Under this name run.json's hashes hold the fingerprint of the base model."""
PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "tokenizers", "safetensors")
"""Their versions are in run.json: other ones may give other numbers."""


def versions() -> dict[str, str]:
    import platform  # here, since most commands need neither
    from importlib import metadata

    found = {"slmstudio": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def hashes(config: RunConfig) -> dict[str, str]:
    """SHA-256 of the files that a run learns from, of the base's configuration and tokenizer, and of samples of its
    weights, by name."""
    wanted = {name: Path(path) for name in ("train_file", "eval_file") if (path := getattr(config, name))}
    wanted |= {name: Path(config.model) / name for name in ("config.json", "tokenizer.json")}
    found = {name: files.sha256_of(path) for name, path in wanted.items() if path.is_file()}
    sampled = fingerprint(Path(config.model))
    return {**found, WEIGHTS: sampled} if sampled else found


IMPORTED = "imported"
"""Under this name the run.json of an adapter that was trained elsewhere says where it came from."""
EVALUATE = "evaluate_at_end"
"""Under this name run.json says whether an evaluation is to follow the training."""
NOTES = frozenset({"format", "kind", "protocol", "created", "versions", "hashes", IMPORTED, EVALUATE})
"""What a run.json holds beside the fields: nothing that decides what a run does."""


def load(path: Path) -> RunConfig:
    """Read a run configuration from a file.

    Raises:
        UserError: the file is missing, isn't a JSON object, or holds wrong fields.
    """
    if not path.exists():
        raise UserError(tr("{path} doesn't exist.", path=path), "",
                        tr("Write one: {command}", command=plan_command()))
    file = path / "run.json" if path.is_dir() else path
    state = files.read_json(file)
    if state is None:
        raise UserError(tr("{file} isn't a run configuration.", file=path), tr("It isn't a JSON object."),
                        tr("Write one: {command}", command=plan_command()))
    config = RunConfig.from_dict(state, file)
    unknown = state.keys() - RunConfig.__dataclass_fields__.keys() - NOTES
    if unknown or state.get("kind", "train") != "train":
        problems = [Problem(tr("It isn't a field of a run; it may be misspelt."), field=name)
                    for name in sorted(unknown)]
        if state.get("kind", "train") != "train":
            problems.append(Problem(tr("{kind!r} isn't allowed; it must be 'train'.", kind=state["kind"]),
                                    field="kind"))
        raise UserError(tr("{file} can't be used.", file=path), "", tr("Correct these fields."),
                        problems + config.problems())
    return config


def write(config: RunConfig, path: Path) -> None:
    """Raises UserError: it can't be written."""
    with os_errors_as(tr("Could not write {file}.", file=path)):
        files.write_atomically(path, files.dump_pretty(config.to_dict()))


def differences(configs: Sequence[dict[str, Any]]) -> list[tuple[str, list[Any]]]:
    """The fields in which configurations differ, each with its value in all of them.

    A field that only some of them have (one was written by another version) is None in the others.
    """
    untold = {"reasons", "chosen", *(name for name, about in FIELDS.items() if not about.told)}
    found = []
    for name in dict.fromkeys((*FIELDS, *(name for config in configs for name in config))):
        values = [config.get(name) for config in configs]
        if name not in untold and any(value != values[0] for value in values):
            found.append((name, values))
    return found
