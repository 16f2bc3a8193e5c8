"""The files of a model folder: whether it is one, and whether any leads out of it or isn't a file at all."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from slmstudio.core import files, program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.gguf.model import is_gguf
from slmstudio.core.model.json_files import printable, read_json_object, what_is
from slmstudio.core.model.weights import INDEX, SINGLE
from slmstudio.core.units import format_bytes


def need_folder(folder: Path, name: str) -> None:
    """Say what was chosen when it isn't a folder.

    Args:
        name: what people call it.

    Raises:
        UserError: it doesn't exist, or is a file.
    """
    if not folder.exists():
        raise UserError(tr("{folder} doesn't exist.", folder=folder), tr("It may have been moved or deleted."),
                        tr("Choose the model's folder again."))
    if folder.is_file():
        raise _not_a_folder(folder, name)


def need_base_model(folder: Path, name: str, present: frozenset[str]) -> None:
    """Say what was chosen when the folder is something else than one of a base model.

    Args:
        name: what people call it.
        present: the names of what is in it.

    Raises:
        UserError: it holds an adapter or a GGUF file, or is the hub cache's folder around a model.
    """
    if "adapter_config.json" in present and not {SINGLE, INDEX} & present:
        raise UserError(tr("{name} is an adapter, not a base model.", name=name), _whose_adapter(folder),
                        tr("Choose the base model's folder. To turn an adapter from elsewhere into a run that can be "
                           "continued, exported and used in Chat: {command}",
                           command=program.command("models", "import", folder)))
    ggufs = sorted(printable(file) for file in present if file.lower().endswith(".gguf"))
    if "config.json" not in present and ggufs:
        raise UserError(tr("{name} contains a GGUF file ({file}), not a base model.", name=name, file=ggufs[0]),
                        tr("GGUF is for running a model."),
                        _how_to_import(folder / ggufs[0]))
    if "config.json" not in present and "snapshots" in present:
        raise UserError(tr("{name} is the hub cache's folder around the model.", name=name),
                        tr("The model is in a folder further inside."), tr("Choose the folder inside its `snapshots` "
                                                                           "folder."))


def _how_to_import(gguf: Path | str) -> str:
    """What makes a folder of a GGUF file, in the window and in the terminal; and what else can be done."""
    return " ".join((
        tr('To train it, import it: choose it with "GGUF…" in the Model tab, or run {command}, which unpacks it '
           "into such a folder.", command=program.command("models", "import", gguf)),
        tr("Or choose the folder that it was made from.")))


def _not_a_folder(file: Path, name: str) -> UserError:
    """What to do with a file that was chosen as a base model."""
    if is_gguf(file):
        return UserError(tr("{name} is a GGUF file, which runs a model but can't be trained as it is.", name=name),
                         tr("A base model is a folder with safetensors weights."),
                         _how_to_import(file))
    if (file.parent / "config.json").is_file():
        remedy = tr("Choose the folder it is in: {folder}", folder=file.parent)
    else:
        remedy = tr('Choose the model\'s folder, or a GGUF file with "GGUF…" in the Model tab or {command}.',
                    command=program.command("models", "import", "FILE"))
    return UserError(tr("{name} is a single file, not a base model.", name=name),
                     tr("A base model is a folder that contains config.json, tokenizer.json and the weights "
                        "(model.safetensors). A GGUF file, which can be made into one, begins with the letters GGUF; "
                        "this file doesn't."), remedy)


def _whose_adapter(folder: Path) -> str:
    try:
        base = read_json_object(folder / "adapter_config.json").get("base_model_name_or_path")
    except UserError:
        base = None
    if isinstance(base, str) and base:
        return tr("It was trained on {model}.", model=printable(base, 200))
    return tr("It changes a base model.")


# -- Whether a model folder has its tokenizer, as tokenizer.json.

MAX_TOKENIZER = 64 * 2**20
"""The largest tokenizer.json, in bytes; Gemma 3's, with 262,144 tokens, has 33 MB."""


