"""Run pytest in several processes; what failed is run once more, alone.

A test that starts real processes may fail because the machine was busy with the others. Alone, it fails only where the
program, or the test, is at fault. Nothing is hidden: the closing lines name what passed only when run alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence

PARALLEL = ("--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
MOST_ALONE = 10
"""With more failures than this, it isn't the machine that was busy."""
TESTS_FAILED = 1
"""pytest's exit status where the tests ran and some failed; every other one has a cause that stays."""


def run(pytest: Sequence[str], words: Sequence[str], folder: str, environment: dict[str, str]) -> int:
    """Run the tests of a folder.

    Args:
        pytest: the command, as in `[python, "-m", "pytest"]`.
        words: further arguments for it.

    Returns:
        pytest's exit status: 0 only where every test passed, together with the others or alone.
    """
    with tempfile.TemporaryDirectory(prefix="slmstudio-tests-") as kept:
        command = [*pytest, "-o", f"cache_dir={kept}"]
        # In the full tier, a fifth of the time goes by in waiting for other processes: one more of them uses it.
        processes = str((os.cpu_count() or 1) + 1) if "--full" in words else "logical"
        status = subprocess.call([*command, "-n", processes, *PARALLEL, *words], cwd=folder, env=environment)
        failed = _failed(kept)
        if not are_run_alone(status, failed, words):
            return status
        print(f"\n{_tests(failed)} failed. Run once more, alone:", flush=True)
        tier = [word for word in words if word == "--full"]
        again = subprocess.call([*command, "--last-failed", *tier], cwd=folder, env=environment)
        passed = [name for name in failed if name not in _failed(kept)]
    if passed:
        print(f"{_tests(passed)} passed only when run alone: {', '.join(passed)}", flush=True)
    return again


def are_run_alone(status: int, failed: Sequence[str], words: Sequence[str]) -> bool:
    """Whether the tests that failed are run once more: not where pytest ended before all tests had run."""
    stopped_early = any(re.match(r"-\w*x|--(exitfirst|maxfail|stepwise|sw)\b", word) for word in words)
    return status == TESTS_FAILED and 0 < len(failed) <= MOST_ALONE and not stopped_early


def _failed(cache: str) -> list[str]:
    """The tests that failed last, as pytest keeps them for --last-failed."""
    try:
        with open(os.path.join(cache, "v", "cache", "lastfailed"), encoding="utf-8") as file:
            return sorted(json.load(file))
    except FileNotFoundError:
        return []


def _tests(names: Sequence[str]) -> str:
    return f"{len(names)} {'test' if len(names) == 1 else 'tests'}"
