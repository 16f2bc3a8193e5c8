"""What Chat opens for a run, a place or a name, and what the server serves; what a model has learned from and
what not, and the adapters that fit it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, jobs, llama, paths, program
from slmstudio.core.chat import assistant
from slmstudio.core.chat.placement import cache_bytes, compute_bytes, read_shape
from slmstudio.core.data.record import Record
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model import library
from slmstudio.core.model.facts import read_model
from slmstudio.core.model.gguf.lora import LoraFacts, fitting
from slmstudio.core.model.hub import on_disk
from slmstudio.core.run import checkpoints, named
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.rows import run_rows

# -- Questions that a run never learned, with the answers that its rows have: to ask in Chat.

LOOKED_AT = 512 * 1024
"""Bytes of held-out rows that are read: hundreds of questions."""


@dataclass(frozen=True)
class HeldOutQuestion:
    """The first question of a held-out row.

    Attributes:
        expected: the answer that the row has.
        system: the row's system message, or "".
    """

    question: str
    expected: str
    system: str = ""


def questions(run: Path) -> list[HeldOutQuestion]:
    """Those of the first held-out rows, in the order of the file, each once; none where the run kept no such rows or
    they can't be read."""
    try:
        rows = run_rows.head(run, run_rows.EVALUATION, LOOKED_AT)
    except UserError:
        return []
    return list(dict.fromkeys(found for row in rows if (found := _first_question(row)) is not None))


def _first_question(row: Record) -> HeldOutQuestion | None:
    """None where a chat can't ask what the row asks, as of plain text and of rows with tools, and where the row only
    has an answer that is bad."""
    said = {message["role"]: str(message["content"]) for message in reversed(row.messages)}  # the first of each role
    if row.has_tools or row.desirable is False or not {"user", "assistant"} <= said.keys():
        return None
    return HeldOutQuestion(said["user"], said["assistant"], said.get("system", ""))


# -- What the model that answers has learned from, and the adapters that fit it, as far as its place tells.


TUNED, BEFORE = "tuned", "before"


@dataclass(frozen=True)
class Origin:
    """Where a model in Chat comes from.

    Attributes:
        run: the folder of the run that made it; None for a model from elsewhere.
        role: `TUNED` if its base is beside it, `BEFORE` if it is that base; "" for any other.
    """

    run: Path | None
    role: str = ""


def origins(models: Sequence[Path]) -> list[Origin]:
    """Where each of these models, which are side by side, comes from."""
    runs = [_run_of(model) for model in models]
    bases = [_base_of(run) if run is not None else None for run in runs]

    def is_base(model: Path, base: Path | None) -> bool:
        return base is not None and base in (model, model.parent)  # a GGUF file may be in its folder

    def role(model: Path, run: Path | None, base: Path | None) -> str:
        if run is None:
            return BEFORE if any(is_base(model, each) for each in bases) else ""
        return TUNED if any(is_base(each, base) for each in models) else ""

    return [Origin(run, role(model, run, base)) for model, run, base in zip(models, runs, bases, strict=True)]


def _base_of(run: Path) -> Path | None:
    with contextlib.suppress(UserError):
        return Path(str(jobs.Job(run).request().get("model") or "."))
    return None


def train_file(gguf: Path) -> tuple[Path, str | None] | None:
    """The dataset that a run learned from, and what was said about its columns; None for a model from elsewhere.

    Args:
        gguf: an export of the run, or its folder.
    """
    folder = _run_of(gguf)
    if folder is None:
        return None
    try:
        request = jobs.Job(folder).request()
    except UserError:
        return None
    name, said = request.get("train_file"), request.get("train_map")
    return (Path(name), said if isinstance(said, str) else None) if isinstance(name, str) and name else None


def adapters(model: Path) -> list[LoraFacts]:
    """The GGUF LoRAs of all runs, and those beside the model, that fit it; newest first.

    None for a run's export of the whole model: its adapter is in it already.

    Raises:
        UserError: the model can't be read.
    """
    if model.is_dir() or _run_of(model) is not None:
        return []
    runs = paths.runs_dir()
    found = {path.resolve() for path in runs.glob(f"*/{run_folder.EXPORTS}/*.gguf")} if runs.is_dir() else set()
    found |= {path.resolve() for path in model.parent.glob("*.gguf")}
    found.discard(model.resolve())
    return fitting(model, sorted(found, key=lambda path: path.stat().st_mtime, reverse=True))


