"""What is in a model folder: whether it is one, and whether a file or a setting of it leads out of it or to code.

What transformers 5.24 and peft 0.21 do with each setting was read in their source. Most of those that lead elsewhere
are passed over where `trust_remote_code` is off, as it always is here, and honest models carry them: Phi-3 has an
`auto_map` although transformers brings its architecture. These are named in a warning. Refused is what would be
followed all the same.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slmstudio.core import files, program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.gguf.model import is_gguf
from slmstudio.core.model.json_files import MAX_VALUES, printable, put_own, read_json_object, reported, walk, what_is
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
    base = (reported([], read_json_object, folder / "adapter_config.json") or {}).get("base_model_name_or_path")
    if isinstance(base, str) and base:
        return tr("It was trained on {model}.", model=printable(base, 200))
    return tr("It changes a base model.")


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


def check_entries(folder: Path, problems: list[Problem], warnings: list[str]) -> frozenset[str]:
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


MAX_TOKENIZER = 64 * 2**20
"""The largest tokenizer.json, in bytes; Gemma 3's, with 262,144 tokens, has 33 MB."""


def check_tokenizer_file(folder: Path, problems: list[Problem]) -> None:
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


MODEL, TOKENIZER, ADAPTER = "config.json", "tokenizer_config.json", "adapter_config.json"
FILES = (MODEL, TOKENIZER, "generation_config.json", "special_tokens_map.json", "added_tokens.json",
         "processor_config.json", "preprocessor_config.json", "chat_template.json")
MAX_DEPTH = 40
_FOLLOWED = {
    MODEL: {
        "configuration_files": noop("{key} in {file} leads to another configuration, which would replace this one."),
        "transformers_weights": noop("{key} in {file} leads to another file of weights, which would be loaded instead "
                                     "of those that were checked."),
        "use_pretrained_backbone": noop("{key} in {file} leads to another model, which would be loaded with this one."),
        "fusion_config": noop("{key} in {file} replaces the model's layers with other code."),
    },
    TOKENIZER: {
        "fast_tokenizer_files": noop("{key} in {file} leads to another tokenizer, which would be loaded instead of "
                                     "tokenizer.json."),
        "init_inputs": noop("{key} in {file} passes values to the tokenizer's class that can't be checked."),
        "tokenizer_object": noop("{key} in {file} replaces the tokenizer with something else."),
    },
}
"""Keys that are followed whatever `trust_remote_code` says, by file, and what they would do."""
_KERNEL = re.compile(r"[/:\\]")
"""In the name of an implementation: it is one of the hub's, as ORG/NAME (transformers, integrations/hub_kernels.py)."""
_CODE = ("auto_map", "trust_remote_code", "custom_pipelines", "custom_generate", "custom_code")
_PATHS = ("vocab_file", "merges_file", "tokenizer_file", "spm_file", "gguf_file", "tekken_file")
_METHODS = frozenset((
    "get_text_config", "to_dict", "to_json_string", "to_diff_dict", "save_pretrained", "from_pretrained", "from_dict",
    "update", "validate", "convert_rope_params_to_dict", "standardize_rope_params"))
"""Methods of transformers' configurations: a key of that name would take the method's place."""


def check_references(folder: Path, names: frozenset[str], problems: list[Problem], warnings: list[str]) -> None:
    """Look at the settings of all of a folder's configuration files; what is wrong goes to `problems`."""
    if ADAPTER in names and MODEL in names:
        problems.append(Problem(tr("{file} is beside the base model, and transformers would apply that adapter to "
                                   "the model when it is loaded. Move the adapter into a folder of its own.",
                                   file=ADAPTER)))
    passed_over: dict[str, list[str]] = {}
    for file in FILES:
        if file not in names:
            continue
        try:
            settings = read_json_object(folder / file)
        except UserError as error:
            if file not in (MODEL, TOKENIZER):  # these two are reported where they are used
                problems.append(Problem(" ".join(filter(None, (error.what, error.why, put_own(file))))))
            continue
        found = list(_passed_over(file, settings, problems))
        if found:
            passed_over[file] = found
    if passed_over:
        listed = "; ".join(f"{file}: {', '.join(dict.fromkeys(keys))}" for file, keys in passed_over.items())
        warnings.append(tr("The settings name code or places outside the folder, which this program never follows "
                           "({settings}).", settings=listed))


def _passed_over(file: str, settings: dict[str, Any], problems: list[Problem]) -> Iterator[str]:
    """The keys of one file that lead elsewhere and are passed over; those that are followed go to `problems`."""
    for count, (parents, key, value) in enumerate(walk(settings)):
        if count == MAX_VALUES:
            said = tr("{file} contains more than {most:,} values, which no model needs.", file=file, most=MAX_VALUES)
            problems.append(Problem(f"{said} {put_own(file)}"))
            return
        if len(parents) > MAX_DEPTH:
            said = tr("{file} is nested more than {most} levels deep, which no model needs.", file=file, most=MAX_DEPTH)
            problems.append(Problem(f"{said} {put_own(file)}"))
            return
        if value in (None, False, [], {}, ""):
            continue
        is_item = parents[-1:] == (key,)  # what a list or a table means has been looked at with it
        said = "" if is_item else _followed(file, parents, key, value)
        if said:
            problems.append(Problem(f"{said} {tr('Remove it, or choose another model.')}"))
        elif (key in _CODE and not is_item) or _is_elsewhere(key, value):
            yield printable(key)


def _followed(file: str, parents: tuple[str, ...], key: str, value: Any) -> str:
    """What a setting does although no code of a model is ever trusted, in a sentence; "" if it does nothing."""
    shown = printable(key)
    if sentence := _FOLLOWED.get(file, {}).get(key):
        return tr(sentence, key=shown, file=file)
    if key == "auto_map" and not _is_auto_map(value):
        return tr("{key} in {file} isn't a table of class names, so no library can read it.", key=shown, file=file)
    if key.startswith("__") and key != "__float__" and file == MODEL:
        return tr("{key} in {file} reaches into Python's internals.", key=shown, file=file)
    if file == MODEL and key in _METHODS and (not parents or parents[-1].endswith("_config")):
        return tr("{key} in {file} would replace a method of the same name.", key=shown, file=file)
    if key.removeprefix("_").removesuffix("_internal") in ("attn_implementation", "experts_implementation"):
        kernel = next((text for text in _texts(value) if _KERNEL.search(text)), None)
        return tr("{key} in {file} names code that would be fetched from the hub ({code}).", key=shown, file=file,
                  code=printable(kernel, 60)) if kernel else ""
    return ""


def _is_auto_map(value: Any) -> bool:
    """As transformers writes it: class names by kind; for tokenizers a pair, or None."""
    classes = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [0]
    return all(item is None or isinstance(item, str)
               or (isinstance(item, list) and all(part is None or isinstance(part, str) for part in item))
               for item in classes)


def _is_elsewhere(key: str, value: Any) -> bool:
    """Whether a setting is an address, or names a tokenizer's file outside the folder."""
    if not isinstance(value, str):
        return False
    if re.match(r"(?:https?|ftp|file|s3|hf)://", value, re.I):
        return True
    return key in _PATHS and (os.path.isabs(value) or ".." in value or ":" in value or "\\" in value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
