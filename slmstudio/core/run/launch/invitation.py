"""How another machine joins a run: the address at which the first one waits, and an id that is good for one start."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slmstudio.core import files, formats, program
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr

FILE = "launch.json"
PORT = 29500
"""torchrun's own."""
ID_BYTES = 16
"""Length of an id: too long to guess, or to find by trial from what the machines send each other."""


@dataclass(frozen=True)
class Invitation:
    """
    Attributes:
        host: address of the first machine, as the others reach it.
        id: one-time: every start of a run has another one. It seals what the machines say before they train.
    """

    host: str
    port: int
    id: str

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def command(self) -> str:
        """What is typed on each of the other machines."""
        return program.command("join", self.address, "--id", self.id)

    def to_dict(self) -> dict[str, Any]:
        return {**formats.stamp("invitation"), **asdict(self)}


def make(folder: Path, host: str | None = None, port: int | None = None) -> Invitation:
    """A new invitation to the run of this folder, kept there.

    Args:
        host: an address of this machine; without it, the one that leads to the network.

    Raises:
        UserError: this machine has no such address, or the folder can't be written.
    """
    made = Invitation(own_address(host), PORT if port is None else port, secrets.token_hex(ID_BYTES))
    files.write_atomically(folder / FILE, files.dump_pretty(made.to_dict()), private=True)
    return made


def renew(folder: Path) -> Invitation:
    """Another invitation, for a start to come. It keeps the port, and the address where this machine still has it.

    Raises:
        UserError: there was none, or it is damaged, or can't be written; or this machine has no address.
    """
    before = read(folder)
    return make(folder, _still_own(before.host), before.port)


def take(folder: Path) -> Invitation:
    """The invitation for a start of the run: used up by that, so that the next start has another id.

    Raises:
        UserError: as `renew`.
    """
    found = read(folder)
    if (formats.read("invitation", folder / FILE) or {}).get("used"):
        found = renew(folder)
    files.write_atomically(folder / FILE, files.dump_pretty({**found.to_dict(), "used": True}), private=True)
    return found


def _still_own(host: str) -> str | None:
    try:
        return own_address(host)
    except UserError:
        return None


def read(folder: Path) -> Invitation:
    """The invitation to the run of this folder.

    Raises:
        UserError: there is none, or it is damaged.
    """
    state = formats.read("invitation", folder / FILE) or {}
    host, port, one_time = state.get("host"), state.get("port"), state.get("id")
    if not (isinstance(host, str) and isinstance(port, int) and isinstance(one_time, str)):
        raise UserError(tr("{run} needs several machines, and nothing says where they meet.",
                           run=folder.name), "",
                        tr("Start it with: {command}", command=program.command("launch", folder)))
    return Invitation(host, port, one_time)


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
