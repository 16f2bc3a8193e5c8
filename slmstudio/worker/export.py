"""Makes GGUF files of a finished run: base and adapter in one pass, then the quantization types, then the proof.

Request: {"kind": "export", "run": run folder or model folder, "types": ["F16", "Q8_0", ...], "out": folder, optional}.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs, paths
from slmstudio.core.errors import UserError
from slmstudio.core.export.types import DEFAULT_TYPES, QuantType, quant_type
from slmstudio.core.model.facts import read_model
from slmstudio.core.run import folder as run_folder
from slmstudio.core.words import format_bytes
from slmstudio.worker import child
from slmstudio.worker.context import Cancelled, JobContext

PACKAGE_ROOT = Path(__file__).resolve().parent.parent.parent
SPARE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Source:
    """What is exported: a base model with an adapter, or a model that stands alone.

    Attributes:
        name: of the files, and inside them.
        rows: dataset files with the user's own rows, for the proof.
    """

    name: str
    base: Path
    adapter: Path | None
    folder: Path
    rows: tuple[Path, ...] = ()

    @classmethod
    def of(cls, folder: Path) -> Source:
        """Look into a run folder or a model folder.

        Raises:
            UserError: there is nothing to export in it.
        """
        if not (folder / jobs.RUN).is_file():
            return cls(run_folder.slug(folder.name), folder, None, folder)
        config = run_folder.summarise(folder).config
        result = run_folder.result_folder(folder)
        if result is None:
            raise UserError(f"{folder.name} has nothing to export yet.",
                            "The run has left neither an adapter nor a model.", "Let it finish, or resume it.")
        rows = tuple(Path(path) for path in (config.eval_file, config.train_file) if path)
        name = run_folder.slug(config.name)
        if result.name == run_folder.MODEL:
            return cls(name, result, None, folder, rows)
        return cls(name, Path(config.model), result, folder, rows)


@dataclass
class _Made:
    """A complete file that still has its hidden name."""

    partial: Path
    target: Path
    type: QuantType
    parity: dict[str, Any]


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        `{"files": [{"path", "type", "bytes", "sha256", "parity"}], "notes": [sentence, ...]}`.

    Raises:
        UserError: nothing to export, an unknown architecture, or too little room on the disk.
        Cancelled: no file is left, and older ones stay as they were.
    """
    from slmstudio.worker import parity
    from slmstudio.worker.reference import measure

    source = Source.of(Path(job.request["run"]))
    types = sorted({quant_type(name) for name in job.request.get("types") or DEFAULT_TYPES},
                   key=lambda kind: -kind.bits_per_weight)
    out = Path(job.request.get("out") or source.folder / run_folder.EXPORTS)
    facts = read_model(source.base)
    if facts.quantization:
        raise UserError(f"{facts.name} cannot become a GGUF file.", f"Its weights are packed ({facts.quantization}).",
                        "Use the same model with plain bf16 or fp16 weights as the base.")
    out.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(out)
    _check_space(out, facts, types)
    with _published(out) as made:
        reference = None
        for kind, partial in _make_all(job, source, out, types):
            job.phase("checking", f"{kind.name} against what was trained")
            reference = reference or measure(job, source)
            verdict = parity.compare(job, reference, partial, kind)
            made.append(_Made(partial, out / f"{source.name}-{kind.name}.gguf", kind, verdict))
        notes = _notes(facts, types, made[0].parity["normalizer"])
    for entry in made:
        if not entry.parity["passed"]:
            job.warn("parity", f"{entry.target.name}: {entry.parity['verdict']}")
    return {"files": [{"path": str(entry.target), "type": entry.type.name, "bytes": entry.target.stat().st_size,
                       "sha256": entry.parity["sha256"], "parity": entry.parity} for entry in made], "notes": notes}


