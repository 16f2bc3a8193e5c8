"""Who this process is among those that train one run together, and what they say to each other.

torchrun starts them and numbers them in the environment. Tensors go between cards by NCCL; between processors, and for
all that is said here, by gloo. Nothing waits forever: see `SECONDS`.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.i18n import join_sentences, noop, ntr, tr
from slmstudio.core.units import format_duration

SECONDS = 600.0
"""How long one rank waits for another. A rank that is gone is noticed at once; this is for one that hangs."""
MEET_SECONDS = 30.0
"""How long the others may take to start: their libraries are read from a disk that they share, perhaps."""
BUSY_SECONDS = 20.0
"""How often the first rank says that it is still working on what the others wait for."""
ANSWER_SECONDS = 5.0
"""How long a rank that lives takes at most to say so, or what went wrong, after another is gone."""
_KILLED = noop("It was killed, or its machine can't be reached.")
_RESUME = noop("Resume continues from the last checkpoint, on as many cards as you like.")
_BUSY, _DONE, _FAILED = "busy", "done", "failed"

_store: Any = None


class FirstFailed(Exception):
    """The first rank couldn't do what the others wait for. It says itself why."""


def rank() -> int:
    """This process's number among those of one job, 0 if it runs alone."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)


def local_world_size() -> int:
    """How many there are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or 1)


def local_rank() -> int:
    """Its number among those of this machine."""
    return int(os.environ.get("LOCAL_RANK") or 0)


def world_size() -> int:
    """How many there are, on all machines."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def is_first() -> bool:
    """Whether this one alone writes the run's folder and reads its commands."""
    return rank() == 0


def start(gpu: bool) -> None:
    """Connect to the other ranks, which are all there (`preflight.check`). Does nothing in a process that runs alone.

    Args:
        gpu: whether they compute on cards; this one takes the card of its local number.
    """
    if world_size() == 1:
        return
    import torch
    from torch import distributed

    if gpu:
        torch.cuda.set_device(local_rank())
    threading.Thread(target=_answer, args=(_connect(False),), name="roll call", daemon=True).start()
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if gpu else "gloo", store=distributed.PrefixStore("group", notes()), rank=rank(),
        world_size=world_size(), timeout=timedelta(seconds=SECONDS))


def notes() -> Any:
    """What the ranks write notes to each other in, which works before they are connected: torchrun's agent keeps it,
    or the first rank does.

    Raises:
        RuntimeError: it can't be reached.
    """
    global _store
    if _store is None:
        _store = _connect(is_first() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True")
    return _store


def _connect(serves: bool) -> Any:
    from torch import distributed

    tcp = distributed.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), world_size(),
                               is_master=serves, timeout=timedelta(seconds=MEET_SECONDS),
                               wait_for_workers=False)
    return distributed.PrefixStore(f"slmstudio/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", tcp)


def _answer(store: Any) -> None:
    """Say that this process lives when the first rank calls the roll, whatever its other threads are waiting for."""
    with contextlib.suppress(RuntimeError):
        store.wait(["roll"], timedelta(days=365))
        store.set(f"alive/{rank()}", b"1")


def close() -> None:
    """Part from the others."""
    if _store is None:
        return
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def broadcast(value: Any) -> Any:
    """The first rank's `value`, on each rank; every rank must call it.

    Raises:
        RuntimeError: a rank is gone or hangs.
    """
    if world_size() == 1:
        return value
    from torch import distributed

    box = [value if is_first() else None]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def gather(value: Any) -> list[Any]:
    """The `value` of each rank in their order, on each rank; every rank must call it.

    Raises:
        RuntimeError: a rank is gone or hangs.
    """
    if world_size() == 1:
        return [value]
    from torch import distributed

    found: list[Any] = [None] * world_size()
    distributed.all_gather_object(found, value)
    return found


