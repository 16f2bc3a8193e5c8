"""What needs a card, on the one that is here: ten checks, then speed, memory, readings and chat.

    python tests/bench/gpu.py --first              the ten checks: a line each, exit status 1 if one failed
    python tests/bench/gpu.py                      the checks, then the measurements, the most telling first
    python tests/bench/gpu.py --dry [--first]      the same on the processor with tiny models, to see that it works
    python tests/bench/gpu.py --only NAME …        these rows alone

Each row is a process of its own with a limit: one that crashes, hangs or fills the disk costs that row alone. A row
that can't begin within --minutes (8) is left for the next call. Each result is added to --rows FILE as it comes, as a
line of JSON, and the page --out (docs/gpu.md) is written again; what a row wrote is deleted at its end. Without a card,
it says so and exits with status 2. About 8 GB of disk are needed below --place.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "bench")]

MARK = "RESULT "
NO_CARD = "There is no NVIDIA card here that PyTorch can use, so nothing was measured."
LEAST_SECONDS = 5.0
"""A row isn't begun with less time left."""


@dataclass(frozen=True)
class Row:
    """
    Attributes:
        name: what `--only` calls it.
        title: what the page calls it.
        seconds: it is ended after.
        command: the process; it prints a line MARK + JSON object last.
    """

    name: str
    title: str
    seconds: float
    command: list[str]


def run_row(row: Row, place: Path, seconds: float) -> dict[str, Any]:
    """Run a row and return its result: {"row", "state": "passed", "failed", "left out" or "timed out", "seconds",
    "figures", "why"}. Every process that works below `place` ends with it."""
    began = time.monotonic()
    work = place / "work" / row.name
    work.mkdir(parents=True, exist_ok=True)
    log = place / f"{row.name}.log"
    with log.open("wb") as output:
        child = subprocess.Popen([*row.command, "--place", str(work)], stdout=output, stderr=subprocess.STDOUT,
                                 stdin=subprocess.DEVNULL, cwd=work, start_new_session=True)
        try:
            child.wait(seconds)
            state = "passed" if child.returncode == 0 else "failed"
        except subprocess.TimeoutExpired:
            state = "timed out"
        finally:
            end_processes(work, child)
    lines = log.read_text("utf-8", "replace").splitlines()
    found = next((json.loads(line[len(MARK):]) for line in reversed(lines) if line.startswith(MARK)), None)
    shutil.rmtree(work, ignore_errors=True)
    result = {"row": row.name, "title": row.title, "state": state, "seconds": round(time.monotonic() - began, 1)}
    if found is None:
        if state != "timed out":
            result["state"] = "failed"
        last = next(filter(None, reversed(lines)), f"ended with status {child.returncode}")
        return {**result, "figures": {}, "why": f"no result within {seconds:.0f} s" if state == "timed out" else last}
    return {**result, **found}


def end_processes(work: Path, child: subprocess.Popen[bytes]) -> None:
    """End the row's process and the workers that it started: these are detached, and work in folders of runs."""
    import psutil

    for process in psutil.process_iter():
        try:
            inside = Path(process.cwd()).is_relative_to(work) or work in map(Path, process.cmdline()[-1:])
            if process.pid != os.getpid() and inside:
                process.kill()
        except (psutil.Error, OSError):
            continue
    child.wait()


def run_all(rows: Iterable[Row], place: Path, seconds: float, tell: Callable[[dict[str, Any]], None]) -> None:
    """Run the rows, each within its own limit and all of them within `seconds`; `tell` gets each result as it comes."""
    end = time.monotonic() + seconds
    for row in rows:
        left = end - time.monotonic()
        if left < LEAST_SECONDS:
            tell({"row": row.name, "title": row.title, "state": "left out", "seconds": 0.0, "figures": {},
                  "why": "no time was left"})
            continue
        tell(run_row(row, place, min(row.seconds, left)))


def line(result: dict[str, Any]) -> str:
    """A result as the one line that is printed for it."""
    figures = ", ".join(f"{name} {value}" for name, value in result["figures"].items())
    return f"{result['state']:9}  {result['row']:18}  {result['seconds']:6.1f} s  {figures or result['why']}".rstrip()


def page(about: dict[str, Any], results: Iterable[dict[str, Any]], known: str) -> str:
    """docs/gpu.md: what was measured, above what is known without a card."""
    lines = ["# On a card", "",
             f"Measured by `tests/bench/gpu.py` on {about['card']} (compute capability {about['capability']}), "
             f"{about['memory_gb']} GB, PyTorch {about['torch']}, on {about['date']}.", "",
             "| what | result | s | figures |", "| --- | --- | ---: | --- |"]
    for result in results:
        figures = ", ".join(f"{name} {value}" for name, value in result["figures"].items())
        lines.append(f"| {result['title']} | {result['state']} | {result['seconds']:.0f} | "
                     f"{(figures or result['why']).replace('|', '/')} |")
    return "\n".join([*lines, "", known])


def known_without(page_text: str) -> str:
    """What the page says of the paths that nothing was measured for: from its second heading on."""
    return page_text[page_text.find("## "):] if "## " in page_text else ""


def main() -> int:
    import gpu_rows

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", action="store_true", help="the ten checks alone")
    parser.add_argument("--dry", action="store_true", help="on the processor; writes no page")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[*gpu_rows.CHECKS, *gpu_rows.MEASUREMENTS])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--rows", type=Path, help="a file that gets each result as a line of JSON")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu.md")
    parser.add_argument("--place", type=Path, help="a folder for models and runs")
    options = parser.parse_args()
    about = {} if options.dry else gpu_rows.card()
    if not options.dry and not about:
        print(NO_CARD, file=sys.stderr)
        return 2
    names = options.only or [*gpu_rows.CHECKS, *([] if options.first else gpu_rows.MEASUREMENTS)]
    results: list[dict[str, Any]] = []
    known = known_without(options.out.read_text("utf-8")) if options.out.exists() else ""

    def tell(result: dict[str, Any]) -> None:
        results.append(result)
        print(line(result), flush=True)
        if options.rows:
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
        if about:
            options.out.write_text(page(about, results, known), encoding="utf-8")

    with tempfile.TemporaryDirectory(prefix="slmstudio-gpu-", dir=options.place, ignore_cleanup_errors=True) as made:
        run_all(gpu_rows.rows(names, Path(made), options.dry), Path(made), 60 * options.minutes, tell)
    return int(any(result["state"] in ("failed", "timed out") for result in results))


if __name__ == "__main__":
    sys.exit(main())
