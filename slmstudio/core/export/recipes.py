"""What to type to use a finished export in other programs: Ollama, vLLM, llama.cpp's server, LM Studio."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core import disk_space, files
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.export import ollama
from slmstudio.core.export.types import ADAPTER, LORA, MERGED
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.gguf.model import read_gguf
from slmstudio.core.program import shell_line
from slmstudio.core.run import folder as run_folder
from slmstudio.core.run.folder import RunSummary
from slmstudio.core.units import format_bytes

# -- LM Studio finds models in its folder, at models/PUBLISHER/NAME/FILE.gguf.

PUBLISHER = "slm-studio"
CHUNK = 8 * 2**20
SPARE_BYTES = 64 * 2**20


def home() -> Path:
    """LM Studio's folder: where its pointer file says, else where it is by default."""
    pointer = Path.home() / ".lmstudio-home-pointer"
    try:
        named = files.read_text(pointer).strip()
    except (OSError, UnicodeDecodeError):
        named = ""
    return Path(named) if named else Path.home() / ".lmstudio"


def target(gguf: Path) -> Path:
    """Where the file goes. The folder's name is the model's, without the quantization type."""
    name = gguf.stem.rpartition("-")[0] or gguf.stem
    return home() / "models" / PUBLISHER / name / gguf.name