@contextlib.contextmanager
def _published(out: Path) -> Iterator[list[_Made]]:
    """Files get their names at the end: all of them, or those that were done before an error, or none on Cancel."""
    made: list[_Made] = []
    try:
        yield made
    except Cancelled:
        made.clear()
        raise
    finally:
        for entry in made:
            with open(entry.partial, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(entry.partial, entry.target)
            files.write_atomically(entry.target.with_suffix(".parity.json"), files.dump_pretty(entry.parity))
        for leftover in out.glob(f".*.{os.getpid()}.partial"):
            leftover.unlink()
        files.fsync_folder(out)


def _make_all(job: JobContext, source: Source, out: Path, types: list[QuantType]) -> Iterator[tuple[QuantType, Path]]:
    """Make one file after the other, under hidden names. The first is F16 (or BF16); the others are made of it."""
    wide = {kind.name for kind in types if not kind.quantized} or {"F16"}
    sources: dict[str, Path] = {}
    for name in sorted(wide):
        partial = sources[name] = _partial(out, source, name)
        job.phase("converting", f"{source.base.name} to {name}")
        _convert(job, source, partial, name)
        if any(kind.name == name for kind in types):
            yield quant_type(name), partial
    whole = sources.get("F16") or sources["BF16"]
    for kind in types:
        if kind.quantized:
            job.phase("quantizing", kind.name)
            partial = _partial(out, source, kind.name)
            expected = kind.estimate_bytes(read_model(source.base))
            child.run(job, "slmstudio.worker.gguf_quantize",
                      {"source": str(whole), "target": str(partial), "ftype": kind.ftype}, [PACKAGE_ROOT],
                      _file_progress(job, partial, "quantizing", lambda _, expected=expected: expected))
            yield kind, partial


def _convert(job: JobContext, source: Source, target: Path, name: str) -> None:
    converter = paths.converter_dir()
    if not (converter / "conversion").is_dir():
        raise UserError("The GGUF converter is not installed.", f"{converter} does not hold it.",
                        "Run the set-up again: python3 packaging/bootstrap.py setup")
    request = {"base": str(source.base), "adapter": str(source.adapter) if source.adapter else None,
               "target": str(target), "ftype": name.lower(), "name": source.name}
    child.run(job, "slmstudio.worker.gguf_convert", request, [converter, PACKAGE_ROOT],
              _file_progress(job, target, "converting", lambda report: report.get("total_bytes", 0)))


def _file_progress(job: JobContext, target: Path, phase: str,
                   total: Callable[[dict[str, Any]], int]) -> Callable[[dict[str, Any]], None]:
    """Progress of a child that writes `target`: how much of it is there."""
    def poll(report: dict[str, Any]) -> None:
        if (expected := total(report)) and target.exists():
            job.progress(min(target.stat().st_size, expected), expected, "bytes", phase)

    return poll


def _partial(out: Path, source: Source, type_name: str) -> Path:
    return out / f".{source.name}-{type_name}.{os.getpid()}.partial"


def _remove_leftovers(out: Path) -> None:
    """Half files of exports that were killed."""
    import psutil

    for leftover in out.glob(".*.partial"):
        owner = leftover.name.split(".")[-2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            leftover.unlink()


def _check_space(out: Path, facts: Any, types: list[QuantType]) -> None:
    """The sizes of all types, and F16 on the way even where it is not asked for."""
    wanted = {kind.name: kind.estimate_bytes(facts) for kind in types}
    if all(kind.quantized for kind in types):
        wanted["F16"] = quant_type("F16").estimate_bytes(facts)
    need, have = sum(wanted.values()) + SPARE_BYTES, shutil.disk_usage(out).free
    if have < need:
        raise UserError("The disk has too little room for the export.",
                        f"It takes {format_bytes(need)}; {format_bytes(have)} are free in {out}.",
                        "Free some space, choose fewer types, or another folder.")


def _notes(facts: Any, types: list[QuantType], normalizer: str | None) -> list[str]:
    """What a person should know of the files that is no fault."""
    from slmstudio.core.export.types import FALLBACK, ROW_MULTIPLE

    notes = []
    if normalizer:
        notes.append(f"The model learned text in Unicode form {normalizer}. Chat here keeps to it; other llama.cpp "
                     "programs do not convert, so give them text in that form: letters with a nukta or an accent "
                     "differ otherwise.")
    fallen = [kind for kind in types if kind.falls_back(facts.hidden_size)]
    if fallen:
        instead = "; ".join(f"{kind.name}: {FALLBACK[kind.block]} for {kind.block}" for kind in fallen)
        notes.append(f"Rows of {facts.hidden_size} weights are no multiple of {ROW_MULTIPLE}, so llama.cpp stores most "
                     f"tensors in a larger format ({instead}). The files are larger and slightly better than their "
                     "names say.")
    return notes
