"""What runs and fit checks on this machine really needed, kept in `measured.json` for the estimates to come.

A measurement holds the peak of its longest micro-batch, what the formula said about a micro-batch of just that shape,
and the time a step took. It says all of a run with the same settings and rows, and how far off the formula is for
others.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from slmstudio import __version__
from slmstudio.core import files, formats, paths
from slmstudio.core.errors import UserError
from slmstudio.core.files import number
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.model.facts import ModelFacts
from slmstudio.core.run.config import RunConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

KIND = "measured"
MOST = 200
"""Measurements that are kept; the oldest go first."""
LOCK_SECONDS = 5.0
FACTOR_LIMITS = (0.7, 1.5)
"""A measurement that is further off than this tells about something else than the formula."""
LEAST_SIMILAR = 3
"""Measurements of other settings that it takes to correct an estimate; of the same settings one is enough."""
SETTINGS = ("objective", "method", "precision", "max_length", "micro_batch_size", "gradient_checkpointing", "packing",
            "attention", "optimizer", "lora_rank", "target_modules", "lora_dropout", "use_dora", "activation_offload",
            "use_liger_kernel", "torch_compile", "scratch_size", "threads")
"""Fields of a run that decide how much memory and time a micro-batch of some length takes."""
ROWS = ("train_file", "train_map", "eval_file", "eval_map", "eval_fraction", "split_seed", "seed", "group_by_length",
        "gradient_accumulation_steps", "completion_only_loss", "split_by", "chat_template", "max_steps",
        "overlong_rows")
"""Fields that decide which rows go together, and so how long the longest micro-batch is."""


@dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes:
        machine: the card, or the processor, as `machine_key` names it.
        model, family: the base model's shape, and what people call its kind.
        settings, rows: the fields that decided it, by name; `rows` with size and date of the files too.
        versions: of the libraries and of the formula that it was compared with.
        when: seconds since 1970.
        source: "fit_check" or "run".
        tokens: of the longest micro-batch, padding included.
        peak_bytes: all that the process took at its peak; the least that it would have taken where `ran_out`.
        parts_bytes: what the formula says about this micro-batch, without libraries and context: `overhead_bytes`.
        seconds_per_step, seconds_per_evaluation: of a usual step and of a whole evaluation; None if unknown.
        tokens_per_second: non-padding tokens.
        watts: mean that the machine drew from the socket; None if it wasn't measured.
        ran_out: memory didn't suffice.
        operations, evaluation_operations: arithmetic of a learned token and of a whole evaluation, as
            `time_estimate.operations` counts it; None if unknown.
        seconds_besides: that the run took for anything else: loading, its trial of the longest rows, checkpoints.
    """

    machine: str
    model: str
    family: str
    settings: dict[str, Any]
    rows: dict[str, Any]
    versions: dict[str, str]
    when: float
    source: str
    tokens: int
    peak_bytes: int
    parts_bytes: int
    overhead_bytes: int
    seconds_per_step: float | None = None
    seconds_per_evaluation: float | None = None
    tokens_per_second: float | None = None
    ran_out: bool = False
    watts: float | None = None
    operations: float | None = None
    evaluation_operations: float | None = None
    seconds_besides: float | None = None

    @property
    def factor(self) -> float | None:
        """Measured by estimated, libraries aside; None if those hide the rest, or nothing was measured."""
        if self.ran_out or self.parts_bytes < self.overhead_bytes:
            return None
        return (self.peak_bytes - self.overhead_bytes) / self.parts_bytes


@dataclass(frozen=True)
class Correction:
    """How far off the formula is on this machine: the middle, the least and the greatest of measured by estimated.

    Attributes:
        count: measurements it rests on.
    """

    factor: float
    least: float
    most: float
    count: int


def device_of(config: RunConfig, machine: Machine) -> str:
    """"cuda" or "cpu": where this run computes on this machine."""
    return "cuda" if machine.gpus and config.device != "cpu" else "cpu"


