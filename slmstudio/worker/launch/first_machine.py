"""The first machine's side of a run that several machines train: it offers the run, and waits until all are there."""

from __future__ import annotations

import hashlib
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.distributed import DistError

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import ntr, tr
from slmstudio.core.model.fingerprint import fingerprint
from slmstudio.core.run import adjust, provenance
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.launch.invitation import Invitation
from slmstudio.core.run.rows import kept_rows
from slmstudio.worker.launch import meeting_words as words
from slmstudio.worker.launch import ranks_of
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training.rows.data import read_rows

LOOK_SECONDS = 0.25
SILENT_SECONDS = 10.0
"""A machine that waits and says nothing for this long is gone."""
WAIT_SECONDS = 3600.0
GOODBYE_SECONDS = 3.0
"""That another machine has to say why it left."""


class FirstMachine:
    """Gathers the others of a run.

    Raises:
        UserError: this machine can't listen at the invitation's address, or the rows can't be read.
    """

    def __init__(self, job: JobContext, config: RunConfig, invitation: Invitation):
        self._job, self._config, self._invitation = job, config, invitation
        self._server = ranks_of.open_store(invitation.host, invitation.port)
        self._room = words.Room(self._server, invitation.id)
        self._room.say(words.HERE, True)
        self._heard: dict[int, tuple[int, float]] = {}
        self._told: list[dict[str, Any]] | None = None
        self._sent: list[str] = []

    def gather(self) -> ranks_of.Meeting:
        """Wait for the other machines; each that comes is told as an event.

        Raises:
            UserError: they didn't all come within an hour.
            Cancelled: the user asked for it.
        """
        self._offer()
        wanted, deadline = self._config.nodes - 1, time.monotonic() + WAIT_SECONDS
        while True:
            self._job.check_cancelled()
            states = self._look()
            there = [each["number"] for each in states if each["state"] == "joined"][:wanted]
            self._tell(states, len(there))
            if len(there) == wanted:
                break
            if time.monotonic() > deadline:
                raise UserError(ntr("Only {n:,} machine of {wanted} joined within an hour.",
                                    "Only {n:,} machines of {wanted} joined within an hour.", len(there) + 1,
                                    wanted=self._config.nodes), "", tr("Start it again when the others are ready."))
            time.sleep(LOOK_SECONDS)
        hosts = [self._invitation.host, *(each["address"] for each in states if each["number"] in there)]
        self._room.say(words.GO, {"numbers": there, "addresses": hosts})
        for key in self._sent:  # all who take part have them, and they are in this process's memory
            self._room.store.delete_key(key)
        self._joined = [each for each in states if each["number"] in there]
        return ranks_of.Meeting(self._invitation.host, self._invitation.port, self._room.name, self._invitation.host,
                                peers=tuple(hosts))

    def who_left(self) -> jobs.Outcome | None:
        """How another machine says that it ended; None if all are silent."""
        deadline = time.monotonic() + GOODBYE_SECONDS
        while time.monotonic() < deadline:
            for machine in self._joined:
                with suppress(DistError, ValueError, KeyError, TypeError, AttributeError):
                    if said := self._room.hear(f"left/{machine['number']}"):
                        error = UserError.from_dict(said["error"])
                        return jobs.Outcome("crashed", error.to_dict(), details=str(said["log"]))
            time.sleep(LOOK_SECONDS)
        if len(self._joined) == 1:
            host = self._joined[0]["host"]
            error = UserError(tr("The machine {host} is gone.", host=host),
                              tr("It was switched off, its program was closed, or the network connection was lost."),
                              tr("The run can be resumed, with or without it."))
            return jobs.Outcome("crashed", error.to_dict())
        return None

    def _offer(self) -> None:
        run, config = self._job.folder, self._config
        if kept_rows.read_manifest(run) is None:
            self._job.phase("reading data", Path(config.train_file).name)
            read_rows(config, self._job)
            if kept_rows.read_manifest(run) is None:
                raise UserError(tr("{run} can't be shared with other machines.", run=run.name),
                                tr("Its rows aren't the ones that it started with, so they aren't kept with it."),
                                tr("Create a new run from the same configuration."))
        needed = [jobs.RUN, *([adjust.FILE] if (run / adjust.FILE).exists() else []),
                  *(f"{kept_rows.FOLDER}/{path.name}" for path in sorted((run / kept_rows.FOLDER).iterdir()))]
        files = [self._put(number, name) for number, name in enumerate(needed)]
        self._room.say(words.OFFER, {
            "protocol": words.PROTOCOL, "name": config.name, "host": socket.gethostname(), "nodes": config.nodes,
            "processes": config.processes, "model": Path(config.model).name, "path": config.model,
            "weights": fingerprint(Path(config.model)), "versions": provenance.versions(), "files": files})

    def _put(self, number: int, name: str) -> dict[str, Any]:
        content = (self._job.folder / name).read_bytes()
        pieces = [content[at:at + words.PIECE_BYTES] for at in range(0, len(content), words.PIECE_BYTES)]
        for place, piece in enumerate(pieces):
            self._sent.append(f"file/{number}/{place}")
            self._room.put(self._sent[-1], piece)
        return {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "pieces": len(pieces)}

    def _look(self) -> list[dict[str, Any]]:
        """The machines that have come so far, as {"number", "host", "address", "state", "message"}."""
        found, now = [], time.monotonic()
        for number in range(1, min(self._room.store.add(words.NUMBERS, 0), words.MOST_MACHINES) + 1):
            # What can't be understood is of another version, or of somebody who wasn't invited.
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                if (said := self._room.hear(f"machine/{number}")) is None:
                    continue
                alive = self._room.store.add(f"alive/{number}", 0)
                if self._heard.get(number, (-1, 0.0))[0] != alive:
                    self._heard[number] = alive, now
                gone = now - self._heard[number][1] > SILENT_SECONDS
                address, problem = self._address_of(said)
                state = "refused" if problem else "left" if gone or said.get("left") else "joined"
                found.append({"number": number, "host": str(said["host"])[:100], "address": address, "state": state,
                              "message": problem})
        return found

    def _address_of(self, said: dict[str, Any]) -> tuple[str, str]:
        """A machine's address, and why it can't take part; "" if it can."""
        problem = str(said["problem"])[:500]
        try:
            return words.checked_address(said["address"], self._invitation.host), problem
        except ValueError:
            return "", problem or tr("It names an address that doesn't belong to another machine.")

    def _tell(self, states: list[dict[str, Any]], there: int) -> None:
        if states != self._told:
            self._told = states
            self._job.emit("machines", address=self._invitation.address, machines=states,
                           joined=there + 1, wanted=self._config.nodes)
            self._job.phase("waiting for machines", tr("{count} of {wanted} have joined", count=there + 1,
                                                         wanted=self._config.nodes))
