"""Before the first step of several processes: each says what it has, and all compare it.

They say it over the store at which torchrun's processes meet, so it works before they are connected: what differs, or
who is missing, is named within half a minute instead of a collective that hangs.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import open_as_torch_counts
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.weights import fingerprint
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.config_file import versions
from slmstudio.core.units import format_bytes, format_duration
from slmstudio.worker.runtime import ending, ranks
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import methods

SECONDS = 30.0
"""That all processes have, together, to report."""
KNOCK_SECONDS = 10.0
FIREWALL = "firewall"
"""Said to the other machines where a connection is dropped; each has a language of its own."""
COMPARED = ("slmstudio", "torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes")
"""Packages whose versions must be the same everywhere."""
FREE = 0.5
"""Share of a card's memory that other programs must leave."""
Report = dict[str, Any]


def check(job: JobContext, config: RunConfig) -> None:
    """Check that all processes can train this run together; each of them calls it before it connects to the others.

    Raises:
        UserError: something is in the way. It names the process at fault, and is the same in all of them.
    """
    if ranks.world_size() == 1:
        return
    job.phase("checking the processes", ntr("{n:,} process", "{n:,} processes", ranks.world_size()))
    store = _store()
    address = os.environ.get(ending.ADDRESS)
    if address is None or config.nodes == 1:
        compare(exchange(store, "report", report(config)))
        return
    with socket.create_server((address, 0)) as listener:
        mine = {**report(config), "address": listener.getsockname()}
        reports = exchange(store, "report", mine)
        compare(reports)
        compare_ways(exchange(store, "way", knock(reports, ranks.rank())), reports)


def report(config: RunConfig) -> Report:
    return {"host": socket.gethostname(), "pid": os.getpid(), "group": os.environ.get("GROUP_RANK", "0"),
            "versions": versions(), "model": fingerprint(Path(config.model)), "path": config.model,
            "card": _card() if methods.on_gpu(config) else None}


def _card() -> Report:
    import torch

    properties = torch.cuda.get_device_properties(ranks.local_rank())
    uuid = str(getattr(properties, "uuid", "")) or None
    free, total = torch.cuda.mem_get_info(ranks.local_rank())
    holders: list[Any] = []
    monitors, _ = open_as_torch_counts([uuid])
    for monitor in monitors:
        with monitor:
            holders += [[each.pid, each.name, each.memory or 0] for each in monitor.processes() or ()]
    return {"name": properties.name, "uuid": uuid or f"card {ranks.local_rank()}", "free": free, "total": total,
            "holders": holders}


def _store() -> Any:
    """Where the processes write notes to each other.

    Raises:
        UserError: it doesn't answer.
    """
    from torch.distributed import PrefixStore

    try:
        return PrefixStore("preflight", ranks.notes())
    except RuntimeError as error:
        host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
        raise UserError(tr("{machine} couldn't reach the first machine at {host}:{port} within {time}.",
                           machine=socket.gethostname(), host=host, port=port,
                           time=format_duration(ranks.MEET_SECONDS)),
                        tr("It's off, or a firewall is blocking the connection."),
                        tr("Open TCP port {port} of the first machine, and start again.", port=port)) from error


def exchange(store: Any, name: str, mine: Report, rank: int | None = None, world_size: int | None = None,
             seconds: float | None = None) -> list[Report]:
    """What every process says under a name, by rank.

    Args:
        rank, world_size: of this process; as the environment says, if they aren't given.
        seconds: that it waits; `SECONDS`, if they aren't given.

    Raises:
        UserError: some don't say it in time.
    """
    from torch.distributed import DistError

    seconds = SECONDS if seconds is None else seconds
    rank = ranks.rank() if rank is None else rank
    keys = [f"{name}/{number}" for number in range(world_size or ranks.world_size())]
    try:
        store.set(keys[rank], json.dumps(mine))
        with suppress(DistError):  # too late: who is missing is looked at below
            store.wait(keys, timedelta(seconds=seconds))
        missing = [number for number, key in enumerate(keys) if not store.check([key])]
        if not missing:
            return [json.loads(store.get(key)) for key in keys]
    except (DistError, RuntimeError) as error:
        raise UserError(tr("The first machine is gone."),
                        tr("The connection to it broke while the processes were checked."),
                        tr("Look on that machine for the reason, and start again.")) from error
    numbers = ", ".join(str(number + 1) for number in missing)
    raise UserError(ntr("Process {numbers} of {count} didn't report within {seconds:.0f} seconds.",
                        "Processes {numbers} of {count} didn't report within {seconds:.0f} seconds.", len(missing),
                        numbers=numbers, count=len(keys), seconds=seconds),
                    tr("It may hang while it loads its libraries or wakes its card."),
                    tr("See its log, {file}, and start again.",
                       file="logs/rank-" + str(missing[0]) + ".log" if missing[0] else "worker.log"))


