"""Turns a finished run into files: GGUF of any type in one pass, each with its proof; also folders for other programs.

Request: {"kind": "export", "run": run folder or model folder, "types": ["F16", "Q4_K_M", "MERGED", ...],
"out": folder, optional, "importance": whether the user's own rows weigh the columns, optional}.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slmstudio.core import disk_space, files, leftovers, llama, paths, program
from slmstudio.core.errors import UserError
from slmstudio.core.export.types import (
    ADAPTER,
    FALLBACK,
    LORA,
    MERGED,
    OTHER_FORMATS,
    ROW_MULTIPLE,
    OtherFormat,
    QuantType,
    choose,
)
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.jobs.new import IMPORTANCE
from slmstudio.core.model.facts import ModelFacts, read_model
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run import measured, time_estimate
from slmstudio.core.run.time_estimate import Timing
from slmstudio.core.units import format_bytes
from slmstudio.worker.model.base_weights import Array
from slmstudio.worker.model.export_source import Source, in_full_precision
from slmstudio.worker.runtime import child
from slmstudio.worker.runtime.context import Cancelled, JobContext, running_seconds
from slmstudio.worker.runtime.cooling import cooled

# -- The importance matrix: how much each input of each weight matrix is used on the user's own rows.

FEW_BITS = 4.6
"""Below this many bits per weight, it is measured: the loss is large enough to be worth a run over the rows."""
BLOCK = 256
MOST_OPERATIONS = 3e12
LEAST_TOKENS, MOST_TOKENS = 512, 8192


def wanted(types: list[QuantType]) -> bool:
    """Whether any of these types gains enough by it."""
    return any(is_weighted(kind) for kind in types)


def is_weighted(kind: QuantType) -> bool:
    return kind.quantized and kind.bits_per_weight < FEW_BITS


def measure(job: JobContext, source: Any, target: Path) -> int:
    """Run the fine-tuned model of an `export.Source` over its learned rows; write `target`.

    The file is safetensors: under each base tensor's name the mean squares of its inputs, float32 (in,).

    Returns:
        How many tokens were run; 0 if there are no rows, or the model can't be run, and then no file.
    """
    import torch
    from safetensors.numpy import save_file

    from slmstudio.worker.model.streamed_model import NotStreamable, StreamedModel

    try:
        model = StreamedModel(source.base, source.adapter)
    except NotStreamable as error:
        job.log(f"no importance matrix: {error}")
        return 0
    limit = int(MOST_OPERATIONS / (2 * max(1, model.layer_parameters)))
    blocks = _blocks(job, source, min(max(limit, LEAST_TOKENS), MOST_TOKENS))
    if not blocks:
        return 0
    sums: dict[str, Array] = {}

    def count(name: str, module: Any, given: tuple[Any, ...]) -> None:
        job.check_cancelled()
        squares = given[0].reshape(-1, given[0].shape[-1]).float().square().mean(0).numpy()
        sums[name] = squares.astype(np.float32)
        job.progress(len(sums), model.linear_layers, "layers", "weighing")

    hooks = [module.register_forward_pre_hook(lambda module, given, name=name: count(name, module, given))
             for name, module in model.linear_modules() if isinstance(module, torch.nn.Linear)]
    try:
        model.logits(blocks, [(0, 0)])
    finally:
        for hook in hooks:
            hook.remove()
    save_file(sums, target)
    return sum(map(len, blocks))


def _blocks(job: JobContext, source: Any, most: int) -> list[list[int]]:
    """The learned rows behind one another, cut into blocks of one length: no position is filled up."""
    from slmstudio.worker.model.gguf_vocabulary import Vocabulary
    from slmstudio.worker.parity.reference import Renderer, own_rows

    renderer = Renderer(source.base, Vocabulary.of(source.base, source.adapter))
    ids: list[int] = []
    for messages in reversed(own_rows(job, source)):  # those that were held out come first, and prove the file later
        if (text := renderer.text(messages, prompt=False)) is not None:
            ids += renderer.ids(text)
        if len(ids) >= most:
            break
    length = min(BLOCK, len(ids))
    return [ids[start:start + length] for start in range(0, len(ids) - length + 1, length)] if length else []


SPARE_BYTES = 64 * 2**20


@dataclass
class _Made:
    """A complete file or folder that still has its hidden name."""

    partial: Path
    target: Path
    type: str
    parity: dict[str, Any] | None = None


def run(job: JobContext) -> dict[str, Any]:
    """
    Returns:
        `{"files": [{"path", "type", "bytes", "sha256", "parity"}], "notes": [sentence, ...]}`; folders and a GGUF LoRA
        have no sha256 and no parity.

    Raises:
        UserError: nothing to export, an unknown architecture, too little room on the disk, or no chat engine.
        Cancelled: no file is left, and older ones stay as they were.
    """
    begun = running_seconds()
    types, others = choose(job.request["types"])
    if types:
        llama.need()
    source = Source.of(Path(job.request["run"]))
    facts = read_model(source.base)
    source, note = in_full_precision(source, facts)
    _check_formats(source, others)
    out = Path(job.request.get("out") or source.folder / run_folder.EXPORTS)
    out.mkdir(parents=True, exist_ok=True)
    leftovers.remove_dead(out.glob(".*.partial"))
    _check_space(out, source, facts, types, others)
    with cooled(job, "export", on_cpu=True), _published(out) as made, disk_space.full_as_os_error(out):
        for other in others:
            made.append(_make_other(job, source, out, other))
        if types:
            made += _make_types(job, source, out, types)
            _prove(job, source, made)
    names = [kind.name for kind in (*types, *others)]
    time_estimate.record(Timing.now(
        time_estimate.EXPORTING, 1, running_seconds() - begun, before=begun,
        cost=time_estimate.export_cost(facts, names),
        machine=measured.device_key("cpu", read_machine()), model=time_estimate.export_key(facts, names)))
    proofs = [entry.parity for entry in made if entry.parity]
    for entry in made:
        if entry.parity and not entry.parity["passed"]:
            job.warn("parity", join_sentences(f"{entry.target.name}:", entry.parity["verdict"]))
    notes = [note] if note else []
    return {"files": [_report(entry) for entry in made],
            "notes": notes + _notes(facts, types, proofs[0]["normalizer"] if proofs else None)}


def _report(made: _Made) -> dict[str, Any]:
    return {"path": str(made.target), "type": made.type, "bytes": files.size_of(made.target),
            "sha256": made.parity["sha256"] if made.parity else None, "parity": made.parity}


@contextlib.contextmanager
def _published(out: Path) -> Iterator[list[_Made]]:
    """Files get their names at the end: all of them, or those that were proven before an error, or none on Cancel."""
    made: list[_Made] = []
    try:
        yield made
    except Cancelled:
        made.clear()
        raise
    finally:
        for entry in made:
            if entry.parity or entry.type in (other.name for other in OTHER_FORMATS):
                _publish(entry)
        for leftover in out.glob(f".*.{os.getpid()}.partial"):
            leftovers.remove_path(leftover)
        files.fsync_folder(out)


def _publish(entry: _Made) -> None:
    for path in [entry.partial] if entry.partial.is_file() else sorted(entry.partial.rglob("*")):
        if path.is_file():
            with open(path, "rb+", opener=files.regular) as file:
                os.fsync(file.fileno())
    if entry.target.is_dir():
        older = entry.partial.with_name(f".older{entry.partial.name}")
        os.replace(entry.target, older)
        os.replace(entry.partial, entry.target)
        shutil.rmtree(older)
    else:
        os.replace(entry.partial, entry.target)
    if entry.parity:
        files.write_atomically(entry.target.with_suffix(".parity.json"), files.dump_pretty(entry.parity))


def _make_types(job: JobContext, source: Source, out: Path, types: list[QuantType]) -> list[_Made]:
    """All GGUF files in one pass over the weights, under hidden names."""
    made = [_Made(_partial(out, source, kind.name), out / f"{source.name}-{kind.name}.gguf", kind.name)
            for kind in types]
    weights = _weigh(job, source, types)
    job.phase("converting", f"{source.base.name} → {', '.join(kind.name for kind in types)}")
    targets = [{"path": str(entry.partial), "ftype": kind.ftype, "weighted": is_weighted(kind)}
               for entry, kind in zip(made, types, strict=True)]
    request = {"base": str(source.base), "adapter": str(source.adapter) if source.adapter else None,
               "name": source.name, "importance": weights, "targets": targets}
    _run_converter(job, "slmstudio.worker.export.gguf_convert", request, [entry.partial for entry in made])
    return made


def _weigh(job: JobContext, source: Source, types: list[QuantType]) -> str | None:
    """The file of the importance matrix, where a type gains by it and there are rows to measure it on."""
    if not wanted(types) or not job.request.get("importance", IMPORTANCE):
        return None
    job.phase("weighing", tr("which weights the training rows use"))
    target = job.folder / "importance.safetensors"
    return str(target) if measure(job, source, target) else None


def _prove(job: JobContext, source: Source, made: list[_Made]) -> None:
    """Hold every GGUF file against what was trained."""
    from slmstudio.worker.parity import parity
    from slmstudio.worker.parity.reference import measure

    kinds = {kind.name: kind for kind in choose(entry.type for entry in made)[0]}
    job.phase("checking", tr("what was trained"))
    reference = measure(job, source)
    for entry in made:
        if entry.type in kinds:
            job.phase("checking", tr("{type} against what was trained", type=entry.type))
            entry.parity = parity.compare(job, reference, entry.partial, kinds[entry.type])


def _make_other(job: JobContext, source: Source, out: Path, other: OtherFormat) -> _Made:
    partial, target = _partial(out, source, other.name), out / f"{source.name}{other.ending}"
    if other is LORA:
        job.phase("converting", tr("the adapter"))
        _run_converter(job, "slmstudio.worker.export.gguf_lora", {
            "base": str(source.base), "adapter": str(source.adapter), "name": source.name, "target": str(partial)},
            [partial])
    elif other is ADAPTER:
        from slmstudio.worker.export import merged_folder

        assert source.adapter is not None
        shutil.copytree(source.adapter, partial, ignore=shutil.ignore_patterns(*merged_folder.OF_A_RUN))
        merged_folder.add_older_names(partial)
    else:
        _merge(job, source, partial)
    return _Made(partial, target, other.name)


def _merge(job: JobContext, source: Source, partial: Path) -> None:
    from slmstudio.worker.export import merged_folder
    from slmstudio.worker.model.export_source import MergedWeights

    job.phase("merging", tr("{model} and its adapter", model=source.base.name) if source.adapter else source.base.name)

    def progress(done: int, total: int) -> None:
        job.check_cancelled()
        job.progress(done, total, "bytes", "merging")

    partial.mkdir()
    merged_folder.write(source.base, MergedWeights(source.base, source.adapter), partial, progress)
    if source.adapter is not None:
        merged_folder.add_how_to_talk(source.adapter, partial)
    merged_folder.add_older_names(partial)


def _run_converter(job: JobContext, module: str, request: dict[str, Any], targets: list[Path]) -> None:
    converter = paths.converter_dir()
    if not (converter / "conversion").is_dir():
        raise UserError(tr("The GGUF converter isn't installed."), tr("It isn't in {folder}.", folder=converter),
                        tr("Run setup again: {setup_command}", setup_command=program.setup_command()))
    child.run(job, module, {**request, "half_done": list(map(str, targets))}, [converter, program.ROOT],
              _file_progress(job, targets))


def _file_progress(job: JobContext, targets: list[Path]) -> Callable[[dict[str, Any]], None]:
    """Progress of a child that writes `targets`: how much of them is there."""
    def poll(report: dict[str, Any]) -> None:
        if total := report.get("total_bytes", 0):
            done = sum(target.stat().st_size for target in targets if target.exists())
            job.progress(min(done, total), total, "bytes", "converting")

    return poll


def _partial(out: Path, source: Source, type_name: str) -> Path:
    return out / f".{source.name}-{type_name}.{os.getpid()}.partial"


def _check_formats(source: Source, others: list[OtherFormat]) -> None:
    for other in others:
        if other.needs_adapter and source.adapter is None:
            raise UserError(tr("{folder} has no adapter that could be exported by itself.", folder=source.folder.name),
                            tr("All of its weights were trained."), tr("Choose a GGUF type, or MERGED."))


def _check_space(out: Path, source: Source, facts: ModelFacts, types: list[QuantType],
                 others: list[OtherFormat]) -> None:
    """The sizes of all that is asked for: nothing is made on the way."""
    need = SPARE_BYTES + sum(kind.estimate_bytes(facts) for kind in types)
    if MERGED in others:
        need += facts.parameters * 2 if facts.quantization else facts.disk_bytes
    if source.adapter is not None:
        need += sum(other.needs_adapter for other in others) * files.size_of(source.adapter)
    if (have := disk_space.free(out)) < need:
        raise UserError(tr("There isn't enough space on the disk for the export."),
                        tr("It takes {size}, but only {free} is free in {folder}.", size=format_bytes(need),
                           free=format_bytes(have), folder=out),
                        tr("Free some space, choose fewer types, or another folder."))


def _notes(facts: ModelFacts, types: list[QuantType], normalizer: str | None) -> list[str]:
    """What a user should know about the files, though nothing is wrong."""
    notes = []
    if normalizer:
        notes.append(tr("The model learned text in Unicode form {form}. Chat here converts to it. Other llama.cpp "
                        "programs don't, so give them text in that form: otherwise letters with a nukta or an accent "
                        "differ.", form=normalizer))
    fallen = [kind for kind in types if kind.falls_back(facts.hidden_size)]
    if fallen:
        formats = "; ".join(f"{kind.name}: {kind.block} → {FALLBACK[kind.block]}" for kind in fallen)
        notes.append(tr("Rows of {width} weights aren't a multiple of {multiple}, so llama.cpp stores most tensors in "
                        "a larger format ({formats}). The files are larger and slightly better than their names say.",
                        width=facts.hidden_size, multiple=ROW_MULTIPLE, formats=formats))
    return notes
