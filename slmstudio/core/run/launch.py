"""Runs that several cards or machines train together: what must be there before the start, and the file that takes a
run to another machine. The processes and machines find each other by torchrun's rendezvous (`worker.launch`)."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from slmstudio.core import files, formats, jobs, program
from slmstudio.core.errors import Problem, UserError
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.i18n import join_sentences, ntr, tr
from slmstudio.core.run import adjust
from slmstudio.core.run.config import RunConfig

FILE = "launch.json"
PORT = 29500
"""torchrun's own."""
_ID_BYTES = 16


@dataclass(frozen=True)
class Launch:
    """What another machine needs to take part in a run: where torchrun's rendezvous is, and the run itself.

    Attributes:
        host, port: address of the first machine's rendezvous, as the others reach it.
        id: of the rendezvous; the same for each start of a run.
        config: the run as the first machine has it, with the adjustments made since.
    """

    host: str
    port: int
    id: str
    config: RunConfig

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


def write(folder: Path, host: str | None = None, port: int | None = None) -> Launch:
    """Pack the run of this folder into its launch.json, for the other machines.

    Args:
        host: an address of this machine; without it, that of the last start where the machine still has it, else the
            one that leads to the network.
        port: without it, that of the last start.

    Raises:
        UserError: this machine has no such address, or a newer program wrote the file, or it can't be written.
    """
    before = formats.read("launch", folder / FILE) or {}
    if host is None and str(before.get("host")) in (*own_addresses(), "127.0.0.1"):
        host = str(before["host"])
    config = adjust.apply(RunConfig.from_dict(jobs.Job(folder).request()), folder)
    if port is None:
        port = before["port"] if isinstance(before.get("port"), int) else PORT
    made = Launch(own_address(host), port, str(before.get("id") or secrets.token_hex(_ID_BYTES)), config)
    files.write_atomically(folder / FILE, files.dump_pretty({
        **formats.stamp("launch"), "host": made.host, "port": made.port, "id": made.id, "run": config.to_dict()}),
        private=True)
    return made


def read(path: Path) -> Launch:
    """A launch.json.

    Raises:
        UserError: it isn't one, or it is damaged, or a newer program wrote it.
        OSError: it can't be read.
    """
    state = formats.read("launch", path) or {}
    host, port, name, run = state.get("host"), state.get("port"), state.get("id"), state.get("run")
    if not (isinstance(host, str) and isinstance(port, int) and isinstance(name, str) and isinstance(run, dict)):
        raise UserError(tr("{file} isn't the file of a run that another machine has launched.", file=path.name), "",
                        tr("Copy {file} from the run's folder on the first machine.", file=FILE))
    config = RunConfig.from_dict(run)
    if config.nodes < 2 or not 0 < port < 65536:
        raise UserError(tr("{file} isn't the file of a run for several machines.", file=path.name), "",
                        tr("Launch the run again on the first machine, and copy its {file}.", file=FILE))
    return Launch(host, port, name, config)


def commands(machines: int) -> str:
    """What is typed on each of the other machines, a line for each, in the folder that has the copied file."""
    return "\n".join(program.command("join", FILE, *(["--machine", number] if machines > 2 else []))
                     for number in range(2, machines + 1))


def how_to_join(file: Path, machines: int) -> str:
    """What to do before the `commands`, and what it takes; `file` is the run's launch.json."""
    return join_sentences(
        ntr("Copy {file} to the other machine.", "Copy {file} to each of the {n} other machines.", machines - 1,
            file=file),
        tr("The same version of SLM Studio and the same base model must be there. Do this only on a network that you "
           "trust: what the machines send each other, including the rows, isn't encrypted."),
        ntr("Then type this there, in the folder of the copy:",
            "Then type one of these lines on each, in the folder of the copy:", machines - 1))


def own_addresses() -> list[str]:
    """The IPv4 addresses of this machine by which others may reach it, the likeliest first."""
    import psutil

    usual = _leads_out()
    found = [each.address for name, addresses in psutil.net_if_addrs().items() for each in addresses
             if each.family == socket.AF_INET and not ipaddress.ip_address(each.address).is_loopback]
    return sorted(dict.fromkeys(found), key=lambda address: address != usual)


def own_address(host: str | None) -> str:
    """An address of this machine, as numbers.

    Args:
        host: a name or address; None takes the one that leads to the network.

    Raises:
        UserError: it isn't one of this machine's, or the machine has none.
    """
    known = own_addresses()
    if host is None:
        if not known:
            raise UserError(tr("This machine has no network address at which others can reach it."), "",
                            tr("Connect it to the same network as the other machines."))
        return known[0]
    try:
        found = socket.gethostbyname(host)
    except OSError as error:
        raise UserError(tr("{host} can't be found.", host=host),
                        tr("It isn't the name or address of a known machine."),
                        tr("This machine's own addresses are: {known}.", known=", ".join(known) or "–")) from error
    if found not in known and not ipaddress.ip_address(found).is_loopback:
        raise UserError(tr("{host} isn't an address of this machine.", host=host),
                        tr("The first machine waits for the others at one of its own addresses."),
                        tr("Its addresses are: {known}.", known=", ".join(known) or "–"))
    return found


def _leads_out() -> str:
    """The address of the interface that leads to other networks. Nothing is sent for that."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.connect(("192.0.2.1", 9))  # reserved for documentation (RFC 5737)
            return str(trial.getsockname()[0])
        except OSError:
            return ""


def need(config: RunConfig, machine: Machine) -> None:
    """Raises UserError: this machine can't do its part; with all that is in the way."""
    if found := problems(config, machine):
        raise UserError(tr("Several processes can't train this run on this machine."), "",
                        tr("Change these fields."), found)


def problems(config: RunConfig, machine: Machine) -> list[Problem]:
    """What is in the way of a run with several processes, on this machine."""
    found: list[Problem] = []
    if config.world_size == 1:
        return found
    cards = machine.gpus if config.device != "cpu" else ()
    if cards and machine.system == "Windows":
        found.append(Problem(tr("Windows has no NCCL, which cards need to exchange what they learn. Train on one card, "
                                "or start SLM Studio inside WSL2, where several cards work."), field="processes"))
    elif cards and len(cards) < config.processes:
        found.append(Problem(ntr("{n:,} card is asked for, but this machine has {available}.",
                                 "{n:,} cards are asked for, but this machine has {available}.", config.processes,
                                 available=len(cards)),
                             field="processes"))
    elif not cards and config.processes > machine.logical_cores:
        found.append(Problem(ntr("{n:,} process is asked for, but this machine has no card that can be used, and its "
                                 "processor runs {threads} threads.",
                                 "{n:,} processes are asked for, but this machine has no card that can be used, and "
                                 "its processor runs {threads} threads.", config.processes,
                                 threads=machine.logical_cores), field="processes"))
    if config.nodes > 1 and config.start_from:
        found.append(Problem(tr("A run that continues another one can't be trained on several machines yet."),
                             field="start_from"))
    return found