def free_on(config: RunConfig, machine: Machine) -> tuple[str, int | None]:
    """The device of a run, and the bytes that are free there; None if the driver doesn't say."""
    device = device_of(config, machine)
    return device, machine.free_on_cards(config.processes) if device == "cuda" else machine.ram_free


def machine_key(config: RunConfig, machine: Machine) -> str:
    """Names what a run computes on."""
    return device_key(device_of(config, machine), machine)


def device_key(device: str, machine: Machine) -> str:
    """Names the card and its memory ("cuda"), or the processor and the machine's ("cpu")."""
    if device == "cuda":
        return f"{machine.gpus[0].name}, {machine.gpus[0].memory_total} bytes"
    return f"{machine.cpu_name}, {machine.physical_cores} cores, {machine.ram_total} bytes"


def new(facts: ModelFacts, config: RunConfig, machine: Machine, source: str, **figures: Any) -> Measurement:
    """A measurement of now.

    Args:
        figures: the fields that nothing here tells; `outlook.measure` knows more of them.
    """
    return Measurement(machine=machine_key(config, machine), model=model_key(facts), family=facts.family,
                       settings=_named(config, SETTINGS), rows=_rows_key(config), versions=_versions(),
                       when=time.time(), source=source, **figures)


def record(measurement: Measurement) -> None:
    """Keep a measurement in place of an older one of the same run. A damaged file is set aside.

    Raises:
        UserError: a newer program wrote the file.
        OSError: it can't be written, or another process keeps it busy.
    """
    def with_it(known: list[Measurement]) -> list[Measurement]:
        others = [each for each in known if _identity(each) != _identity(measurement)]
        return sorted([*others, measurement], key=lambda each: each.when)[-MOST:]

    change(KIND, Measurement, with_it)


# -- Files of figures that this machine has measured, each with a list of entries of one type.

E = TypeVar("E", bound="DataclassInstance")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str, "dict": dict, "int": int, "bool": bool, "float": (int, float), "float | None": (int, float, type(None))}


def file_of(kind: str) -> Path:
    """In a folder of its own: workers write it, and not beside it."""
    return paths.cache_dir() / "measured" / f"{kind}.json"


def entries(kind: str, of: type[E]) -> list[E]:
    """The entries of a file, without those that aren't whole.

    Raises:
        UserError: a newer program wrote the file.
        OSError: it can't be read.
    """
    kept = []
    for state in files.objects((formats.read(kind, file_of(kind)) or {}).get(_list_of(of))):
        types = {each.name: str(each.type).partition("[")[0] for each in fields(of)}
        values = {name: number(state, name) if its.startswith("float") else state.get(name)
                  for name, its in types.items()}
        if all(isinstance(values[name], _TYPES[its]) for name, its in types.items()):
            kept.append(of(**values))
    return kept


