"""Ranks of a run as torchrun would start them, forked from one process that has imported everything: in a second each.

`python forked_ranks.py` reads one JSON object a line: {"folders": [for each rank], "node": ranks of each machine,
"plant": a function of this module or null}. It answers each with a line of the ranks' pids, and one of their exit
codes when all have ended.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


class Zygote:
    """The process that ranks are forked from."""

    def __init__(self) -> None:
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}", "OMP_NUM_THREADS": "1"})

    def start(self, folder: Path, count: int, plant: str | None = None, others: Path | None = None) -> list[int]:
        """Start `count` ranks on a run's folder; the pids.

        Args:
            others: the folder of all but the first, as if each were on a machine of its own.
        """
        folders = [str(folder), *[str(others or folder)] * (count - 1)]
        self._say({"folders": folders, "node": 1 if others else count, "plant": plant})
        return self._hear()

    def wait(self) -> list[int]:
        """The exit codes of those that were started."""
        return self._hear()

    def run(self, folder: Path, count: int, plant: str | None = None, others: Path | None = None) -> list[int]:
        self.start(folder, count, plant, others)
        return self.wait()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _say(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> list[int]:
        assert self._process.stdout is not None
        found: list[int] = json.loads(self._process.stdout.readline())
        return found


# -- in that process --------------------------------------------------------------------------------------------------


def out_of_memory_on_rank_1() -> None:
    """Memory runs out on rank 1 in step 3."""
    from slmstudio.worker.training.trainer import StudioTrainer

    honest = StudioTrainer.compute_loss

    def compute_loss(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 2 and os.environ["RANK"] == "1":
            raise MemoryError
        return honest(self, *args, **kwargs)

    StudioTrainer.compute_loss = compute_loss


def no_number_on_rank_1() -> None:
    """The loss of rank 1 isn't a number in step 3."""
    from slmstudio.worker.training.trainer import StudioTrainer

    honest = StudioTrainer.compute_loss

    def compute_loss(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = honest(self, *args, **kwargs)
        return loss * float("nan") if self.state.global_step == 2 and os.environ["RANK"] == "1" else loss

    StudioTrainer.compute_loss = compute_loss


def rank_1_hangs() -> None:
    """Rank 1 stands still in step 3, and the others wait no longer than two seconds."""

    from slmstudio.worker.runtime import ranks
    from slmstudio.worker.training.trainer import StudioTrainer

    ranks.SECONDS, honest = 2.0, StudioTrainer.compute_loss

    def compute_loss(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 2 and os.environ["RANK"] == "1":
            time.sleep(3600)
        return honest(self, *args, **kwargs)

    StudioTrainer.compute_loss = compute_loss


def slow_first_rank() -> None:
    """What the others wait for takes the first rank longer than they would wait for one that hangs."""

    from slmstudio.worker.runtime import ranks
    from slmstudio.worker.training import loading

    ranks.SECONDS, ranks.BUSY_SECONDS, honest = 3.0, 0.2, loading.read_rows

    def read_rows(*args: Any) -> Any:
        time.sleep(6)
        return honest(*args)

    loading.read_rows = read_rows


def _rank(order: dict[str, Any], at: int, port: int) -> int:
    from slmstudio.worker import __main__ as worker

    folder, node = Path(order["folders"][at]), order["node"]
    log = os.open(folder / f"rank{at}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if len(order["folders"]) > 1:
        os.environ.update(
            RANK=str(at), LOCAL_RANK=str(at % node), WORLD_SIZE=str(len(order["folders"])),
            LOCAL_WORLD_SIZE=str(node), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    if order["plant"]:
        globals()[order["plant"]]()
    return worker.run_job(folder)


def main() -> None:
    from slmstudio.core import jobs
    from slmstudio.core.jobs import processes

    os.environ.update(processes.worker_environment())
    import torch

    torch.set_num_threads(1)
    import slmstudio.worker.training.train  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        os.environ[processes.COMMANDS_FROM] = str(jobs.commands_end(Path(order["folders"][0])))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pids = []
        for at in range(len(order["folders"])):
            pid = os.fork()
            if pid == 0:
                code = 9
                try:
                    code = _rank(order, at, port)
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            pids.append(pid)
        print(json.dumps(pids), flush=True)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]), flush=True)


if __name__ == "__main__":
    main()
