"""Another machine's side of a run that several machines train: it asks the first one for the run, checks that it has
the same model and versions, and then runs its own processes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing.api import SignalException

from slmstudio.core import files, jobs, program
from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import read_machine
from slmstudio.core.i18n import tr
from slmstudio.core.model.fingerprint import fingerprint
from slmstudio.core.model.library import local_models
from slmstudio.core.run import adjust
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.launch import checks
from slmstudio.core.run.provenance import versions
from slmstudio.core.run.rows import kept_rows
from slmstudio.worker.launch import failure_cause, ranks_of, way
from slmstudio.worker.launch import meeting_words as words
from slmstudio.worker.runtime.context import Cancelled, JobContext

RUN = "run"
COMPARED = ("slmstudio", "torch", "transformers", "peft", "trl")
ALIVE_SECONDS = 1.0
_ROWS = re.compile(kept_rows.FOLDER + r"/[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}")


def run(job: JobContext) -> jobs.Outcome:
    """Take part in the run that another machine offers.

    Raises:
        UserError: it can't be reached, or this machine can't take part: other versions, another model.
        Cancelled: the user asked for it.
    """
    place, meeting = _meet(job)
    offer, config = place.offer, place.config()
    job.phase("training", tr("with {host}", host=offer["host"]))
    with _leaves_when_asked(job):
        try:
            codes = ranks_of.train(place.folder, config, meeting)
        except SignalException as error:
            if not job.cancelled():
                ranks_of.end_by(error)
            place.say_left(UserError(tr("The machine {host} left: somebody stopped the run on it.",
                                        host=socket.gethostname()), "",
                                     tr("The run can be resumed, with or without it.")), "")
            raise Cancelled from error
    if not codes:
        return jobs.Outcome("finished", result={"host": offer["host"], "run": offer["name"]})
    cause = failure_cause.first_cause(failure_cause.read(place.folder, codes))
    if cause.kind >= failure_cause.LOST_OTHERS:
        raise UserError(tr("The run on {host} has ended, or the connection to it broke.", host=offer["host"]), "",
                        tr("Look on that machine for the reason; it keeps the run."))
    outcome = failure_cause.outcome_of(cause, place.folder, config.world_size, socket.gethostname())
    place.say_left(outcome.user_error(), cause.log)
    return outcome


def _meet(job: JobContext) -> tuple[_Place, ranks_of.Meeting]:
    """Wait until the first machine begins.

    Raises:
        UserError, Cancelled: as `run`.
    """
    host, port = job.request["host"], int(job.request["port"])
    job.phase("looking for the first machine", f"{host}:{port}")
    address, first = way.reach(host, port)
    room = words.Room(way.connect(first, port), job.request["id"])
    try:
        if room.hear(words.HERE) is None:
            raise UserError(tr("The machine at {host}:{port} offers no run with this id.", host=host, port=port),
                            tr("Each start of a run has its own id; this one may belong to an earlier start, or be "
                               "misspelt."), tr("Copy the command from the first machine again."))
        place = _Place(job, room, _offer(job, room), address, first,
                       Path(job.request["model"]) if job.request.get("model") else None)
        node, peers = place.wait()
    except DistError as error:
        raise UserError(tr("The first machine is no longer waiting: the run was ended there, or the connection "
                           "was lost."), "",
                        tr("Start the run on that machine again, and copy the new command.")) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(tr("What the machine at {host}:{port} says can't be understood.", host=host, port=port),
                        tr("It may have a different version of SLM Studio, or another program interferes."),
                        tr("Install the same version on both machines, and start the run again.")) from error
    return place, ranks_of.Meeting(first, port, room.name, address, node, peers)


def _offer(job: JobContext, room: words.Room) -> dict[str, Any]:
    """What the first machine offers, once it has read its rows."""
    while (offer := room.hear(words.OFFER)) is None:
        job.check_cancelled()
        time.sleep(ALIVE_SECONDS)
    if not isinstance(offer, dict):
        raise TypeError("an offer has names")
    return {**offer, "host": str(offer["host"])[:100], "name": str(offer["name"])[:200]}


@dataclass
class _Place:
    """This machine's place in a run: whether it may take part, its copy of the run, and its number."""

    job: JobContext
    room: words.Room
    offer: dict[str, Any]
    address: str
    first: str
    wanted: Path | None
    number: int = 0

    @property
    def folder(self) -> Path:
        return self.job.folder / RUN

    def wait(self) -> tuple[int, tuple[str, ...]]:
        """Get ready, and wait until the first machine begins.

        Returns:
            The number of this machine in the run, from 1, and the addresses of all machines, the first one's first.

        Raises:
            UserError, Cancelled: as `run`.
            DistError: the first machine is gone.
            ValueError, KeyError, TypeError, AttributeError: it says what can't be understood.
        """
        me: dict[str, Any] = {"host": socket.gethostname(), "address": self.address, "problem": ""}
        self.number = self.room.store.add(words.NUMBERS, 1)
        key = f"machine/{self.number}"
        try:
            self._compare_versions()
            model = self._model()
            self._fetch(model)
            self._check_cards()
        except UserError as error:
            self.room.say(key, {**me, "problem": error.what})
            raise
        self.room.say(key, me)
        self.job.phase("waiting for the start", tr("with {host}", host=self.offer["host"]))
        try:
            while True:
                self.room.store.add(f"alive/{self.number}", 1)
                if (go := self.room.hear(words.GO)) is not None:
                    break
                self.job.check_cancelled()
                time.sleep(ALIVE_SECONDS)
        except Cancelled:
            self.room.say(key, {**me, "left": True})
            raise
        if self.number not in go["numbers"]:
            raise self._full()
        peers = tuple(words.checked_address(each, self.address) for each in go["addresses"])
        if len(peers) != self.offer["nodes"] or peers[0] != words.checked_address(self.first, self.address):
            raise ValueError("the addresses aren't those of the run's machines")
        return int(go["numbers"].index(self.number)) + 1, peers

    def _full(self) -> UserError:
        return UserError(tr("The run on {host} already has all its machines.", host=self.offer["host"]), "",
                         tr("To train with more, start the run again with more machines."))

    def config(self) -> RunConfig:
        return RunConfig.from_dict(files.read_json(self.folder / jobs.RUN) or {})

    def say_left(self, error: UserError, log: str) -> None:
        with suppress(DistError, RuntimeError):
            self.room.say(f"left/{self.number}", {"error": error.to_dict(), "log": log})

    def _compare_versions(self) -> None:
        if self.offer.get("protocol") != words.PROTOCOL:
            raise UserError(tr("{host} has a different version of SLM Studio, which joins machines in a different way.",
                               host=self.offer["host"]), "", tr("Install the same version on both machines."))
        here, there = versions(), self.offer["versions"]
        other = [f"{name} {here.get(name) or '–'} ≠ {there.get(name) or '–'}"
                 for name in COMPARED if here.get(name) != there.get(name)]
        if other:
            raise UserError(tr("{machine} has different versions from {host}: {versions}.",
                               machine=socket.gethostname(), host=self.offer["host"], versions="; ".join(other)), "",
                            tr("Install the same versions on both machines."))

    def _model(self) -> Path:
        name, weights = self.offer["model"], self.offer["weights"]
        if self.wanted is not None:
            candidates = [self.wanted]
        else:
            candidates = [Path(self.offer["path"]), *sorted(local_models(), key=lambda path: path.name != name)]
        for path in candidates:
            with suppress(OSError):
                if weights is not None and path.is_dir() and fingerprint(path) == weights:
                    return path.absolute()
        same_name = next((path for path in candidates if path.name == name and path.is_dir()), None)
        if same_name is not None:
            raise UserError(tr("{machine} has a different model: the weights of its {model} aren't those of {host}.",
                               machine=socket.gethostname(), model=same_name.name,
                               host=self.offer["host"]), "",
                            tr("Copy the model's folder from {host}, and name it with --model.",
                               host=self.offer["host"]))
        raise UserError(tr("{machine} doesn't have the model {model}.", machine=socket.gethostname(), model=name),
                        "",
                        tr("Copy its folder from {host} and name it with --model, or fetch it: {command}",
                           host=self.offer["host"], command=program.command("models", "get", name)))

    def _check_cards(self) -> None:
        checks.need(self.config(), read_machine())

    def _fetch(self, model: Path) -> None:
        """The run's configuration and rows, into a folder of this machine's own.

        What the first machine sends decides what the processes here learn, but not what they may do: which kind of job
        they are, and which files of this machine they are given (`core.lock`), is decided here.
        """
        self.job.phase("fetching the run", self.offer["name"])
        sent: dict[str, dict[str, Any]] = {}
        for number, each in enumerate(self.offer["files"]):
            content = self._file(number, each)
            if each["name"] in (jobs.RUN, adjust.FILE):
                sent[each["name"]] = json.loads(content)
            elif _ROWS.fullmatch(each["name"]):
                target = self.folder / each["name"]
                target.parent.mkdir(parents=True, exist_ok=True)
                files.write_atomically(target, content, private=True)
            else:
                raise UserError(tr("{host} offers a file that isn't part of a run.", host=self.offer["host"]), "", "")
        config = RunConfig.from_dict({**sent[jobs.RUN], **sent.get(adjust.FILE, {}).get("values", {})})
        if not config.nodes == self.offer["nodes"] > 1:
            raise ValueError("it isn't a run of several machines")
        rows = self.folder / kept_rows.FOLDER / "train.jsonl.gz"
        config = replace(config, model=str(model), train_file=str(rows), eval_file=None, start_from=None)
        files.write_atomically(self.folder / jobs.RUN, files.dump_pretty(config.to_dict()), private=True)

    def _file(self, number: int, about: dict[str, Any]) -> bytes:
        pieces = []
        for piece in range(about["pieces"]):
            self.job.check_cancelled()
            if self.room.hear(words.GO) is not None:  # from then on, the pieces aren't kept
                raise self._full()
            pieces.append(self.room.get(f"file/{number}/{piece}"))
        content = b"".join(pieces)
        if hashlib.sha256(content).hexdigest() != about["sha256"]:
            raise UserError(tr("{file} didn't arrive as {host} has it.", file=about["name"], host=self.offer["host"]),
                            "", tr("Join again."))
        return content


@contextmanager
def _leaves_when_asked(job: JobContext) -> Iterator[None]:
    """Ends this process's work as SIGTERM does as soon as the user asks for it: torchrun's agent offers no other
    way."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(ALIVE_SECONDS):
            if job.cancelled():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
