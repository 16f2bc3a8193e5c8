"""How llama.cpp is compiled with its backends in libraries of their own: the processor's, and Vulkan's for cards.

A backend whose driver is missing isn't loaded, so that one wheel is right for machines with and without a card.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

TAG = "1vulkan"
"""The build tag in the wheel's name. pip prefers it to a wheel without one."""
PLAIN_SECONDS, VULKAN_SECONDS = 550, 1000
"""What compiling takes on one core: measured on two."""
# Everything goes to where the package looks for it, once. The multimodal part isn't used here.
LAYOUT = ("-DCMAKE_INSTALL_LIBDIR=llama_cpp/lib", "-DCMAKE_INSTALL_BINDIR=llama_cpp/lib",
          "-DCMAKE_INSTALL_INCLUDEDIR=llama_cpp/include", "-DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON",
          "-DCMAKE_INSTALL_RPATH=$ORIGIN", "-DLLAVA_BUILD=OFF")
MODULAR = ("-DGGML_NATIVE=OFF", "-DGGML_BACKEND_DL=ON")
# ggml's name of an instruction set -> the processor's flags in /proc/cpuinfo
INSTRUCTIONS = {"SSE42": "sse4_2", "AVX": "avx", "AVX2": "avx2", "BMI2": "bmi2", "FMA": "fma", "F16C": "f16c",
                "AVX_VNNI": "avx_vnni", "AVX512": "avx512f avx512cd avx512vl avx512dq avx512bw",
                "AVX512_VBMI": "avx512vbmi", "AVX512_VNNI": "avx512_vnni", "AVX512_BF16": "avx512_bf16",
                "AMX_TILE": "amx_tile", "AMX_INT8": "amx_int8", "AMX_BF16": "amx_bf16"}
# program or file of which any will do -> Debian's and Ubuntu's package
VULKAN = ((("glslc",), "glslc"), (("/usr/include/vulkan/vulkan.h",), "libvulkan-dev"),
          (("/usr/share/cmake/SPIRV-Headers", "/usr/lib/cmake/SPIRV-Headers"), "spirv-headers"))


def missing_vulkan() -> dict[str, str]:
    """What compiling Vulkan's backend needs beside a compiler and isn't there, with the package that brings it."""
    if os.environ.get("VULKAN_SDK"):  # LunarG's, the only one on Windows
        return {}
    if sys.platform == "win32":
        return {"glslc": "Vulkan SDK"}
    return {names[0]: package for names, package in VULKAN
            if not any(shutil.which(name) or (name[0] == "/" and Path(name).exists()) for name in names)}


def build_environment(portable: bool, vulkan: bool = True) -> dict[str, str]:
    """Variables for `pip wheel` of llama-cpp-python.

    Args:
        portable: for any processor of this kind, by a variant for each generation; otherwise for this one alone.
    """
    processor = ["-DGGML_CPU_ALL_VARIANTS=ON"] if portable else _this_processor()
    backends = [*MODULAR, *processor, *(["-DGGML_VULKAN=ON"] if vulkan else [])]
    return {"CMAKE_ARGS": " ".join([*LAYOUT, *backends]), "SKBUILD_WHEEL_BUILD_TAG": TAG if vulkan else "0portable"}


def _this_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """What the compiler's `native` would take. A modular build is told by name, so that it can tell on another
    processor that it doesn't fit."""
    try:
        flags = set(re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)[1].split())
    except (OSError, TypeError):
        return ["-DGGML_CPU_ALL_VARIANTS=ON"]
    return [f"-DGGML_{name}={'ON' if flags.issuperset(wanted.split()) else 'OFF'}"
            for name, wanted in INSTRUCTIONS.items()]


def minutes(vulkan: bool) -> int:
    """How long compiling takes about on this machine."""
    return max(1, round((VULKAN_SECONDS if vulkan else PLAIN_SECONDS) / (os.cpu_count() or 1) / 60))


# -- CUDA

CUDA_INDEX = "https://abetlen.github.io/llama-cpp-python/whl/cu{}"
CUDA_BUILDS = (132, 130, 125, 124, 123, 122, 121)
"""Of which CUDA the index has wheels, as 10 * major + minor."""


def cuda_build(torch_folder: Path, driver: int) -> int:
    """The newest of `CUDA_BUILDS` that the driver runs and whose libraries PyTorch has brought; 0 without one.

    Args:
        driver: the newest CUDA that it runs, as CUDA_BUILDS says it.
    """
    try:
        found = re.search(r"^cuda\b.*= '(\d+)\.", (torch_folder / "version.py").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return next((build for build in CUDA_BUILDS if found and build <= driver and build // 10 == int(found[1])), 0)


def driver_cuda() -> int:
    """The newest CUDA that the installed driver runs, as 10 * major + minor; 0 without a driver."""
    import ctypes

    version = ctypes.c_int()
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        failed = library.cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return 0
    return 0 if failed else version.value // 1000 * 10 + version.value % 1000 // 10
