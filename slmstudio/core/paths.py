"""Where things are kept.

`SLMSTUDIO_HOME` puts everything below one folder. Without it, the folder that was chosen in the program (`place`) is
used, and where none was, the system's own place.
"""

from __future__ import annotations

import os
from pathlib import Path

from slmstudio.core import formats
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr

EXPORTS = "exports"
"""The folder inside a run's folder that holds its exported files."""
LORA_ENDING = "-lora.gguf"
"""How the name of a GGUF file that holds only an adapter ends."""


def home() -> Path:
    """The folder that holds the user's runs, models and datasets.

    Raises:
        UserError: one was chosen, and the note of it can't be read. To use another one then would look like a loss.
    """
    override = os.environ.get("SLMSTUDIO_HOME")
    return Path(override) if override else chosen_home() or usual_home()


def usual_home() -> Path:
    """The system's own place for a program's data."""
    import platformdirs

    return Path(platformdirs.user_data_dir("slmstudio", appauthor=False))


def place_file() -> Path:
    """Remembers which folder was chosen. It is outside of it, among the user's configuration files."""
    import platformdirs

    return Path(platformdirs.user_config_dir("slmstudio", appauthor=False)) / "place.json"


def hub_tokens_file() -> Path:
    """Tokens for gated models where the system has no keyring; not below `home`, which people copy and share."""
    return place_file().with_name("hub_tokens.json")


def chosen_home() -> Path | None:
    """The folder that was chosen in the program, or None.

    Raises:
        UserError: place.json can't be read, or a newer program wrote it.
    """
    file = place_file()
    with os_errors_as(tr("Could not read where your runs and models are kept.")):
        state = formats.read("place", file)
        if state is None and not os.path.lexists(file):
            return None
    folder = (state or {}).get("folder")
    if not isinstance(folder, str) or not os.path.isabs(folder):
        raise UserError(tr("{file} doesn't say where your runs and models are kept.", file=file),
                        tr("The file is damaged."),
                        tr("Choose their folder again, or delete this file to use the usual one."))
    return Path(folder)


def runs_dir() -> Path:
    return home() / "runs"


def searches_dir() -> Path:
    """Searches for better settings; their trials are runs like others."""
    return home() / "searches"


def documents_dir() -> Path:
    """Questions and answers made from documents, a folder for each project."""
    return home() / "documents"


def models_dir() -> Path:
    return home() / "models"


def datasets_dir() -> Path:
    return home() / "datasets"


def chats_dir() -> Path:
    return home() / "chats"


def evaluations_dir() -> Path:
    """Evaluations of models that don't come from a run; those of a run are in its own folder."""
    return home() / "evaluations"


def benchmarks_dir() -> Path:
    """Data sets of benchmarks that were fetched."""
    return home() / "benchmarks"


def votes_file() -> Path:
    """Votes of blind comparisons, one JSON object per line."""
    return home() / "votes.jsonl"


def cache_dir() -> Path:
    """Rebuildable files, and the folders of short jobs."""
    return home() / "cache"


def is_too_wide(place: Path) -> bool:
    """Whether a folder is the system's root, the user's home, a folder above it, or the folder of everything that is
    kept here: no job is to have all of that."""
    whole, own = Path(os.path.realpath(place)), Path(os.path.realpath(os.path.expanduser("~")))
    return own.is_relative_to(whole) or whole == Path(os.path.realpath(home()))


def converter_dir() -> Path:
    """The GGUF converter, kept out of site-packages: it brings a `gguf` package of its own."""
    import sys

    return Path(sys.prefix) / "converter"


def settings_file() -> Path:
    return home() / "settings.json"


def accepted_tokenizers_file() -> Path:
    """Tokenizers that a person uses although they don't seem to be the model's."""
    return home() / "accepted_tokenizers.json"


def log_file() -> Path:
    return home() / "slmstudio.log"


def resources() -> Path:
    """Icons, style sheets, translations and the starter dataset, which ship with the program."""
    return Path(__file__).resolve().parent.parent.parent / "resources"


def starter_train_file() -> Path:
    return resources() / "starter" / "helpdesk_train.jsonl"


def starter_test_file() -> Path:
    return resources() / "starter" / "helpdesk_test.jsonl"
