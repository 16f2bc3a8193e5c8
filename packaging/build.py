#!/usr/bin/env python3
"""Build what people install, on Debian or Ubuntu, into dist/.

python3 packaging/build.py windows    SLMStudio-Setup-VERSION.exe
python3 packaging/build.py deb        slmstudio_VERSION_all.deb
python3 packaging/build.py bundle     a folder with every wheel, which sets up without a network
python3 packaging/build.py llama      the chat engine's wheel for releases, for processors and cards
python3 packaging/build.py tools      only the tools that these and their tests need; --kind windows: for that one

The tools that it needs are installed when it is root, and named otherwise.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import build_app

KINDS = ("windows", "deb", "bundle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*KINDS, "llama", "tools"])
    parser.add_argument("--kind", choices=KINDS, help="with `tools`: for this kind of package alone")
    parser.add_argument("--out", type=Path, default=build_app.ROOT / "dist", help="where it goes; dist/ by default")
    options = parser.parse_args()
    if options.what == "tools":
        modules = [importlib.import_module(f"build_{kind}") for kind in ([options.kind] if options.kind else KINDS)]
        build_app.need({tool: package for module in modules for tool, package in module.TOOLS.items()})
        return
    module = importlib.import_module(f"build_{options.what}")
    build_app.need(module.TOOLS)
    options.out.mkdir(parents=True, exist_ok=True)
    print(module.build(options.out.absolute()))


if __name__ == "__main__":
    main()
