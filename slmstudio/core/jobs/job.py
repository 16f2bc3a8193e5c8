"""A job is a folder and a process: start it, attach to it, command it, and learn how it ended.

The folder holds everything; the process may be anybody's child. So a window that crashed and was
opened again knows as much as the one that started the job.

    request.json    what is to be done, as `{"kind": ..., ...}` (a training run calls it run.json)
    process.json    who is doing it: pid, when it began, and the machine's state at the start
    events.jsonl    everything that happened, append-only
    commands.jsonl  what the user asked of it, append-only
    outcome.json    how it ended, written once
    worker.log      what the process printed
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space, files, formats, i18n, leftovers
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import noop, tr
from slmstudio.core.jobs import processes
from slmstudio.core.jobs.outcome import Outcome, cause_of_death, last_state, resume_advice, without_file

PROTOCOL = formats.KINDS["job"].format
REQUEST, RUN, PROCESS, OUTCOME = "request.json", "run.json", "process.json", "outcome.json"
EVENTS, COMMANDS, LOG = "events.jsonl", "commands.jsonl", "worker.log"
START_LOCK = "start.lock"
MEMORY_KILL = "out_of_memory_kill"
"""Type of the event that a new start of a job begins with when the system had killed the one before for its memory."""
LOADING = "loading model"
"""The phase of a job that loads a model."""
DAMAGED = "damaged_events"
"""Code of the warning that a follower gets once where lines of events.jsonl can't be read."""
DAMAGED_SENTENCE = noop("Some lines of events.jsonl couldn't be read and were skipped. The job itself isn't affected.")
POLL_SECONDS = 0.1
LEAVING_SECONDS = 15.0
TERM_SECONDS = 3.0
"""How long a process that was sent SIGTERM may take before it is killed."""


def need_own_files(folder: Path) -> None:
    """Refuse a job one of whose files is a link to somewhere else: what is read there would be shown, and what is
    written would be written there.

    Raises:
        UserError: naming it.
    """
    for name in (REQUEST, RUN, PROCESS, EVENTS, COMMANDS, OUTCOME, LOG):
        path = os.path.join(folder, name)  # a thousand runs are looked at so, and a Path takes longer than the look
        if os.path.islink(path) and not Path(path).resolve().is_relative_to(folder.resolve()):
            raise UserError(tr("{folder} can't be used: {name} is a link that leads out of it.", folder=folder,
                               name=name), tr("It leads to {target}.", target=os.readlink(path)[:200]),
                            tr("Replace the link with the file {name} itself.", name=name))


class EventReader(files.LineReader):
    """Reads the events of a job folder, in the language spoken now. Those of a newer program are refused."""

    def __init__(self, folder: Path):
        super().__init__(folder / EVENTS)

    def read(self) -> Iterator[dict[str, Any]]:
        for event in super().read():
            try:
                yield i18n.retranslate(formats.check("job", event, self.path))
            except formats.NewerFormat:
                raise
            except UserError:
                self.damaged += 1


