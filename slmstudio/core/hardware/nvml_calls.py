"""Asking NVIDIA's library: one question at a time, and what its errors mean in words."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from slmstudio.core.i18n import noop, tr

NO_DRIVER = noop("No NVIDIA driver was found on this machine.")
NO_GPU = noop("The NVIDIA driver is installed, but it sees no GPU. Check that the card sits firmly and has power, or "
              "that the laptop's graphics settings switch it on.")
LOST = noop("The GPU no longer answers. Restart the machine; if it happens again, check the card's power cables and "
            "cooling, and update the driver.")
DRIVER_GONE = noop("The NVIDIA driver was stopped or replaced. Restart the machine.")
NOT_LOADED = noop("The NVIDIA driver is installed but not loaded. Restart the machine; if that doesn't help, install "
                  "the driver again.")
UPDATED = noop("The NVIDIA driver was updated, and its old version is still loaded. Restart the machine.")
NO_ACCESS = noop("This user account may not use the NVIDIA driver. Ask an administrator for access to the GPU.")


class GpuGone(Exception):
    """The card or its driver went away while it was being read."""


def binding() -> ModuleType:
    """pynvml, loaded when a card is first asked for: no window waits for it."""
    return importlib.import_module("pynvml")


def ask(query: Callable[..., Any], *arguments: Any) -> Any:
    """The answer to one query; None if the card, the driver or the permission is missing for it.

    Raises:
        GpuGone: nothing else will be answered either.
    """
    pynvml = binding()
    try:
        return query(*arguments)
    except pynvml.NVMLError as error:
        if error.value in (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED):
            raise GpuGone(tr(LOST)) from error
        if error.value in (pynvml.NVML_ERROR_UNINITIALIZED, pynvml.NVML_ERROR_DRIVER_NOT_LOADED):
            raise GpuGone(tr(DRIVER_GONE)) from error
        return None


def reason(error: Any) -> str:
    pynvml = binding()
    known = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NO_DRIVER,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: NOT_LOADED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: UPDATED,
        pynvml.NVML_ERROR_NO_PERMISSION: NO_ACCESS,
        pynvml.NVML_ERROR_GPU_NOT_FOUND: NO_GPU,
        pynvml.NVML_ERROR_GPU_IS_LOST: LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED: LOST,
    }.get(error.value)
    if known is not None:
        return tr(known)
    return tr("The NVIDIA driver can't be queried: {message}. Update the driver.",
              message=str(error).rstrip("."))
