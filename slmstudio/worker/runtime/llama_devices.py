"""llama.cpp's backends, and the devices that they find.

A build of llama.cpp has the processor's backend inside of it, or each backend in a library of its own beside it, which
is loaded here before the first model. One that can't be loaded, as Vulkan's where there is no driver, costs a sentence.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmstudio.core import llama, program
from slmstudio.core.chat.devices import Device
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

_KINDS = {"CPU": "cpu", "Vulkan": "vulkan", "CUDA": "cuda", "Metal": "metal", "MTL": "metal"}  # ggml's names and ours
_INTEGRATED = 2  # ggml-backend.h, enum ggml_backend_dev_type


def llama_cpp() -> Any:
    """The package with the processor's backend loaded, and an OpenMP whose threads wait for each other actively.

    Workers are started with the opposite (core/jobs/job.py), which suits PyTorch on a busy machine. llama.cpp's threads
    meet after every operation, some hundred times a token; sleeping there took two thirds of the speed. OpenMP reads
    its settings once, when that backend is loaded; what this process starts later gets them as they were.

    Raises:
        UserError: it isn't set up, or no backend fits this processor.
    """
    llama.need()
    kept = {name: os.environ.pop(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ}
    # Where llama.cpp gives up, it would first start a debugger to print where it was; that can take long.
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    _preload_cuda()
    try:
        import llama_cpp

        _load_processor()
    finally:
        os.environ.update(kept)
    return llama_cpp


@functools.cache
def load_backends() -> tuple[str, ...]:
    """Load the backends of the cards as well, each once. Nothing else looks for a card's driver.

    Returns:
        a sentence for each backend that is there and can't be loaded.

    Raises:
        UserError: as of `llama_cpp`.
    """
    llama_cpp()
    problems = []
    for name, path in _backends().items():
        if name.startswith("cpu"):
            continue
        try:
            ctypes.CDLL(str(path))  # says why it can't be loaded; ggml's own function doesn't
            found = _library("ggml").ggml_backend_load(str(path).encode())
            why = "" if found else tr("it finds no driver that works")
        except OSError as error:
            found, why = None, str(error)
        if not found:
            problems.append(tr("llama.cpp can't use {name} here: {why}.", name=name.capitalize(), why=why.rstrip(".")))
    return tuple(problems)


def devices() -> list[Device]:
    """The processor, and the cards in the order in which llama.cpp numbers them, with their memory as it is now.

    Raises:
        UserError: as of `llama_cpp`.
    """
    load_backends()
    registry, base = _library("ggml"), _library("ggml-base")
    found = []
    for number in range(registry.ggml_backend_dev_count()):
        device = registry.ggml_backend_dev_get(number)
        backend = base.ggml_backend_reg_name(base.ggml_backend_dev_backend_reg(device)).decode()
        if backend not in _KINDS:  # BLAS, which helps the processor
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        base.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = base.ggml_backend_dev_description(device).decode("utf-8", "replace")
        found.append(Device(_KINDS[backend], name, free.value, total.value, number,
                            base.ggml_backend_dev_type(device) == _INTEGRATED))
    return sorted(found, key=lambda device: device.kind != "cpu")


def has_backends_of_cards() -> bool:
    """Whether this build can compute on cards; no driver is woken."""
    return bool(llama_cpp().llama_supports_gpu_offload()) or any(not name.startswith("cpu") for name in _backends())


def pointers(found: Sequence[Device]) -> Any:
    """Devices as llama.cpp's model parameters take them; without any, the processor computes everything."""
    registry = _library("ggml")
    return (ctypes.c_void_p * (len(found) + 1))(*(registry.ggml_backend_dev_get(each.index) for each in found), None)


def _preload_cuda() -> None:
    """CUDA's libraries that PyTorch has brought, for a build with CUDA: it looks for them in the system alone."""
    package = Path(importlib.util.find_spec("llama_cpp").origin).parent  # type: ignore[union-attr,arg-type]
    if any(package.glob("lib/*ggml-cuda*")):
        for name in ("cudart", "cublasLt", "cublas"):  # each needs the one before
            for path in package.parent.glob(f"nvidia/**/lib{name}.so.*"):
                with contextlib.suppress(OSError):
                    ctypes.CDLL(str(path))


@functools.cache
def _load_processor() -> None:
    """Raises UserError: no variant of its backend fits this processor."""
    variants = sorted((path for name, path in _backends().items() if name.startswith("cpu")), key=_score, reverse=True)
    if variants and not any(_library("ggml").ggml_backend_load(str(path).encode()) for path in variants):
        raise UserError(tr("llama.cpp wasn't built for this processor."), "",
                        tr("To set it up again, run: {command}", command=program.setup_command()))


def _score(path: Path) -> int:
    """How much of this processor a variant makes use of; 0 for one that doesn't run on it."""
    try:
        return int(ctypes.CDLL(str(path)).ggml_backend_score())
    except (OSError, AttributeError):
        return 0


@functools.cache
def _backends() -> dict[str, Path]:
    """The libraries that hold one backend each, by the backend's name; none in a build that has them inside of it."""
    if _library("ggml").ggml_backend_reg_count():
        return {}
    found = {path.stem.rpartition("ggml-")[2]: path for path in sorted(_folder().glob("*ggml-*"))
             if path.suffix in (".so", ".dll")}
    return {name: path for name, path in found.items() if name != "base"}


def _folder() -> Path:
    import llama_cpp

    return Path(llama_cpp.__file__).parent / "lib"


@functools.cache
def _library(name: str) -> Any:
    """One of llama.cpp's own libraries, which is in memory already. On Windows none finds the functions of another."""
    from llama_cpp._ctypes_extensions import load_shared_library

    library = load_shared_library(name, _folder())
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    functions = {
        "ggml": (("load", pointer, (text,)), ("reg_count", size, ()), ("dev_count", size, ()),
                 ("dev_get", pointer, (size,))),
        "ggml-base": (("reg_name", text, (pointer,)), ("dev_backend_reg", pointer, (pointer,)),
                      ("dev_description", text, (pointer,)), ("dev_type", ctypes.c_int, (pointer,)),
                      ("dev_memory", None, (pointer, ctypes.POINTER(size), ctypes.POINTER(size)))),
    }[name]
    for function_name, result, arguments in functions:
        function = getattr(library, f"ggml_backend_{function_name}")
        function.restype, function.argtypes = result, arguments
    return library