class Job:
    """A job folder, and whichever process works on it."""

    def __init__(self, folder: Path):
        self.folder = Path(folder).absolute()  # the worker starts in a folder of its own
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, folder: Path, kind: str, **arguments: Any) -> Job:
        """Make the folder of a new job; where `folder` is taken, one of that name with a number.

        Arguments must be JSON values.
        """
        return cls.at(files.new_folder(folder), kind, **arguments)

    @classmethod
    def at(cls, folder: Path, kind: str, **arguments: Any) -> Job:
        """The job of a folder that whoever wants the same thing shares. Arguments must be JSON values."""
        request = {"protocol": PROTOCOL, "kind": kind, **arguments}
        files.write_atomically(folder / REQUEST, files.dump_pretty(request))
        return cls(folder)

    def request(self) -> dict[str, Any]:
        """What is to be done, as run.json or request.json says.

        Raises:
            UserError: the folder isn't a job, a newer program made it, or a file of it is a link that leads out.
        """
        need_own_files(self.folder)
        value = formats.read("run", self.folder / RUN) or formats.read("job", self.folder / REQUEST)
        if value is None:
            raise UserError(tr("{folder} isn't a job.", folder=self.folder),
                            tr("It has no readable request.json or run.json."),
                            tr("Choose a run folder that SLM Studio made."))
        return value

    def start(self) -> None:
        """Start a detached worker process; it outlives this one.

        Raises:
            UserError: a worker is already working on this folder, or none can be started, or the disk is full.
        """
        import filelock

        need_own_files(self.folder)
        disk_space.require(self.folder)
        # Two windows may press Start at once: the one that comes second must see the first one's worker.
        with os_errors_as(tr(processes.NOT_STARTED)), filelock.FileLock(self.folder / START_LOCK):
            if self.is_alive() and not self._is_leaving():
                raise UserError(tr("{folder} is already running.", folder=self.folder.name),
                                tr("Another process is working on it."),
                                tr("Watch it in the Training tab, or stop it first."))
            self._spawn()

    def _is_leaving(self) -> bool:
        """Whether the process has written its outcome; then wait until it is gone, which takes PyTorch a moment."""
        deadline = time.monotonic() + LEAVING_SECONDS
        while (self.folder / OUTCOME).exists() and time.monotonic() < deadline:
            if not self.is_alive():
                return True
            time.sleep(POLL_SECONDS)
        return False

    def _spawn(self) -> None:
        if self.died_of_memory():
            files.append_line(self.folder / EVENTS,
                              {"protocol": PROTOCOL, "time": round(time.time(), 3), "type": MEMORY_KILL})
        (self.folder / OUTCOME).unlink(missing_ok=True)
        (self.folder / PROCESS).unlink(missing_ok=True)
        with open(self.folder / LOG, "ab", opener=files.own) as log:
            self._process = processes.spawn(
                [*processes.worker_command(), str(self.folder)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder,
                env={**processes.worker_environment(self._kind()),
                     processes.COMMANDS_FROM: str(commands_end(self.folder))})
        write_process_file(self.folder, self._process.pid)

    def is_gone(self) -> bool:
        """Whether its folder was moved or deleted; what a worker still writes doesn't bring back what it is to do."""
        return not any(os.path.lexists(self.folder / name) for name in (RUN, REQUEST))

    def is_alive(self) -> bool:
        """Whether the process that process.json names still runs."""
        state = files.read_json(self.folder / PROCESS)
        if state is None:
            return False
        # Asking its exit status lets the system forget a child that has ended. Its successor may have another pid.
        if self._process is not None and self._process.poll() is not None and state["pid"] == self._process.pid:
            return False
        return processes.is_running(state)

    def send(self, command: str, **arguments: Any) -> None:
        """Append a command; the worker reads it at the next step boundary.

        Raises:
            UserError: it can't be written: the disk is full, or a link is in the file's place.
        """
        line = {"protocol": PROTOCOL, "time": time.time(), "command": command, **arguments}
        with os_errors_as(tr("Could not send “{command}” to the worker.", command=command)):
            try:
                files.append_line(self.folder / COMMANDS, line)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                disk_space.give_reserve(self.folder)  # a job that waits for space must hear Stop
                files.append_line(self.folder / COMMANDS, line)

    def outcome(self) -> Outcome | None:
        """How the job ended; None while it runs and before it was started.

        Raises:
            UserError: a newer program wrote the outcome.
        """
        state = formats.read("job", self.folder / OUTCOME)
        if state is not None:
            return Outcome.read(state)
        if not (self.folder / PROCESS).exists() or self.is_alive():
            return None
        # The outcome may have been written between the two looks; a damaged one counts as none.
        if files.read_json(self.folder / OUTCOME) is not None:
            return self.outcome()
        if (self.folder / OUTCOME).exists() and (ended := last_state(self.folder / EVENTS)):
            return without_file(ended, self.folder / OUTCOME)
        return Outcome("crashed", self._cause_of_death().to_dict(), details=self.log_tail())

    def events(self) -> Iterator[dict[str, Any]]:
        """All events so far, from the first.

        Raises:
            UserError: a newer program wrote them.
        """
        return EventReader(self.folder).read()

    def follow(self, poll_seconds: float = POLL_SECONDS) -> Iterator[dict[str, Any]]:
        """Events from the first, then as they come, until the job has ended.

        Raises:
            UserError: its folder was moved or deleted; or as `events`.
        """
        reader = EventReader(self.folder)
        told = False
        while True:
            ended = self.outcome() is not None
            yield from reader.read()
            if reader.damaged and not told:
                told = True
                yield {"protocol": PROTOCOL, "time": time.time(), "type": "warning", "code": DAMAGED,
                       "message": tr(DAMAGED_SENTENCE)}
            if ended:
                return
            if self.is_gone():
                raise gone(self.folder)
            time.sleep(poll_seconds)

    def wait(self, on_event: Callable[[dict[str, Any]], None] = lambda event: None) -> Outcome:
        for event in self.follow():
            on_event(event)
        outcome = self.outcome()
        assert outcome is not None
        self._reap()
        return outcome

    def kill(self) -> None:
        """End the process tree at once: SIGTERM, three seconds, SIGKILL."""
        import psutil

        state = files.read_json(self.folder / PROCESS)
        if state is None or not processes.is_running(state):
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(state["pid"])
            tree = [*parent.children(recursive=True), parent]
            for process in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()
            deadline = time.monotonic() + TERM_SECONDS
            if self._process is not None:  # else psutil takes its exit status
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(TERM_SECONDS)
            _, alive = psutil.wait_procs(tree, timeout=max(0.0, deadline - time.monotonic()))
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if self._process is not None:
                self._process.wait(timeout=5)
            psutil.wait_procs(alive, timeout=3)
        self._remove_leftovers(state)

    def end(self, cancelling: bool = False) -> None:
        """End the process tree at once because the user wants that, and say so, unless the worker has said how it
        ended.

        Args:
            cancelling: whether nothing of the job was to be kept.

        Raises:
            OSError: the outcome can't be written.
        """
        self.kill()
        if (self.folder / OUTCOME).exists() or self.is_gone():
            return
        disk_space.give_reserve(self.folder)
        error = UserError(tr("The worker didn't stop by itself, so it was ended."),
                          tr("It was asked to stop and didn't answer in time, or you didn't want to wait."),
                          self.advice())
        write_outcome(self.folder, Outcome("cancelled") if cancelling else Outcome("failed", error.to_dict()))

    def advice(self) -> str:
        """How its work is continued after it ended badly."""
        state = files.read_json(self.folder / PROCESS) or {}
        left = leftovers.find(files.read_json(self.folder / REQUEST) or {}, state.get("pid", 0))
        return resume_advice(self._kind(), self.folder, left)

    def _remove_leftovers(self, process: dict[str, Any]) -> None:
        leftovers.remove(self.folder, files.read_json(self.folder / REQUEST) or {}, process.get("pid", 0))

    def _kind(self) -> str:
        return str((files.read_json(self.folder / RUN) or files.read_json(self.folder / REQUEST) or {}).get(
            "kind", "train"))

    def log_tail(self, characters: int = 4000) -> str:
        try:
            with open(self.folder / LOG, "rb", opener=files.regular) as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - characters))
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _reap(self) -> int | None:
        """The exit status of a worker that this process started and that is gone; None when it isn't known."""
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=1)
        return None

    def died_of_memory(self) -> bool:
        """Whether the last process is gone without an outcome and the kernel has killed for memory since it began."""
        state = files.read_json(self.folder / PROCESS) or {}
        return (state.get("boot_id") == processes.boot_id() and files.read_json(self.folder / OUTCOME) is None
                and processes.oom_kills() > state.get("oom_kills", 0))

    def _cause_of_death(self) -> UserError:
        state = files.read_json(self.folder / PROCESS) or {}
        code = self._reap()
        self._remove_leftovers(state)
        return cause_of_death(state, code, self._kind(), self.advice(), self.was_loading)

    def was_loading(self) -> bool:
        """Whether the last thing that the job began was to load a model."""
        phases = [event.get("phase") for event in self.events() if event.get("type") == "phase"]
        return phases[-1:] == [LOADING]


def gone(folder: Path) -> UserError:
    """What to say about a job that `Job.is_gone`."""
    return UserError(tr("The job's folder is gone."), tr("{folder} was moved or deleted.", folder=folder.name),
                     tr("Put it back, or start the job again."))


def commands_end(folder: Path) -> int:
    """Bytes of a job's commands so far."""
    try:
        return (folder / COMMANDS).stat().st_size
    except FileNotFoundError:
        return 0


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write outcome.json, once, complete or absent."""
    files.write_atomically(
        folder / OUTCOME, files.dump_pretty({"protocol": PROTOCOL, "time": time.time(), **asdict(outcome)}))


def write_process_file(folder: Path, pid: int) -> None:
    """Say who works on the folder. Written by the starter and by the worker itself, with equal content."""
    files.write_atomically(folder / PROCESS, files.dump_pretty(
        {**processes.identity(pid), "oom_kills": processes.oom_kills()}))
