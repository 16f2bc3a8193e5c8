"""Says what was chosen where it isn't the folder of a base model, and what can be done with it instead."""

from __future__ import annotations

from pathlib import Path

from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.gguf.model import is_gguf
from slmstudio.core.model.json_files import printable, read_json_object
from slmstudio.core.model.weights import INDEX, SINGLE


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
