"""A worker's own child that counts, and rests when it is told to: a file grows by a byte with each piece of work."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from slmstudio.worker.runtime import child


def work(request: dict[str, Any], report: Any) -> None:
    done, last = Path(request["done"]), Path(request["last"])
    while not last.exists():
        child.rest_if_told(request)
        with open(done, "ab") as file:
            file.write(b".")
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(child.serve(Path(sys.argv[1]), work))