def check(folder: Path, problems: list[Problem]) -> None:
    """tokenizer.json must be there and look whole. Reading it takes half a second, so only its ends are looked at."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        others = [name for name in ("tokenizer.model", "tekken.json", "vocab.json", "merges.txt", "spiece.model")
                  if (folder / name).is_file()]
        problems.append(Problem(
            tr("tokenizer.json is missing. The folder has {others}, which must be converted first: transformers' "
               "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes tokenizer.json.",
               others=", ".join(others)) if others else
            tr("There is no tokenizer: neither tokenizer.json nor tokenizer.model (which would need conversion).")))
        return
    with open(path, "rb", opener=files.regular) as file:
        head = file.read(64)
        file.seek(max(0, file.seek(0, os.SEEK_END) - 64))
        tail = file.read()
    if not head.lstrip().startswith(b"{"):
        problems.append(Problem(what_is("tokenizer.json", head)
                                or tr("{file} isn't a JSON object.", file="tokenizer.json")))
    elif path.stat().st_size > MAX_TOKENIZER:
        problems.append(Problem(tr("tokenizer.json is larger than {size}, which no model needs. Replace it with the "
                                   "model's own tokenizer.json.", size=format_bytes(MAX_TOKENIZER))))
    elif not tail.rstrip().endswith(b"}"):
        problems.append(Problem(tr("tokenizer.json is truncated: its end is missing.")))


MOST = 10_000
"""Entries of a folder; a model has some dozens."""
TEMPLATES = "additional_chat_templates"
"""The one subfolder that transformers reads with a tokenizer."""
_READ = re.compile(r".*\.(json|safetensors|jinja|model)|merges\.txt|vocab\.txt|readme\.md|licen[sc]e.*|copying", re.I)
"""Files that this program or one of its libraries opens."""
# transformers prefers these files to all others (distributed/checkpoint.py, is_sharded_checkpoint).
_DISTRIBUTED = re.compile(r"shard-[0-9]{5}-model-[0-9]{5}-of-[0-9]{5}\.safetensors")


def is_read(name: str) -> bool:
    """Whether a file with this name is opened by this program or one of its libraries."""
    return _READ.fullmatch(name) is not None


def look(folder: Path, problems: list[Problem], warnings: list[str]) -> frozenset[str]:
    """The names of what is in a model folder, links and all.

    Links are followed within the folder, and in the hub's cache from models--ORG--NAME/snapshots/HASH to its `blobs`.
    Where problems are added, nothing of the folder should be opened: a pipe, for instance, would never end.

    Raises:
        OSError: the folder can't be read.
    """
    names: set[str] = set()
    roots = _roots(folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(names) == MOST:
                problems.append(Problem(tr("The folder contains more than {most:,} files and folders, so there's "
                                           "more in it than a model. Choose the folder that contains the model and "
                                           "nothing else.",
                                           most=MOST)))
                return frozenset(names)
            names.add(entry.name)
            problems += _wrong(entry, roots)
            if entry.name == TEMPLATES and entry.is_dir(follow_symlinks=False):
                with os.scandir(entry.path) as inner:
                    problems += [problem for each in inner for problem in _wrong(each, roots)]
    _check_names(names, problems, warnings)
    return frozenset(names)


def _roots(folder: Path) -> list[str]:
    """Where links may lead: the folder, and the blobs of the hub's cache that it is in."""
    real = os.path.realpath(folder)
    snapshots, _ = os.path.split(real)
    model, name = os.path.split(snapshots)
    is_cache = name == "snapshots" and os.path.basename(model).startswith("models--")
    return [real, *([os.path.join(model, "blobs")] if is_cache else [])]


def _wrong(entry: os.DirEntry[str], roots: list[str]) -> list[Problem]:
    shown = printable(entry.name)
    target = os.path.realpath(entry.path) if entry.is_symlink() else ""
    if target and not any(target.startswith(root + os.sep) for root in roots):
        return [Problem(tr("{file} is a link that leads out of the folder, to {target}. Such links aren't followed: "
                           "put the file itself into the folder.", file=shown, target=printable(target, 200)))]
    try:
        status = os.stat(entry.path)
    except OSError:
        if not is_read(entry.name):
            return []
        return [Problem(tr("{file} is a link to a missing file. Put the file itself into the folder.",
                           file=shown) if target else
                        tr("{file} can't be accessed. Put the file itself into the folder.",
                           file=shown))]
    if stat.S_ISDIR(status.st_mode):
        return [Problem(tr("{file} is a folder where a file belongs. Put the model's own file in its place.",
                           file=shown))] \
            if entry.name.endswith((".json", ".safetensors", ".jinja")) else []
    if not stat.S_ISREG(status.st_mode):
        return [Problem(tr(_no_file(status.st_mode), file=shown))]
    if is_read(entry.name) and not os.access(entry.path, os.R_OK):
        return [Problem(tr("{file} can't be read: permission was denied. Change its permissions.", file=shown))]
    if _DISTRIBUTED.fullmatch(entry.name):
        return [Problem(tr("{file} is part of a distributed checkpoint, and would be loaded instead of the weights "
                           "that were checked. Move it out of the folder.", file=shown))]
    return []


def _no_file(mode: int) -> str:
    return (noop("{file} is a pipe, not a file. Remove it from the folder.") if stat.S_ISFIFO(mode) else
            noop("{file} is a socket, not a file. Remove it from the folder.") if stat.S_ISSOCK(mode) else
            noop("{file} is a device, not a file. Remove it from the folder."))


def _check_names(names: set[str], problems: list[Problem], warnings: list[str]) -> None:
    """Names that Windows and macOS take for the same, and names that can't be shown."""
    same: dict[str, list[str]] = {}
    for name in sorted(names):
        same.setdefault(name.casefold(), []).append(name)
    for twins in same.values():
        if len(twins) > 1 and is_read(twins[0]):
            problems.append(Problem(tr("The names {names} differ only in capital letters, so which of the files is "
                                       "read depends on the system. Remove the one that isn't the model's.",
                                       names=", ".join(map(printable, twins)))))
    odd = [printable(name) for name in sorted(names) if not name.isprintable()]
    if odd:
        warnings.append(tr("Some names in the folder contain characters that can't be shown: {names}.",
                           names=", ".join(odd[:3])))
