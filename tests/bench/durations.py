"""How long the tests take, by file, as a table for docs/testing.md.

python3 packaging/bootstrap.py test --full --junitxml=tests.xml
python tests/bench/durations.py tests.xml
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

SHORTEST = 10.0
"""Seconds that a file takes at least to have a line of its own."""


def table(report: Path) -> str:
    """The files of tests, the longest first; those that take little are added up by folder."""
    seconds: dict[str, float] = defaultdict(float)
    tests: dict[str, int] = defaultdict(int)
    for case in ElementTree.parse(report).iter("testcase"):
        parts = case.get("classname", "").split(".")
        file = "/".join(parts[:next((i + 1 for i, part in enumerate(parts) if part.startswith("test_")), len(parts))])
        seconds[file] += float(case.get("time", 0))
        tests[file] += 1
    for file in [file for file in seconds if seconds[file] < SHORTEST]:
        rest = f"{Path(file).parent}: the others"
        seconds[rest] += seconds.pop(file)
        tests[rest] += tests.pop(file)
    lines = ["| tests | number | seconds |", "| --- | ---: | ---: |"]
    for file in sorted(seconds, key=seconds.__getitem__, reverse=True):
        lines.append(f"| {file} | {tests[file]} | {seconds[file]:.0f} |")
    return "\n".join([*lines, f"| all | {sum(tests.values()):,} | {sum(seconds.values()):,.0f} |"])


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
