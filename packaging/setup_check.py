"""The last step: does what was set up work, and does PyTorch see the graphics card? If not, why, and what to do."""

from __future__ import annotations

import json
from types import ModuleType

from setup_console import Console
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
        Stop: a library does not load.
    """
    if not console.run([packages.python, "-I", "-c", PROBE], packages.environment):
        raise console.failure("The environment was set up, but does not work.")
    return of_cards(json.loads(console.output().strip().splitlines()[-1]), bootstrap.has_nvidia_driver())


def of_cards(found: dict[str, object], driver: bool) -> str:
    """What the probe found, in words.

    Args:
        found: "torch", "cuda" (the version it was built for, or None), "cards" ([name, bytes] each), "why".
        driver: whether an NVIDIA driver is installed.
    """
    cards, why = found.get("cards") or [], str(found.get("why") or "")
    build = f"PyTorch {found['torch']}"
    if isinstance(cards, list) and cards and not why:
        names = ", ".join(f"{name} ({size / 2**30:.0f} GB)" for name, size in cards)
        return f"{build} computes on: {names}."
    if not driver:
        return f"{build} works. No NVIDIA driver was found: training runs on the processor, slowly."
    if not found.get("cuda"):
        return (f"An NVIDIA driver is here, but {build} cannot use the card: it is the build for processors. Update "
                "the NVIDIA driver, then run: slmstudio setup")
    return (f"An NVIDIA driver is here, but {build}, built for CUDA {found['cuda']}, cannot use the card"
            f"{': ' + why.rstrip('.') if why else ''}. Update the NVIDIA driver (under WSL2 the one of Windows), "
            "restart, then run: slmstudio setup")