def base_for_strength(run: Path) -> Path:
    """A GGUF file of the base that a run's GGUF LoRA fits: Chat puts the LoRA on it at any strength.

    Raises:
        UserError: the run has no GGUF LoRA yet, or no file of its base is known.
    """
    what = tr("The strength of this adapter can't be set yet.")
    loras = list((run / run_folder.EXPORTS).glob(f"*{paths.LORA_ENDING}"))
    if not loras:
        raise UserError(what, tr("Chat sets the strength of a GGUF LoRA, and the run has no such file."),
                        tr("Export the run as GGUF LoRA first."))
    base = Path(jobs.Job(run).request()["model"])
    for found in filter(None, (library.starter_gguf(), *base.glob("*.gguf"), *base.parent.glob("*.gguf"))):
        with contextlib.suppress(UserError):
            if fitting(found, loras):
                return found
    raise UserError(what,
                    tr("That needs a GGUF file of {base} as it was before training, and there isn't one next to "
                       "it.", base=base.name),
                    tr("Open such a file in Chat, and set the strength on the right."))


def quantized_bases(run: Path) -> Iterator[tuple[Path, Path]]:
    """Each GGUF file that was made of a run's base, with the run's newest GGUF LoRA: those in the base's folder, and
    the starter model's own. A file beside the folder may be another model of the same shape.

    Raises UserError: run.json can't be used.
    """
    loras = sorted((run / run_folder.EXPORTS).glob(f"*{paths.LORA_ENDING}"), key=lambda path: -path.stat().st_mtime)
    base = Path(jobs.Job(run).request()["model"])
    own = library.starter_gguf() if base.name == library.STARTER_NAME else None
    for found in filter(None, (own, *base.glob("*.gguf"), *(base / run_folder.EXPORTS).glob("*.gguf"))):
        with contextlib.suppress(UserError):
            yield from ((found, lora.path) for lora in fitting(found, loras[:1]))


def _run_of(gguf: Path) -> Path | None:
    if (gguf / jobs.RUN).is_file():
        return gguf
    folder = gguf.parent.parent
    return folder if gguf.parent.name == run_folder.EXPORTS and (folder / jobs.RUN).is_file() else None


EXPORT_TYPE = "Q8_0"
"""The type that is exported when somebody prefers to chat with GGUF files: nearly as exact as the weights."""
BYTES_PER_WEIGHT, BYTES_IN_4_BITS, ROOM = 2.0, 0.6, 1.2


def of_run(run: Path, unfinished: bool = False) -> list[Path]:
    """The newest export of a run, else the run itself, which the worker loads as adapter on its base; then the base,
    where both fit into the memory that is free. Without the chat engine, exports can't be opened.

    Args:
        unfinished: whether a run without a result will do, if it has a checkpoint.

    Raises:
        UserError: the run has no result, or can't be read.
    """
    config = RunConfig.from_dict(jobs.Job(run).request())
    if run_folder.result_folder(run) is None and not (
            unfinished and checkpoints.all_checkpoints(run / run_folder.CHECKPOINTS)):
        raise run_folder.no_result(run, config.name)
    kept = assistant.read(run)
    tuned = next(iter(run_folder.exported(run)), run) if llama.trouble() is None else run
    if kept is not None and kept.model is not None:
        tuned = run  # its worker loads the base, which answers as the user has kept it
    base = Path(config.model)
    try:
        weights = read_model(base).parameters
    except UserError:
        return [tuned]  # the base was moved or deleted; the worker says so where it needs it
    each = weights * (BYTES_IN_4_BITS if config.method == "qlora" else BYTES_PER_WEIGHT) * ROOM
    return [tuned, base] if each + weights * BYTES_PER_WEIGHT * ROOM < free_bytes() else [tuned]


def of_text(text: str) -> list[Path]:
    """What to chat with for a place or a name that was typed: a file, a model folder, or what `of_run` says about a
    run, finished or not. Who names the adapter or the model in a run means these weights, and not an export.

    Raises:
        UserError: there is no such run or model; or the run has nothing to talk to.
    """
    path = Path(text)
    run = None if path.is_file() else named.find(text)
    if run is None and (kept := assistant_of(text)) is not None:  # a trial before any run
        return [Path((kept.model or {}).get("gguf") or path).absolute()]
    if run is None:
        return [path.absolute() if path.exists() else _model_called(text)]
    tuned, *base = of_run(run, unfinished=True)
    return [run if path.absolute().parent == run else tuned, *base]


