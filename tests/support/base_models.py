"""Base models: folders that were never taught to chat."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any


def without_template(folder: Path, target: Path, **tokenizer_config: Any) -> Path:
    """A model folder without its chat template; the weights are the same files, and must not be changed.

    Args:
        tokenizer_config: keys of tokenizer_config.json to change; None takes one away.
    """
    target.mkdir(parents=True)
    for path in folder.iterdir():
        if path.suffix == ".safetensors":
            os.link(path, target / path.name)
        elif path.name != "chat_template.jinja":
            shutil.copyfile(path, target / path.name)
    file = target / "tokenizer_config.json"
    state = {**json.loads(file.read_text(encoding="utf-8")), "chat_template": None, **tokenizer_config}
    file.write_text(json.dumps({key: value for key, value in state.items() if value is not None}), encoding="utf-8")
    return target


def tiny(folder: Path, target: Path) -> Path:
    """The tiny model as a base: no template, and its texts end with another token than turns in ChatML do."""
    without_template(folder, target, bos_token=None, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    for name in ("config.json", "generation_config.json"):
        state = json.loads((target / name).read_text(encoding="utf-8"))
        (target / name).write_text(json.dumps({**state, "bos_token_id": None, "eos_token_id": 0}), encoding="utf-8")
    return target
