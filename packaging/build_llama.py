#!/usr/bin/env python3
"""Build the wheel of llama.cpp for releases: any processor of this kind, and graphics cards by Vulkan.

python3 packaging/build.py llama          on Debian or Ubuntu, into dist/
python packaging/build_llama.py FOLDER    on Windows, with Visual Studio's Build Tools and LunarG's Vulkan SDK
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bootstrap
import build_app
import setup_backends
import setup_system

TOOLS = {names[0]: package for names, package in (*setup_system.COMPILER, *setup_system.VULKAN)}


def build(out: Path) -> Path:
    """Make the wheel in `out` and return it. Raises SystemExit: it doesn't compile."""
    pin = bootstrap.requirement("llama-cpp-python")
    environment = {**os.environ, **setup_backends.build_environment(portable=True)}
    print("Compiling llama.cpp for any processor of this kind, about 20 minutes", flush=True)
    command = [*build_app.pip(), "wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", str(out), pin]
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise SystemExit("llama-cpp-python could not be compiled. Look at what pip says above.")
    return next(out.glob(f"llama_cpp_python-*-{setup_backends.TAG}-*.whl"))


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).absolute()))
