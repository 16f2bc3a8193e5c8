"""What lies in the folder that a command is called from, or in a run's own folder, is never executed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from slmstudio.core import jobs, program
from slmstudio.core.jobs import processes
from slmstudio.core.jobs.interactive import InteractiveWorker

ROOT = Path(__file__).resolve().parent.parent.parent
PLANTED = ("llama_cpp", "queue", "filelock", "psutil", "json", "errno", "secrets", "signal", "typer", "rich", "numpy")
TERMINAL = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": ""}


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A folder full of modules that write their name into `executed` when they are imported, and the current one."""
    executed, folder = tmp_path / "executed", tmp_path / "planted"
    monkeypatch.setenv("EXECUTED", str(executed))
    executed.mkdir()
    folder.mkdir()
    text = 'import os\nopen(os.path.join(os.environ["EXECUTED"], __name__), "w").close()\n'
    for name in PLANTED:
        (folder / f"{name}.py").write_text(text)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def package(planted):
    """The program's own name is taken too."""
    (planted / "slmstudio").mkdir()
    for name in ("__init__.py", "__main__.py"):
        (planted / "slmstudio" / name).write_text((planted / "queue.py").read_text())


def job_worker(folder: Path) -> None:
    """Its current folder is the job's; it finds that another one is at work, and ends."""
    with filelock.FileLock(folder / "worker.lock"):
        job = jobs.Job(folder)
        job.start()
        job._process.wait(60)
        assert "another worker is working on" in job.log_tail()


def interactive_worker(folder: Path) -> None:
    with InteractiveWorker("chat") as worker:
        worker.send({"command": "load", "path": str(folder / "no.gguf")})
        assert next(worker.receive())["type"] in ("error", "log", "loading")


def terminal(folder: Path) -> None:
    """As the shortcut, the package's command and the bootstrap start it."""
    done = subprocess.run([sys.executable, "-P", "-m", "slmstudio", "chat", "no.gguf", "--prompt", "Hello"],
                          env={**os.environ, **TERMINAL}, capture_output=True, text=True, timeout=110)
    assert done.returncode == 2 and "no.gguf" in done.stderr, done.stderr


def script(folder: Path) -> None:
    """The command that the environment has."""
    command = Path(sys.prefix) / ("Scripts" if os.name == "nt" else "bin") / "slmstudio"
    if not command.is_file():
        pytest.skip("the environment has no such command")
    done = subprocess.run([command, "chat", "no.gguf", "--prompt", "Hello"], env={**os.environ, **TERMINAL},
                          capture_output=True, text=True, timeout=110)
    assert done.returncode == 2 and "no.gguf" in done.stderr, done.stderr


def by_hand(folder: Path) -> None:
    """`python -m` puts the current folder first, before any line of ours runs."""
    done = subprocess.run([sys.executable, "-m", "slmstudio", "chat", "no.gguf", "--prompt", "Hello"],
                          env={**os.environ, **TERMINAL}, capture_output=True, text=True, timeout=110)
    assert done.returncode == 2 and "no.gguf" in done.stderr, done.stderr


def help_by_hand(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "slmstudio", "--help"], env={**os.environ, **TERMINAL},
                          capture_output=True, text=True, timeout=110)
    assert done.returncode == 0 and "quickstart" in done.stdout and done.stderr == "", done.stderr


def worker_by_hand(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "slmstudio.worker"], env={**os.environ, **TERMINAL},
                          capture_output=True, text=True, timeout=110)
    assert done.returncode == 2 and "JOB_FOLDER" in done.stderr, done.stderr


@pytest.mark.parametrize("start", [job_worker, interactive_worker, terminal, script])
def test_nothing_in_the_current_folder_is_executed(start, planted, package, studio_home, tmp_path):
    start(planted)
    assert os.listdir(tmp_path / "executed") == []


@pytest.mark.parametrize("start", [by_hand, help_by_hand, worker_by_hand])
def test_nor_when_python_is_called_by_hand(start, planted, studio_home, tmp_path):
    start(planted)
    assert os.listdir(tmp_path / "executed") == []


def test_a_relative_entry_of_pythonpath_is_no_folder_of_the_child(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", "lib", str(tmp_path)]))
    assert processes.worker_environment()["PYTHONPATH"].split(os.pathsep) == [str(ROOT), str(tmp_path)]
    assert program.search_path() == str(tmp_path)


EVERY_HELP = """
import sys
import typer
from slmstudio.cli import commands


def names(group, *before):
    for name, command in group.commands.items():
        yield (*before, name)
        yield from names(command, *before, name) if hasattr(command, "commands") else ()

found = [(), *names(typer.main.get_command(commands.app))]
wrong = [words for words in found if commands.main([*words, "--help"]) != 0]
print(len(found), wrong)
"""


def test_the_help_of_each_command_works_there(planted, package, studio_home, tmp_path):
    done = subprocess.run([sys.executable, "-P", "-c", EVERY_HELP], env={**os.environ, **TERMINAL},
                          capture_output=True, text=True, timeout=110)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    count, wrong = done.stdout.splitlines()[-1].split(" ", 1)
    assert int(count) > 15 and wrong == "[]"
    assert os.listdir(tmp_path / "executed") == []