def alone(work: Callable[[], Any]) -> Any:
    """What `work` returns on the first rank, on each rank. The others wait as long as it takes: they hear now and then
    that it is still working. Every rank must call it.

    Raises:
        FirstFailed: on the others, where it raised something on the first.
        RuntimeError: a rank is gone or hangs.
    """
    if world_size() == 1:
        return work()
    if not is_first():
        while (said := broadcast(None))[0] == _BUSY:
            pass
        if said[0] == _FAILED:
            raise FirstFailed
        return said[1]
    done = threading.Event()

    def say_busy() -> None:
        with contextlib.suppress(RuntimeError):  # who is gone is noticed by the next who waits for it
            while not done.wait(BUSY_SECONDS):
                broadcast((_BUSY, None))

    saying = threading.Thread(target=say_busy, name="busy", daemon=True)
    saying.start()
    said = (_FAILED, None)
    try:
        said = (_DONE, work())
    finally:
        done.set()
        saying.join()
        broadcast(said)
    return said[1]


# -- when one is gone -------------------------------------------------------------------------------------------------


def report_failure(error: dict[str, Any]) -> None:
    """Say on another rank than the first why this one ends, and give the first the time to write it down."""
    if _store is None:
        return
    with contextlib.suppress(RuntimeError):
        _store.set(f"failed/{rank()}", json.dumps(error).encode())
        close()  # or the first one waits for this one
        _store.wait(["ended"], timedelta(seconds=ANSWER_SECONDS))


def report_end() -> None:
    """Say on the first rank that the outcome is written."""
    if _store is not None:
        with contextlib.suppress(RuntimeError):
            _store.set("ended", b"1")


def has_ended() -> bool:
    """Whether the first rank has written the outcome, or does so within a moment."""
    if _store is None:
        return False
    with contextlib.suppress(RuntimeError):
        _store.set(f"noticed/{rank()}", b"1")
        close()
        _store.wait(["ended"], timedelta(seconds=2 * ANSWER_SECONDS))
        return True
    return False


def is_of_another(error: Exception) -> bool:
    """Whether a rank failed because another one is gone or hangs. PyTorch has no class of its own for all of them."""
    if _store is None:
        return False
    from torch import distributed

    signs = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs))


def failure_of_another(error: Exception) -> UserError:
    """What to say on the first rank where `is_of_another`: what the other one said, or which one is gone."""
    try:
        return _what_others_say()
    except RuntimeError:  # what the notes were written in is gone too
        return UserError(tr("The processes lost contact with each other."), f"{error}".splitlines()[0], tr(_RESUME))


def _what_others_say() -> UserError:
    _store.set("noticed/0", b"1")
    _store.set("roll", b"1")
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline and (_without("alive") or _without("noticed")):
        for each in range(1, world_size()):
            if _store.check([f"failed/{each}"]):
                told = UserError.from_dict(json.loads(_store.get(f"failed/{each}")))
                return UserError(tr("In process {number}: {what}", number=each + 1, what=told.what), told.why,
                                 told.remedy, told.problems)
        time.sleep(0.1)
    if missing := _without("alive"):
        return UserError(ntr("Process {numbers} ended unexpectedly.", "Processes {numbers} ended unexpectedly.",
                             len(missing), numbers=_numbers(missing)),
                         join_sentences(tr(_KILLED), _counted()), tr(_RESUME))
    if hanging := _without("noticed"):
        return UserError(ntr("Process {numbers} doesn't respond.", "Processes {numbers} don't respond.", len(hanging),
                             numbers=_numbers(hanging)),
                         join_sentences(tr("The others waited {duration}.", duration=format_duration(SECONDS)),
                                        _counted()), tr(_RESUME))
    return UserError(tr("The processes lost contact with each other."),
                     join_sentences(tr("The network between them broke."), _counted()), tr(_RESUME))


def _without(key: str) -> list[int]:
    """The ranks that haven't said `key`."""
    return [each for each in range(world_size()) if not _store.check([f"{key}/{each}"])]


def _numbers(ranks: list[int]) -> str:
    return ", ".join(str(each + 1) for each in ranks)


def _counted() -> str:
    return ntr("{n} process trains.", "{n} processes train together.", world_size())
