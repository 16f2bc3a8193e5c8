"""Loads a GGUF model where `core.chat.placement` decides, and on less of a card where that refuses after all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from slmstudio.core.chat import placement
from slmstudio.core.chat.devices import Device
from slmstudio.core.chat.placement import REDUCED, Placement, Wish
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_gpus
from slmstudio.core.i18n import tr
from slmstudio.core.run import folder as run_folder
from slmstudio.worker.model import llama_gguf
from slmstudio.worker.runtime import llama_devices

T = TypeVar("T")


def place(path: Path, tokens: int, wish: Wish) -> Placement:
    """Where a file computes. Raises UserError: it isn't a complete GGUF file, or the wished device isn't there."""
    llama_gguf.install()
    shape = placement.read_shape(path)
    if wish.device == "cpu":  # a driver that crashes isn't woken
        return placement.choose(shape, tokens, (), wish, ram_free=0)
    gpus = read_gpus()[0]
    run = run_folder.running()
    request = {"device": "cpu"} if run is None else run.request()
    busy = [] if request.get("device") == "cpu" else [gpu.name for gpu in gpus][:request.get("processes") or 1]
    return placement.choose(shape, tokens, llama_devices.devices(), wish, busy=busy,
                            ram_free=psutil.virtual_memory().available, missing=llama_devices.load_backends())


def load(path: Path, tokens: int, wish: Wish, make: Callable[[Placement], T],
         tell: Callable[[Placement], None] = lambda found: None) -> tuple[T, Placement]:
    """Load a model as far as it fits on a card, with fewer layers or on the processor where the card refuses.

    Args:
        tokens: in all of its contexts together.
        make: loads it as a placement says.
        tell: hears what is tried, before drivers are woken and with each placement: a broken one may end this process.

    Raises:
        UserError: as of `place`; or the processor can't load it either.
    """
    if wish.device == "cpu" or not llama_devices.has_backends_of_cards():
        found = place(path, tokens, wish)
        return make(found), found
    tell(Placement(1, "", devices=(Device("", tr("graphics card")),), split=(1,)))
    wanted = found = place(path, tokens, wish)
    for share in REDUCED:
        tell(found)
        try:
            return make(found), found
        except UserError:  # whatever it was: on the processor at last, it's said
            if not found.layers:
                raise
            found = wanted.reduced(share)
    tell(found)
    return make(found), found
