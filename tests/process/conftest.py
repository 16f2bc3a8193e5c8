"""The program in a process of its own and its commands in this one, and what tests of several ranks share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.forked_ranks import Zygote

from slmstudio.core.jobs.job import Job
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

ROOT = Path(__file__).resolve().parents[2]


class Printed(NamedTuple):
    """What a command printed on stdout and stderr."""

    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Its last line, which programs read."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found


@pytest.fixture
def slmstudio(studio_home: Path) -> Callable[..., Printed]:
    """`slmstudio(words…)`: the program in a process of its own, which ends with `status` and shows no traceback.
    `typed` is what it gets on stdin."""

    def call(*words: object, status: int = 0, typed: str = "", where: Path = ROOT, **environment: str) -> Printed:
        done = subprocess.run([sys.executable, "-P", "-m", "slmstudio", *map(str, words)], cwd=where,
                              env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **environment},
                              capture_output=True, text=True, encoding="utf-8", timeout=200, input=typed)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr and "SLM Studio itself" not in done.stderr, done.stderr
        return Printed(done.stdout, done.stderr)

    return call


@pytest.fixture
def cli(studio_home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Printed]:
    """`cli(words…)`: a command in this process, which ends with `status`."""

    def call(*words: object, status: int = 0) -> Printed:
        from slmstudio.cli import commands

        assert commands.main([*map(str, words)]) == status
        return Printed(*capsys.readouterr())

    return call


@pytest.fixture
def told(cli: Callable[..., Printed]) -> Callable[..., dict[str, Any]]:
    """`told(words…)`: the JSON that a command prints, in this process."""
    return lambda *words, status=0: cli(*words, "--json", status=status).json


@pytest.fixture
def new_run(tmp_path: Path, tiny_model: Path, rows_file: Path) -> Iterator[Callable[..., Job]]:
    """`new_run(**fields)`: a run of a tiny model on the processor, not started; it is killed when the test ends."""
    made: list[Job] = []

    def call(parent: Path = tmp_path / "runs", **fields: Any) -> Job:
        usual = {"name": "trial", "model": str(tiny_model), "train_file": str(rows_file), "eval_fraction": 0.25,
                 "device": "cpu", "threads": 1}
        made.append(folder.create(RunConfig(**{**usual, **fields}), parent))
        return made[-1]

    yield call
    for job in made:
        job.kill()


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Starts ranks in a second."""
    zygote = Zygote()
    yield zygote
    zygote.close()