def put(gguf: Path, progress: Callable[[int, int], None] = lambda done, total: None,
        cancelled: Callable[[], bool] = lambda: False) -> tuple[Path, bool]:
    """Put a file into LM Studio's folder: by a hard link where both are on one disk, else as a copy. It is there whole
    or not at all; an older one of that name is replaced.

    Returns:
        Where it is, and whether it takes room of its own.

    Raises:
        UserError: too little room, or the folder can't be written to, or it was cancelled.
    """
    place = target(gguf)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists() and place.samefile(gguf):
            return place, False
        partial.unlink(missing_ok=True)
        try:
            os.link(gguf, partial)
            copied = False
        except OSError:  # another disk, or one without links
            _copy(gguf, partial, progress, cancelled)
            copied = True
        os.replace(partial, place)
        files.fsync_folder(place.parent)
        return place, copied
    except OSError as error:
        raise from_os_error(error, tr("Could not put {file} into LM Studio's folder.", file=gguf.name)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _copy(source: Path, target: Path, progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> None:
    size, free = source.stat().st_size, disk_space.free(target.parent)
    if free < size + SPARE_BYTES:
        raise UserError(tr("There isn't enough space on the disk with LM Studio's folder."),
                        tr("The file takes {size}, but {folder} has only {free} free.", size=format_bytes(size),
                           free=format_bytes(free), folder=target.parent),
                        tr("Free some space, or choose a smaller quantization type."))
    done = 0
    with open(source, "rb", opener=files.regular) as reader, open(target, "wb") as writer:
        while part := reader.read(CHUNK):
            if cancelled():
                raise UserError(tr("The copy was cancelled."), tr("Nothing was left behind."))
            writer.write(part)
            done += len(part)
            progress(done, size)
        writer.flush()
        os.fsync(writer.fileno())


CONTEXT = 4096
"""Tokens of a conversation, where the model was trained for as many: the cache of an 8B model is half a gigabyte."""
LLAMA_SERVER_PORT = 8080
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""vLLM's choices for --max-lora-rank."""


@dataclass(frozen=True)
class Recipe:
    """How to use an export in one program.

    Attributes:
        program: "ollama", "vllm", "llama.cpp" or "lm-studio".
        text: what is copied into a terminal or a file; empty if it can't be done.
        command: what then starts it, where `text` is a file; empty otherwise.
    """

    program: str
    text: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()
    problem: UserError | None = None


@dataclass(frozen=True)
class Export:
    """A GGUF file, and what else its run has left.

    Attributes:
        name: what programs call the model.
        context: tokens of a conversation.
        merged: Hugging Face folder with the adapter merged in.
        adapter, base: the adapter alone, and the folder of the model that it changes.
        lora: the adapter as a GGUF file.
    """

    gguf: Path
    name: str
    context: int
    merged: Path | None = None
    adapter: Path | None = None
    base: Path | None = None
    lora: Path | None = None


def find(gguf: Path, run: RunSummary | None = None) -> Export:
    """Look for what is around a GGUF file.

    Raises:
        UserError: it isn't a complete GGUF file.
    """
    facts = read_gguf(gguf)
    context = min(CONTEXT, facts.context_length or CONTEXT)
    if run is None:
        return Export(gguf, gguf.stem, context)
    name = run_folder.slug(run.config.name)
    exports = run.folder / run_folder.EXPORTS
    merged, alone, lora = (exports / f"{name}{kind.ending}" for kind in (MERGED, ADAPTER, LORA))
    left = run_folder.result_folder(run.folder)
    adapter = alone if alone.is_dir() else left if left is not None and left.name == run_folder.ADAPTER else None
    whole = merged if merged.is_dir() else left if left is not None and left.name == run_folder.MODEL else None
    return Export(gguf, name, context, whole, adapter, Path(run.config.model) if adapter else None,
                  lora if lora.is_file() else None)


def recipes(export: Export, system: str = os.name) -> list[Recipe]:
    """One recipe for each program; what can't be done says why.

    Args:
        system: "nt" is Windows; commands are quoted for its shells.
    """
    found = []
    for program, make in (("ollama", _ollama), ("vllm", _vllm), ("llama.cpp", _llama_server),
                          ("lm-studio", _lm_studio)):
        try:
            found.append(make(export, system))
        except UserError as error:
            found.append(Recipe(program, problem=error))
    return found


def _ollama(export: Export, system: str) -> Recipe:
    text, notes = ollama.modelfile(export.gguf, export.context)
    command = shell_line(["ollama", "create", ollama.model_name(export.gguf), "-f",
                               str(ollama.modelfile_path(export.gguf))], system)
    return Recipe("ollama", text, command, notes)


def _llama_server(export: Export, system: str) -> Recipe:
    key_file = "llama-server.key"
    make_key = 'python3 -I -c "import secrets; print(secrets.token_urlsafe(32))" > ' + key_file
    serve = ["llama-server", "-m", str(export.gguf), "-c", str(export.context), "--host", "127.0.0.1", "--port",
             str(LLAMA_SERVER_PORT), "--jinja", "--api-key-file", key_file]
    first = make_key.replace("python3", "python") if system == "nt" else f"(umask 077; {make_key})"
    notes = [tr("The first line makes a key. Clients send it as a Bearer token.")]
    if export.lora is not None:
        notes.append(tr("To add only the adapter to a llama-server that serves the base model: {option}",
                        option=shell_line(["--lora", str(export.lora)], system)))
    return Recipe("llama.cpp", f"{first}\n\n{shell_line(serve, system)}", notes=tuple(notes))


def _vllm(export: Export, system: str) -> Recipe:
    words, template, notes = _vllm_model(export)
    words += ["--max-model-len", str(export.context), "--host", "127.0.0.1"]
    if template.is_file():
        words += ["--chat-template", str(template)]
    if system == "nt":
        notes.append(tr("vLLM runs on Linux: use WSL2, where drive C: is /mnt/c."))
    # vLLM has no Windows build, so its command is always one for a POSIX shell.
    return Recipe("vllm", shell_line(["vllm", "serve", *words], "posix"), notes=tuple(notes))


def _vllm_model(export: Export) -> tuple[list[str], Path, list[str]]:
    """What vLLM serves, with the chat template and notes: the base with its adapter, since merged weights are rounded
    (docs/serving.md); the merged folder where it can't serve them. Raises UserError: there is neither."""
    merged, adapter, base = export.merged, export.adapter, export.base
    if adapter is not None and base is not None and (base.is_dir() or merged is None):
        with contextlib.suppress(UserError) if merged is not None else contextlib.nullcontext():
            words = [str(base), "--enable-lora", "--lora-modules", _lora_module(export.name, adapter),
                     "--max-lora-rank", str(_rank(adapter))]
            notes = [tr("Clients ask for the model by the adapter's name.")]
            if merged is not None:
                notes.append(tr("The base model with its adapter answers as it was trained; the merged folder's "
                                "weights are rounded."))
            if not base.is_dir():
                notes.append(tr("The base model isn't where it was when the run was created."))
            if (adapter / "generation_config.json").is_file():  # where an answer ends, which the base may not know
                words += ["--generation-config", str(adapter)]
            templates = [folder / "chat_template.jinja" for folder in (adapter, base)]
            return words, next(filter(Path.is_file, templates), templates[0]), notes
    if merged is None:
        raise UserError(tr("vLLM needs safetensors."), tr("Its support for GGUF files is experimental and slow."),
                        tr("Export the run as {merged} or {adapter} too.", merged=MERGED.name, adapter=ADAPTER.name))
    return [str(merged), "--served-model-name", export.name], merged / "chat_template.jinja", []


def _lora_module(name: str, adapter: Path) -> str:
    """NAME=PATH, or JSON where the path would be cut at its own sign."""
    if "=" in str(adapter) or "=" in name:
        return json.dumps({"name": name, "path": str(adapter)}, ensure_ascii=False)
    return f"{name}={adapter}"


def _rank(adapter: Path) -> int:
    """Raises UserError: vLLM can't serve such an adapter."""
    config = files.read_json(adapter / "adapter_config.json")
    if config is None:
        raise UserError(tr("The adapter can't be read."),
                        tr("{folder} has no readable adapter_config.json.", folder=adapter),
                        tr("Export the run as {merged}.", merged=MERGED.name))
    for field, why in (("use_dora", noop("It uses DoRA.")),
                       ("modules_to_save", noop("It has whole layers as well as the adapter."))):
        if config.get(field):
            raise UserError(tr("vLLM can't serve this adapter by itself."), tr(why),
                            tr("Export the run as {merged}. Then it's a plain model.", merged=MERGED.name))
    pattern = config.get("rank_pattern")
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else ())]
    rank = max((rank for rank in ranks if isinstance(rank, int)), default=0)
    fitting = next((choice for choice in VLLM_RANKS if choice >= rank), None)
    if fitting is None:
        raise UserError(tr("vLLM can't serve this adapter by itself."),
                        tr("Its rank is {rank}, and vLLM supports ranks up to {most}.", rank=rank, most=VLLM_RANKS[-1]),
                        tr("Export the run as {merged}.", merged=MERGED.name))
    return fitting


def _lm_studio(export: Export, _system: str) -> Recipe:
    return Recipe("lm-studio", str(target(export.gguf)), notes=(
        tr("LM Studio shows the file under My Models. If both folders are on the same disk, it takes no extra space."),
    ))
