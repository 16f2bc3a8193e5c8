"""How fast a large dataset is checked, beside `datasets.load_dataset` on the same file in the same run; how much memory
that takes; and how fast near-duplicates are found.

    python tests/bench/data.py [--rows 1000000] [--rounds 3] [--json]

Each side runs in a process of its own, its libraries imported before the clock starts. The least of the rounds counts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

TEXT = ("कृपया बताइए नदी the water office form पंजीकरण certificate of birth मुंबई नगर निगम time apply online fee documents "
        "required सरकार योजना")
WORDS = TEXT.split()
CHECK = """
import json, resource, sys, time
import pyarrow.compute, pyarrow.json
from slmstudio.core.data.reader import read_dataset
begin = time.perf_counter()
found = read_dataset(sys.argv[1], store=None)
print(json.dumps({"seconds": time.perf_counter() - begin, "rows": found.count, "problems": len(found.problems),
                  "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
LOAD = """
import json, sys, tempfile, time
import datasets
datasets.disable_progress_bars()
with tempfile.TemporaryDirectory() as cache:
    begin = time.perf_counter()
    rows = datasets.load_dataset("json", data_files=sys.argv[1], cache_dir=cache, split="train")
    print(json.dumps({"seconds": time.perf_counter() - begin, "rows": len(rows)}))
"""
NEAR = """
import json, sys, time
from slmstudio.core.data.health import near
from slmstudio.core.data.health.near import CancellableProgress
from slmstudio.core.data.reader import read_dataset
records = read_dataset(sys.argv[1]).records
begin = time.perf_counter()
found = near.near_duplicates(records, set(), CancellableProgress(len(records), None, None))
print(json.dumps({"seconds": time.perf_counter() - begin, "rows": len(records), "found": len(found)}))
"""


def write(path: Path, rows: int) -> None:
    """Questions and answers of about 1.1 kB a row, in Hindi and English."""
    chance = random.Random(1)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            asked, answer = (" ".join(chance.choices(WORDS, k=count)) for count in (20, 90))
            file.write(json.dumps({"instruction": f"{asked} {number}?", "input": "", "output": answer + "."},
                                  ensure_ascii=False) + "\n")


def measured(program: str, path: Path) -> dict[str, float]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False,
                          env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--near-rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "rows.jsonl", Path(folder) / "small.jsonl"
        write(path, wanted.rows)
        write(small, wanted.near_rows)
        rounds = [(measured(CHECK, path), measured(LOAD, path)) for _ in range(wanted.rounds)]
        near = measured(NEAR, small)
        size = path.stat().st_size
    check, load = (min(each[side]["seconds"] for each in rounds) for side in (0, 1))
    figures = {"rows": wanted.rows, "bytes": size, "check_seconds": round(check, 2), "load_seconds": round(load, 2),
               "check_ratio": round(check / load, 3), "check_mb": round(max(each[0]["mb"] for each in rounds), 1),
               "near_rows": wanted.near_rows, "near_seconds": round(near["seconds"], 1)}
    print(json.dumps(figures) if wanted.json else "\n".join(f"{name}: {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