def change(kind: str, of: type[E], changed: Callable[[list[E]], list[E]]) -> None:
    """Change the entries of a file while other processes are kept from it. A damaged one is set aside.

    Raises:
        UserError: a newer program wrote the file.
        OSError: it can't be written, or another process keeps it busy.
    """
    import filelock

    path = file_of(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
        if path.exists() and files.read_json(path) is None:
            files.put_aside(path, "damaged")
        kept = [asdict(each) for each in changed(entries(kind, of))]
        files.write_atomically(path, files.dump_pretty({**formats.stamp(kind), _list_of(of): kept}))


def _list_of(of: type[E]) -> str:
    return f"{of.__name__.lower()}s"


def load() -> list[Measurement]:
    """What is known, oldest first; nothing where the file can't be used: it is only a help."""
    with contextlib.suppress(UserError, OSError):
        state = file_of(KIND).stat()
        return list(_loaded(file_of(KIND), state.st_mtime_ns, state.st_size))
    return []


@functools.lru_cache(maxsize=4)
def _loaded(path: Path, changed: int, size: int) -> tuple[Measurement, ...]:
    """Read once: a list of models asks for each of them."""
    return tuple(entries(KIND, Measurement))


def alike(facts: ModelFacts, config: RunConfig, machine: Machine, known: Sequence[Measurement]) -> list[Measurement]:
    """The measurements with the same machine, model, settings and libraries, oldest first; the rows may be others."""
    here, model, settings, torch = (machine_key(config, machine), model_key(facts), _named(config, SETTINGS),
                                    _versions()["torch"])
    return [each for each in known if each.machine == here and each.model == model and each.settings == settings
            and each.versions.get("torch") == torch]


def find(facts: ModelFacts, config: RunConfig, machine: Machine, known: Sequence[Measurement]) -> Measurement | None:
    """The measurement of just this run: same machine, model, settings, rows and libraries."""
    rows = _rows_key(config)
    return next((each for each in reversed(alike(facts, config, machine, known)) if _covers(each.rows, rows)), None)


def _covers(measured: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether one run has met all that another will meet: the same rows, in no fewer steps."""
    steps, wanted = measured.get("max_steps"), asked.get("max_steps")
    return {**measured, "max_steps": None} == {**asked, "max_steps": None} and (
        steps is None or (wanted is not None and wanted <= steps))


def drawn(facts: ModelFacts, config: RunConfig, machine: Machine,
          known: Sequence[Measurement]) -> tuple[list[float], bool]:
    """Mean watts of earlier runs on this machine, and whether these had the same settings; otherwise those of all
    runs."""
    same = [each.watts for each in alike(facts, config, machine, known) if each.watts is not None]
    here = machine_key(config, machine)
    return (same, True) if same else ([each.watts for each in known if each.machine == here and each.watts is not None],
                                      False)


def correction(facts: ModelFacts, config: RunConfig, machine: Machine,
               known: Sequence[Measurement]) -> Correction | None:
    """How far off the formula is, from the measurements of the same settings, else from those of the same method and
    family on this machine; None if those are too few."""
    here, versions = machine_key(config, machine), _versions()
    same = _factors(alike(facts, config, machine, known), versions)
    similar = _factors([each for each in known if each.machine == here and each.family == facts.family
                        and each.settings.get("method") == config.method], versions)
    found = same or (similar if len(similar) >= LEAST_SIMILAR else [])
    if not found:
        return None
    clamped = [min(max(each, FACTOR_LIMITS[0]), FACTOR_LIMITS[1]) for each in found]
    return Correction(statistics.median(clamped), min(clamped), max(clamped), len(clamped))


def _factors(found: Sequence[Measurement], versions: dict[str, str]) -> list[float]:
    """The factors of those measurements that were compared with today's formula."""
    return [each.factor for each in found if each.versions == versions and each.factor is not None]


def _identity(measurement: Measurement) -> tuple[Any, ...]:
    return measurement.machine, measurement.model, measurement.settings, measurement.rows


@functools.cache
def _versions() -> dict[str, str]:
    found = {"slmstudio": __version__, "torch": ""}
    with contextlib.suppress(metadata.PackageNotFoundError):
        found["torch"] = metadata.version("torch")
    return found


def model_key(facts: ModelFacts) -> str:
    """Names a model's shape: two with the same one take the same time and memory."""
    return (f"{facts.model_type}, {facts.parameters} parameters, {facts.layers} × {facts.hidden_size}, "
            f"{facts.vocabulary_size} tokens, {facts.quantization or facts.dtype}")


def _named(config: RunConfig, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(config, name) for name in names}


def _rows_key(config: RunConfig) -> dict[str, Any]:
    """The fields that choose the rows, and the files' size and date: an edited file holds other rows."""
    found = _named(config, ROWS)
    for name in ("train_file", "eval_file"):
        with contextlib.suppress(OSError, TypeError):
            about = Path(found[name]).stat()
            found[f"{name} is"] = [about.st_size, about.st_mtime_ns]
    return found
