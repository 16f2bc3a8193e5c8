"""Says of each library whether it loads, and what only the library knows: whether it can use the graphics card.

The doctor's child process: an import that crashes takes no worker along.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any


def main(names: list[str]) -> int:
    """Import each in turn and print a line of JSON for it. Returns the exit status."""
    for name in names:
        # A library may have printed half a line.
        print("\n" + json.dumps({"library": name, **look(name)}), flush=True)
    return 0


def look(name: str) -> dict[str, Any]:
    """What is found of one library: "error", and what its own look adds."""
    try:
        module = importlib.import_module(name)
        return {"error": "", **OWN[name](module)} if name in OWN else {"error": ""}
    except (Exception, SystemExit) as error:
        first = (str(error).strip().splitlines() or [""])[0]
        return {"error": f"{type(error).__name__}: {first}"}


def _torch(torch: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "version": str(torch.__version__), "cuda": torch.version.cuda, "hip": torch.version.hip, "why": "",
        "available": bool(torch.cuda.is_available()), "architectures": torch.cuda.get_arch_list(),
        "flash": bool(torch.backends.cuda.is_flash_attention_available())}
    try:
        if found["available"]:
            torch.zeros(8, device="cuda").sum().item()
        elif torch.version.cuda:
            torch.cuda.init()
    except Exception as error:
        found |= {"available": False, "why": (str(error).splitlines() or [""])[0]}
    return found


def _bitsandbytes(bitsandbytes: Any) -> dict[str, Any]:
    return {"gpu": bool(importlib.import_module("bitsandbytes.cextension").lib.compiled_with_cuda)}


def _llama(llama_cpp: Any) -> dict[str, Any]:
    from slmstudio.worker.runtime import llama_devices

    found = {"problems": llama_devices.load_backends(), "devices": list(map(asdict, llama_devices.devices()))}
    return {"gpu": bool(llama_cpp.llama_supports_gpu_offload()), **found}


OWN: dict[str, Callable[[Any], dict[str, Any]]] = {"torch": _torch, "bitsandbytes": _bitsandbytes, "llama_cpp": _llama}