def compare(reports: Sequence[Report]) -> None:
    """Raises UserError: a process differs from the first one, or its card is taken."""
    first = reports[0]
    for number, other in enumerate(reports):
        who = {"number": number + 1, "count": len(reports), "host": other["host"], "first": first["host"]}
        for name in COMPARED:
            has, wants = other["versions"].get(name), first["versions"].get(name)
            if has != wants:
                here, there = (f"{name} {version}" if version else tr("no {package}", package=name)
                               for version in (has, wants))
                raise UserError(tr("Process {number} of {count}, on {host}, has {here}, and process 1, on {first}, "
                                   "has {there}.", **who, here=here, there=there), "",
                                tr("Install the same versions on all machines."))
        if other["model"] != first["model"]:
            raise UserError(tr("Process {number} of {count}, on {host}, has a different model: the weights in {path} "
                               "aren't those of process 1, on {first}.", **who, path=other["path"]), "",
                            tr("Copy the model's folder from the first machine."))
        if (other["card"] is None) != (first["card"] is None):
            raise UserError(tr("Process {number} of {count}, on {host}, has no card that can be used, and process 1, "
                               "on {first}, trains on a card.", **who) if first["card"] else
                            tr("Process {number} of {count}, on {host}, has a card, and process 1, on {first}, trains "
                               "on its processor.", **who), "",
                            tr("Leave that machine out, or train on the processors of all of them: set Device to cpu."))
    _compare_cards(reports)


def _compare_cards(reports: Sequence[Report]) -> None:
    used: dict[tuple[str, str], int] = {}
    for number, each in enumerate(reports):
        card = each["card"]
        if card is None:
            continue
        before = used.setdefault((each["host"], card["uuid"]), number)
        if before != number:
            raise UserError(tr("Processes {before} and {number}, on {host}, would share one card ({name}).",
                               before=before + 1, number=number + 1, host=each["host"], name=card["name"]), "",
                            tr("Choose at most as many processes as there are cards."))
        ours = {other["pid"] for other in reports if other["host"] == each["host"]}
        others = [(name, memory) for pid, name, memory in card["holders"] if pid not in ours]
        if card["free"] < FREE * card["total"] and others:
            name, memory = max(others, key=lambda found: found[1])
            values = {"number": number + 1, "host": each["host"], "name": card["name"], "size": format_bytes(memory)}
            raise UserError(tr("The card of process {number}, on {host} ({name}), is in use by another program: "
                               "{program} takes {size} of its memory.", **values, program=name) if name else
                            tr("The card of process {number}, on {host} ({name}), is in use by another program, "
                               "which takes {size} of its memory.", **values), "", tr("Close that program first."))


def knock(reports: Sequence[Report], rank: int,
          connect: Callable[..., Any] = socket.create_connection) -> Report:
    """Try to connect to the other machines, as the processes will, at a port that each chose freely.

    Returns:
        {"failed": [rank, why] or None}
    """
    mine, tried = reports[rank]["group"], set()
    for number, other in enumerate(reports):
        if other["group"] == mine or other["group"] in tried:
            continue
        tried.add(other["group"])
        try:
            with closing(connect((other["address"][0], other["address"][1]), KNOCK_SECONDS)):
                pass
        except OSError as error:
            dropped = isinstance(error, TimeoutError)
            return {"failed": [number, FIREWALL if dropped else str(error.strerror or error)]}
    return {"failed": None}


def compare_ways(ways: Sequence[Report], reports: Sequence[Report]) -> None:
    """Raises UserError: a machine can't connect to another."""
    for number, way in enumerate(ways):
        if way["failed"]:
            other, why = way["failed"]
            between = {"host": reports[number]["host"], "other": reports[other]["host"],
                       "address": ":".join(map(str, reports[other]["address"]))}
            raise UserError(tr("{host} can't connect to {other} at {address}: a firewall is blocking the connection.",
                               **between) if why == FIREWALL else
                            tr("{host} can't connect to {other} at {address}: {error}.", **between, error=why),
                            tr("The processes talk to each other at ports that they choose freely."),
                            tr("Open all TCP ports above 1023 between these machines, ideally in a network of their "
                               "own."))