def _model_called(text: str) -> Path:
    """Raises UserError: no model on this machine is called so, nor a run."""
    with contextlib.suppress(UserError):  # it says how to download a model of that name; a run was as likely meant
        found = library.starter_gguf() if text == library.STARTER else on_disk.resolve(text)
        if found is not None and found.exists():
            return found
    if Path(text).suffix.lower() == ".gguf":
        raise named.unknown(text)
    raise UserError(tr("There's neither a run nor a model called “{name}” on this machine.", name=text),
                    named.similar(text), tr("To see the runs: {command}", command=program.command("runs")))


def file_to_serve(text: str) -> Path:
    """The GGUF file that is served for a place or a name that was typed: the file itself, or a run's newest export.

    Raises:
        UserError: it must be exported first; or there is nothing of this name.
    """
    path = Path(text)
    if path.is_file():
        return path
    place = named.or_path(text)
    kept = assistant.read(place)
    if kept is not None and kept.model is not None:
        return _base_to_serve(kept.model)
    if exports := run_folder.exported(place):
        return exports[0]
    raise UserError(tr("{path} can't be served as it is.", path=text), tr("The server needs a GGUF file."),
                    tr("Export it first: {command}", command=program.command("export", place, "--type", EXPORT_TYPE)))


def _base_to_serve(model: Mapping[str, Any]) -> Path:
    """A GGUF file of the base that answers for a run. Raises UserError: there is none yet."""
    if model.get("gguf"):
        return Path(model["gguf"])
    base = Path(model["model"])
    starter = library.starter_gguf() if base == library.starter_folder() else None
    if found := next(filter(None, (*run_folder.exported(base), *sorted(base.glob("*.gguf")), starter)), None):
        return found
    raise UserError(tr("The base model {base} can't be served as it is.", base=base.name),
                    tr("The server needs a GGUF file."),
                    tr("Export it first: {command}", command=program.command("export", base, "--type", EXPORT_TYPE)))


def assistant_of(text: str) -> assistant.Assistant | None:
    """What the user has kept of the evaluations of a run, or of a trial, for a place or a name that was typed.

    Raises:
        UserError: a newer program wrote it.
    """
    path = Path(text)
    place = None if path.is_file() else path if (path / assistant.ASSISTANT).is_file() else named.find(text)
    return None if place is None else assistant.read(place)


def without_export() -> list[tuple[str, Path]]:
    """Names and folders of the runs that can be talked to and have no GGUF file, the newest first."""
    return [(name, run) for name, run, _ in _finished() if not run_folder.exported(run)]


def without_engine() -> list[tuple[str, Path]]:
    """What can be talked to without the chat engine: all runs that have a result, the newest first, then their bases.
    """
    runs = _finished()
    bases = dict.fromkeys(base for *_, base in runs if base.is_dir())
    return [*((name, run) for name, run, _ in runs), *((tr("{name} (base)", name=base.name), base) for base in bases)]


def _finished() -> list[tuple[str, Path, Path]]:
    """Name, folder and base of each run that has a result, the newest first."""
    found = [(str(request.get("name") or run.name), run, Path(str(request.get("model") or "")))
             for run, request in run_folder.requests() if run_folder.result_folder(run) is not None]
    return sorted(found, key=lambda each: (each[1] / jobs.RUN).stat().st_mtime, reverse=True)


USUAL_CONTEXT = 4096
"""Tokens, where nobody chose a context length."""


def needed_bytes(models: Sequence[Path], context_length: int | None) -> int:
    """What models take together: GGUF files, each with a cache of its own, and folders of models and runs.

    Raises:
        UserError: a file isn't a complete GGUF file, or a folder holds no model.
    """
    length = context_length or USUAL_CONTEXT
    shapes = [read_shape(path) for path in models if path.suffix.lower() == ".gguf"]
    folders = [path for path in models if path.suffix.lower() != ".gguf"]
    return sum(map(_folder_bytes, folders)) + sum(
        shape.file_bytes + cache_bytes(shape, length) + compute_bytes(shape, length) for shape in shapes)


def _folder_bytes(folder: Path) -> int:
    """What the weights of a model folder, or those that a run learned on, take in fp32."""
    request = files.read_json(folder / jobs.RUN) if (folder / jobs.RUN).is_file() else None
    return read_model(Path(request["model"]) if request and request.get("model") else folder).parameters * 4


def free_bytes() -> int:
    """Memory that programs can get now without swapping; models that are loaded already count as free, since the
    system can read their files again."""
    import psutil

    return int(psutil.virtual_memory().available)
