"""Which licence a model folder names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from slmstudio.core import files
from slmstudio.core.model.json_files import printable

_LICENCES = {
    "apache-2.0": "Apache-2.0", "mit": "MIT", "gemma": "Gemma", "llama2": "Llama 2", "llama3": "Llama 3",
    "llama3.1": "Llama 3.1", "llama3.2": "Llama 3.2", "llama3.3": "Llama 3.3", "bsd-3-clause": "BSD-3-Clause",
    "apache license": "Apache-2.0", "mit license": "MIT", "the mit license": "MIT",
}


def read_licence(folder: Path, config: dict[str, Any]) -> str | None:
    """The licence's name: from README.md's front matter, else the LICENSE file's first line, else config.json."""
    front = _front_matter(folder / "README.md")
    named = front.get("license_name") if front.get("license") in (None, "other", "unknown") else front.get("license")
    if not named:
        named = next((line for name in ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
                      if (line := _first_line(folder / name))), None)
    if not named and isinstance(config.get("license"), str):
        named = config["license"]
    return _LICENCES.get(named.lower(), printable(named)) if named else None


def _start_of(path: Path) -> str:
    try:
        with open(path, "rb", opener=files.regular) as file:
            return file.read(65_536).decode("utf-8", "replace")
    except OSError:
        return ""  # A licence that can't be read is a licence that isn't known.


def _first_line(path: Path) -> str:
    return next((line.strip(" #*=-\t\r") for line in _start_of(path).split("\n") if line.strip(" #*=-\t\r")), "")


def _front_matter(path: Path) -> dict[str, str]:
    """The plain `key: value` lines of the YAML block that model cards begin with."""
    match = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)\n---[ \t]*\r?(?:\n|$)", _start_of(path), re.DOTALL)
    lines = match[1].splitlines() if match else []
    pairs = (re.match(r"([A-Za-z_]+):[ \t]*(.+?)[ \t]*$", line) for line in lines)
    return {pair[1]: pair[2].strip("'\"") for pair in pairs if pair}
