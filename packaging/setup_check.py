"""The last step: does what was set up work, and does PyTorch see the graphics card? If not, why, and what to do."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from setup_console import Console
from setup_language import tr
from setup_packages import Packages

# Runs in the environment. What PyTorch says of the card comes as JSON in the last line.
PROBE = """
import json, sys
import PySide6.QtWidgets, transformers, slmstudio
import torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip, "cards": [], "why": ""}
try:
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(number)
            found["cards"].append([card.name, card.total_memory])
        torch.zeros(8, device="cuda").sum().item()
    elif torch.version.cuda:
        torch.cuda.init()
except Exception as error:
    found["why"] = str(error).splitlines()[0]
print(json.dumps(found))
"""


def check(bootstrap: ModuleType, packages: Packages, console: Console) -> str:
    """Import what the program needs, and let PyTorch compute on the card.

    Returns:
        one sentence on the graphics card.

    Raises:
        Stop: a library doesn't load.
    """
    if not console.run([packages.python, "-I", "-c", PROBE], packages.environment):
        raise console.failure(tr("The environment was set up, but doesn't work."))
    found = _answer(console.output())
    if not found:
        raise console.failure(tr("The environment was set up, but its check printed nothing."))
    driver, note = bootstrap.has_nvidia_driver(), Path(bootstrap.NO_CARD)
    said = of_cards(found, driver, bootstrap.how_to_set_up())
    if driver and (found.get("why") or not found.get("cards")):
        note.write_text(said + "\n", encoding="utf-8")
    else:
        note.unlink(missing_ok=True)
    return said


def _answer(output: str) -> dict[str, Any]:
    """The probe's own line; a library may say something after it."""
    for line in reversed(output.splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict) and "torch" in found:
                return found
    return {}


def of_cards(found: dict[str, Any], driver: bool, again: str) -> str:
    """What the probe found, in words.

    Args:
        found: "torch", "cuda" (the version it was built for, or None), "cards" ([name, bytes] each), "why".
        driver: whether an NVIDIA driver is installed.
        again: the command that sets up again.
    """
    cards, why = found.get("cards") or [], str(found.get("why") or "")
    build = f"PyTorch {found['torch']}"
    if isinstance(cards, list) and cards and not why:
        names = ", ".join(f"{name} ({size / 2**30:.0f} GB)" for name, size in cards)
        return tr("{pytorch} uses: {cards}.", pytorch=build, cards=names)
    if not driver:
        return tr("{pytorch} works. No NVIDIA driver was found, so training runs on the processor, slowly.",
                  pytorch=build)
    if not found.get("cuda"):
        return tr("There is an NVIDIA driver, but {pytorch} can't use the card: it's the CPU-only build. Update the "
                  "NVIDIA driver, connect to the network, then run: {command}", pytorch=build, command=again)
    said = tr("There is an NVIDIA driver, but {pytorch}, built for CUDA {cuda}, can't use the card.", pytorch=build,
              cuda=found["cuda"])
    remedy = tr("Update the NVIDIA driver (under WSL2, the Windows driver), restart, then run: {command}",
                command=again)
    return " ".join(filter(None, [said, f"{why.rstrip('.')}." if why else "", remedy]))
