"""Worker processes: how they are started, and whether one still runs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from slmstudio.core import program
from slmstudio.core.errors import UserError
from slmstudio.core.hardware import machine
from slmstudio.core.hardware.guard import can_spill
from slmstudio.core.i18n import noop, tr

MALLOC_TUNABLES = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4294967296"
"""Large pages where the system offers them; blocks of up to 32 MiB, the most that glibc takes here, and 4 GiB of free
memory stay with the process (GNU C Library manual, "Memory Allocation Tunables")."""
COMMANDS_FROM = "SLMSTUDIO_COMMANDS_FROM"
"""Where in commands.jsonl a worker begins to read, in its environment: what is before it was asked of earlier ones."""
PRIMITIVE_CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}
"""How many compiled products oneDNN and PyTorch's binding to it each keep, of 1,024 otherwise. Each takes half a
megabyte and is for one number of tokens: as packed rows come in ever other numbers, a run grew by a gigabyte. One
length of a micro-batch needs some 30."""
TRAINS = ("train", "fit_check", "join")
"""Kinds of job that make training steps."""
SPINS = "10000"
"""Rounds that a waiting thread of PyTorch looks whether it may continue before it sleeps, which is some ten
microseconds (GOMP_SPINCOUNT in GNU libgomp's manual). Beside other work it doesn't: worker/runtime/threads.py."""
SPINNING = (*TRAINS, "evaluate", "talk")
"""Kinds of job, and of interactive worker, that see to it that it doesn't."""
NOT_STARTED = noop("The worker couldn't be started.")
_BOOTS = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
"""Key of the registry where Windows counts its starts."""


def worker_command() -> list[str]:
    """How a worker is started; `SLMSTUDIO_WORKER` puts another program in its place, as a JSON list."""
    override = os.environ.get("SLMSTUDIO_WORKER")
    # -P: no file in the current folder or in the run's may stand in for a module.
    command: list[str] = json.loads(override) if override else [sys.executable, "-P", "-m", "slmstudio.worker"]
    return command


def worker_environment(kind: str = "") -> dict[str, str]:
    """The environment of a worker: offline, silent, and able to find this package from any folder.

    Args:
        kind: of its job, or of the interactive worker.
    """
    # Large tensors come and go with every step. glibc gives each back to the system, which clears its pages when they
    # are asked for again: 6 to 13% of a step on the processor, by the model. A chat or a server lives too long to keep
    # that much memory unused. Other systems don't read this.
    memory = {name: os.environ.get(name, value) for name, value in {
        "GLIBC_TUNABLES": MALLOC_TUNABLES, **PRIMITIVE_CACHES}.items()} if kind in TRAINS else {}
    # PyTorch's allocator can then join what steps of other lengths left free (c10/cuda/CUDAAllocatorConfig.h). Windows
    # has no such thing. Whoever has set something, by either name, decides.
    named = any(name in os.environ for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"))
    card = {} if named or can_spill() else {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
    # With fewer threads than PyTorch asks for, oneDNN leaves parts of a product out: worker/runtime/threads.py.
    limit = os.environ.get("OMP_THREAD_LIMIT")
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", limit)} if limit else {}
    return {
        **os.environ,
        "PYTHONPATH": program.search_path(program.ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        # Threads that wait must not spin: on a machine that does other work too, spinning costs most of the speed.
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", SPINS if kind in SPINNING else "0"),
        "KMP_BLOCKTIME": "0",
        # Cards are numbered as the driver does, and the plan; CUDA would count the fastest first.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        **machine.visible_devices(),
        **memory,
        **card,
        **threads,
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def detached() -> dict[str, Any]:
    """What `Popen` needs so that a process outlives the one that starts it."""
    if os.name == "nt":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}  # type: ignore[attr-defined]
    return {"start_new_session": True}


def spawn(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a worker that outlives this process.

    Args:
        options: of `Popen`.

    Raises:
        UserError: the system can't start the program.
    """
    try:
        return subprocess.Popen(command, **options, **detached())
    except OSError as error:
        raise UserError(tr(NOT_STARTED), tr("The system says: {error}.", error=error),
                        tr("Run setup again: {setup_command}", setup_command=program.setup_command())) from error


def lower_priority() -> None:
    """Let the window and the user's other programs compute before this process. One that gives way more already, as
    after `nice`, stays so: only root may take that back."""
    if os.name != "nt":
        os.nice(max(0, 10 - os.nice(0)))  # by no number: a lock without a warden refuses all but its own process's
        return
    import psutil

    psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)


def identity(pid: int) -> dict[str, Any]:
    """What tells a process from all others, for process.json; the setting of the clock doesn't change it.

    Linux counts the ticks from its boot to the start of the process; what psutil makes of them moves with the clock.
    Windows keeps the moment itself, which stays as it was.
    """
    import psutil

    try:
        when = {"start_ticks": _start_ticks(pid)} if sys.platform == "linux" else {
            "create_time": psutil.Process(pid).create_time()}
    except (OSError, psutil.NoSuchProcess):
        when = {}  # it is gone
    return {"pid": pid, "boot_id": boot_id(), **when}


def is_running(state: dict[str, Any]) -> bool:
    """Whether the process that a process.json names still runs."""
    import psutil

    try:
        process = psutil.Process(state["pid"])
        if "start_ticks" in state:
            same = (state["boot_id"], state["start_ticks"]) == (boot_id(), _start_ticks(process.pid))
        else:  # not of Linux
            same = abs(process.create_time() - state["create_time"]) < 1.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, OSError):
        return False
    except (KeyError, TypeError, ValueError, OverflowError):
        return False  # a damaged process.json names no process


def _start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc_pid_stat(5)). Raises OSError: there is no such process, or no such file."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])


def boot_id() -> str:
    """Names this start of the machine: it changes with every boot."""
    if os.name == "nt":
        import winreg

        with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _BOOTS) as key:  # type: ignore[attr-defined]
            return str(winreg.QueryValueEx(key, "BootId")[0])  # type: ignore[attr-defined]
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def oom_kills() -> int:
    """How many processes the Linux kernel has killed because memory ran out since boot; 0 elsewhere."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
