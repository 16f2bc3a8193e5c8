"""When memory runs out: the next lever, and a fresh process that continues from the last good state."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import should_reduce_batch_size

from slmstudio.core import files, jobs, program
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.guard import FULL_SHARE, can_spill
from slmstudio.core.hardware.nvml import open_all
from slmstudio.core.i18n import join_sentences, noop, tr
from slmstudio.core.jobs import processes
from slmstudio.core.jobs.outcome import resume_advice
from slmstudio.core.lock import worker_lock
from slmstudio.core.run import adjust
from slmstudio.core.run.config import RunConfig
from slmstudio.core.units import format_bytes
from slmstudio.worker.runtime.context import JobContext, StartAnew
from slmstudio.worker.training import methods

HANDOVER_SECONDS = 30.0
WORTH = 256 * 1024**2
"""Bytes of a card that another program must hold to be named."""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out. PyTorch has no class of its own for main memory, so accelerate's list
    of messages is asked."""
    return isinstance(error, MemoryError) or (isinstance(error, Exception) and should_reduce_batch_size(error))


def keep_on_card() -> None:
    """Let PyTorch refuse what this process's card can't hold. The driver for Windows, and so WSL2, would move it to
    main memory: no error would reach the levers, and each step would take many times as long."""
    if can_spill():
        free, total = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(max(0.0, free / total - (1 - FULL_SHARE)))


def pull_lever(job: JobContext, config: RunConfig) -> dict[str, Any]:
    """Write down the next lever, tell it, and ask for a fresh process.

    Returns:
        The result of a run that failed, when the model couldn't even be loaded, or only a shorter length is left, which
        the user must agree to.

    Raises:
        StartAnew: whenever there is a lever.
    """
    if jobs.Job(job.folder).was_loading():  # smaller batches need the same weights
        return {"state": "failed", "error": _not_loaded(config).to_dict()}
    changes = adjust.next_lever(config)
    if changes is None:
        shorter = adjust.shorter(config)
        consent = {"consent": {"max_length": shorter}} if shorter else {}
        return {"state": "failed", "error": no_lever_left(job.folder, config).to_dict(), **consent}
    was = {name: getattr(config, name) for name in changes}
    adjust.record(job.folder, changes)
    job.emit("adjusted", reason="out_of_memory", changes=changes, was=was)
    raise StartAnew


def several(job: JobContext) -> UserError:
    """What to say where several ranks train: a fresh process with less can't take one's place beside the others."""
    return UserError(tr("Memory ran out."), tr("It needs more than one of the cards or machines has free."),
                     join_sentences(
                         tr("Choose a smaller micro-batch with more accumulation, or gradient checkpointing; or let "
                            "the cards share the model (parallelism=fsdp)."), resume_advice("train", job.folder)))


def _not_loaded(config: RunConfig) -> UserError:
    return UserError(tr("Memory ran out while the model was loaded."), "",
                     join_sentences(held_by_others() if methods.on_gpu(config) else "",
                                    tr("Close other programs, or choose a smaller model or QLoRA.")))


def no_lever_left(run: Path, config: RunConfig) -> UserError:
    shorter = adjust.shorter(config)
    held = held_by_others() if methods.on_gpu(config) else ""
    ways = join_sentences(held, tr("Close other programs, or choose a smaller model or QLoRA."))
    if shorter is None:
        return UserError(tr("Memory ran out."), tr("Rows are already computed one by one, and activations twice."),
                         ways)
    return UserError(tr("Memory ran out."),
                     tr("Rows are already computed one by one, and activations twice. Rows could still be cut at "
                        "{shorter:,} tokens instead of {length:,}, which changes what is learned, so you decide.",
                        shorter=shorter, length=config.max_length),
                     join_sentences(ways, tr("Or continue with {shorter:,} tokens: {command}", shorter=shorter,
                                             command=program.command("train", run, "--set", f"max_length={shorter}"))))


def held_by_others() -> str:
    """What other programs hold of the cards, such as "ollama is using 5.2 GB of the GPU."; "" if nobody says."""
    monitors, _ = open_all()
    found = []
    for monitor in monitors:
        with monitor:
            said = noop("{program} is using {size} of the GPU.") if len(monitors) == 1 else \
                noop("{program} is using {size} of GPU {number}.")
            found += [tr(said, program=each.name or tr("Another program"), size=format_bytes(each.memory or 0),
                         number=monitor.index)
                      for each in monitor.processes() or () if each.pid != os.getpid() and (each.memory or 0) >= WORTH]
    return join_sentences(*found)


def killed_for_memory(job: JobContext) -> bool:
    """Whether the system killed the process before this one because memory ran out, and nothing was done about it
    yet. Not while it loaded the model, for which nothing can be done here."""
    open_kills, phase = 0, None
    for event in jobs.Job(job.folder).events():
        if event.get("type") == "phase":
            phase = event.get("phase")
        elif event.get("type") == jobs.MEMORY_KILL:
            open_kills += phase != jobs.LOADING
        elif event.get("type") in ("adjusted", "step"):
            open_kills = 0
    return open_kills > 0


def start_anew(job: JobContext) -> None:
    """Replace this process with a fresh one. Does not return where the system can do that.

    The same command as the first start; on POSIX systems pid and creation time stay, so whoever watches sees one
    living process. Windows has no such thing: a new process is started, and this one waits until it has signed.
    """
    command = [*processes.worker_command(), str(job.folder)]
    os.environ[processes.COMMANDS_FROM] = str(job.commands_from)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execve(command[0], command,
                  {**processes.worker_environment("train"), **worker_lock.environment_for_successor()})
    hand_over(job, command)


def hand_over(job: JobContext, command: list[str]) -> None:
    """Start the successor and wait until process.json names it."""
    successor = subprocess.Popen(command, cwd=job.folder, env=processes.worker_environment("train"),
                                 stdin=subprocess.DEVNULL, stdout=sys.stdout, stderr=sys.stderr, **processes.detached())
    deadline = time.monotonic() + HANDOVER_SECONDS
    while time.monotonic() < deadline and successor.poll() is None:
        if (files.read_json(job.folder / jobs.PROCESS) or {}).get("pid") == successor.pid:
            return
        time.sleep(jobs.POLL_SECONDS)
