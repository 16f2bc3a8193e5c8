"""How llama.cpp is compiled with its backends in libraries of their own: the processor's, and Vulkan's for cards."""

from __future__ import annotations

import re
from pathlib import Path

TAG = "1vulkan"  # the build tag in the wheel's name; pip prefers it to a wheel without one
# Everything goes to where the package looks for it, once. The multimodal part isn't used here.
LAYOUT = ("-DCMAKE_INSTALL_LIBDIR=llama_cpp/lib", "-DCMAKE_INSTALL_BINDIR=llama_cpp/lib",
          "-DCMAKE_INSTALL_INCLUDEDIR=llama_cpp/include", "-DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON",
          "-DCMAKE_INSTALL_RPATH=$ORIGIN", "-DLLAVA_BUILD=OFF", "-DGGML_NATIVE=OFF", "-DGGML_BACKEND_DL=ON",
          "-DGGML_VULKAN=ON")
PORTABLE = ["-DGGML_CPU_ALL_VARIANTS=ON"]
# ggml's name of an instruction set -> the processor's flags in /proc/cpuinfo
INSTRUCTIONS = {"SSE42": "sse4_2", "AVX": "avx", "AVX2": "avx2", "BMI2": "bmi2", "FMA": "fma", "F16C": "f16c",
                "AVX_VNNI": "avx_vnni", "AVX512": "avx512f avx512cd avx512vl avx512dq avx512bw",
                "AVX512_VBMI": "avx512vbmi", "AVX512_VNNI": "avx512_vnni", "AVX512_BF16": "avx512_bf16",
                "AMX_TILE": "amx_tile", "AMX_INT8": "amx_int8", "AMX_BF16": "amx_bf16"}
# major version of CUDA, as the version of PyTorch ends -> where a wheel is that runs with PyTorch's own libraries
CUDA_INDEX = {"cu12": "https://abetlen.github.io/llama-cpp-python/whl/cu124",
              "cu13": "https://abetlen.github.io/llama-cpp-python/whl/cu130"}


def build_environment(portable: bool) -> dict[str, str]:
    """Variables for `pip wheel` of llama-cpp-python; portable: for any processor of this kind, not this one alone."""
    processor = PORTABLE if portable else _this_processor()
    return {"CMAKE_ARGS": " ".join([*LAYOUT, *processor]), "SKBUILD_WHEEL_BUILD_TAG": TAG}


def _this_processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """What the compiler's `native` would take, by name: on another processor the build says that it doesn't fit."""
    try:
        found = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return PORTABLE
    if found is None:
        return PORTABLE
    flags = set(found[1].split())
    tuned = ["-DCMAKE_C_FLAGS=-mtune=native", "-DCMAKE_CXX_FLAGS=-mtune=native"]  # prompts are read 7 % faster
    return [*tuned, *(f"-DGGML_{name}={'ON' if flags.issuperset(wanted.split()) else 'OFF'}"
                      for name, wanted in INSTRUCTIONS.items())]
