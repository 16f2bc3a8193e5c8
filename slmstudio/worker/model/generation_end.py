"""Where a model's generation ends: the token that its chat template puts behind an answer must be among the ends that
its files name, or programs that go by those files never stop."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.errors import UserError
from slmstudio.core.model.json_files import read_json_object

FILE = "generation_config.json"


def with_end(ends: Any, end: int) -> int | list[int]:
    """`eos_token_id` of a configuration, one id or several or none, with `end` among them."""
    known = ends if isinstance(ends, list) else [] if ends is None else [ends]
    found = [*known, *({end} - set(known))]
    return found[0] if len(found) == 1 else found


def write(base: Path, end: int, target: Path) -> None:
    """Write the base's generation_config.json into `target`, with `end` among its ends.

    Raises:
        OSError: it can't be written.
    """
    state: dict[str, Any] = {}
    for name in ("config.json", FILE):
        with contextlib.suppress(UserError):  # a model need not have the second
            found = read_json_object(base / name)
            state = found if name == FILE else {"eos_token_id": found.get("eos_token_id")}
    state.pop("_from_model_config", None)  # or transformers would make it from config.json again
    files.write_atomically(target / FILE, files.dump_pretty(
        {**state, "eos_token_id": with_end(state.get("eos_token_id"), end)}))
