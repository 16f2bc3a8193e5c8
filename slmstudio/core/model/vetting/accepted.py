"""Tokenizers that seem to be another model's, and that a person has accepted: said once, remembered for that model."""

from __future__ import annotations

from pathlib import Path

from slmstudio.core import files, formats, paths, program
from slmstudio.core.errors import os_errors_as
from slmstudio.core.i18n import tr

KIND = "accepted tokenizers"


def is_accepted(folder: Path) -> bool:
    """Whether a person has accepted this tokenizer with this config.json, wherever the folder is now.

    Raises:
        UserError: a newer program wrote what was accepted.
    """
    return _digest(folder) in _all()


def accept(folder: Path) -> None:
    """Remember that a model's tokenizer is the right one.

    Raises:
        UserError: that can't be written.
    """
    with os_errors_as(tr("Could not save which tokenizers you accepted.")):
        state = {**formats.stamp(KIND), "sha256": sorted({*_all(), _digest(folder)})}
        files.write_atomically(paths.accepted_tokenizers_file(), files.dump_pretty(state))


def how_to_accept(folder: Path) -> str:
    """What to do about a tokenizer that is refused, in a sentence."""
    return tr("If you know that it's the right one, accept it: {command}",
              command=program.command("models", "vet", "--accept-tokenizer", folder))


def _all() -> list[str]:
    with os_errors_as(tr("Could not read which tokenizers you accepted.")):
        found = (formats.read(KIND, paths.accepted_tokenizers_file()) or {}).get("sha256")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _digest(folder: Path) -> str:
    return " ".join(files.sha256_of(folder / name) for name in ("config.json", "tokenizer.json"))
