"""`python -m slmstudio.worker JOB_FOLDER` does one job; `--interactive KIND` talks over stdin and stdout; `--libraries
NAMES` says for each library whether it loads.

The order matters: the environment is set (offline, no telemetry), files are opened that stay open, the process locks
itself while it has one thread, and only then come threads and heavy imports.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] == os.getcwd():
    del sys.path[0]  # started by hand, without -P: nothing in the current folder may stand in for a module

import errno
import faulthandler
import importlib
import traceback
from io import FileIO
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space, i18n, jobs, memory_limit
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.jobs import processes
from slmstudio.core.jobs.outcome import memory_advice, resume_advice
from slmstudio.core.lock import worker_lock

KINDS = {
    "train": "slmstudio.worker.training.train",
    "import": "slmstudio.worker.export.import_model",
    "export": "slmstudio.worker.export.export",
    "parity": "slmstudio.worker.parity.parity",
    "evaluate": "slmstudio.worker.evaluation.evaluate",
    "documents": "slmstudio.worker.documents.make",
    "download": "slmstudio.worker.download.fetch_job",
    "fit_check": "slmstudio.worker.training.fit_check",
    "fetch_starter": "slmstudio.worker.export.fetch_starter",
    "fetch_benchmark": "slmstudio.worker.benchmark.fetch_job",
    "join": "slmstudio.worker.launch.agent",
}
"""Kind of job: the module whose `run(job)` does it and returns the outcome's `result`."""
AGENT = KINDS["join"]
"""Does a job that several processes share: it starts them, and returns the whole outcome."""


def main(arguments: list[str]) -> int:
    os.environ.update(processes.worker_environment())
    i18n.use()
    os.environ["PYTHONSAFEPATH"] = "1"  # as -P, for each Python that a library starts itself
    faulthandler.enable()
    if len(arguments) in (2, 3) and arguments[0] == "--interactive":
        from slmstudio.worker.runtime import interactive

        return interactive.main(*arguments[1:])
    if arguments[:1] == ["--libraries"]:
        from slmstudio.worker.runtime import libraries

        worker_lock.install("libraries", {})
        return libraries.main(arguments[1:])
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    return run_job(Path(arguments[0]))


def run_job(folder: Path) -> int:
    """Do the job of `folder`; its outcome is written whatever happens. Returns the exit status.

    Of the processes that torchrun starts for one job, rank 0 alone speaks for it: it writes the events and reads the
    commands. The agent that started them takes the lock, is named in process.json and writes the outcome from what each
    of them says of its own end; where torchrun was started by hand, rank 0 does that too.
    """
    import filelock

    from slmstudio.worker.runtime import ending, interactive, ranks
    from slmstudio.worker.runtime.context import JobContext

    log, leads, by_agent = None, ranks.is_first(), ending.by_agent()
    lock = filelock.FileLock(folder / "worker.lock")
    if by_agent:
        ending.begin(folder, ranks.rank())
        log = interactive.opened(ending.log_of(folder, ranks.rank()))
    elif leads:
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            print(f"another worker is working on {folder}", file=sys.stderr)
            return 3
        os.environ.setdefault(processes.COMMANDS_FROM, str(jobs.commands_end(folder)))  # also for those it starts
        jobs.write_process_file(folder, os.getpid())
        log = interactive.opened(folder / jobs.LOG)
    processes.lower_priority()
    job = JobContext(folder, jobs.Job(folder).request())
    if not by_agent:
        job.emit("job_started", pid=os.getpid(), kind=job.request["kind"])
    outcome = _outcome_of(job, log)
    if outcome is None and leads and not by_agent:
        from slmstudio.worker.training import out_of_memory

        lock.release()
        out_of_memory.start_anew(job)
        return 0
    if leads or by_agent:
        ending.write_outcome(job, outcome or jobs.Outcome(ending.LOST))
    if outcome is None:
        return 0 if ranks.has_ended() else 1  # torchrun then ends the other ranks
    if leads:
        ranks.report_end()
    elif outcome.error:
        ranks.report_failure(outcome.error)
    # torchrun takes another status for a failure, and ends the other ranks before they have let go of what they hold.
    together = ranks.world_size() > 1 and outcome.state not in ("failed", ending.LOST)
    return 0 if outcome.was_successful() or together else 1


def _is_shared(job: Any) -> bool:
    """Whether this process is to start others for its job, being none of them itself."""
    from slmstudio.core.run import adjust
    from slmstudio.core.run.config import RunConfig

    if job.request["kind"] != "train" or "RANK" in os.environ:
        return False
    return adjust.apply(RunConfig.from_dict(job.request), job.folder).world_size > 1


def _outcome_of(job: Any, log: FileIO | None) -> jobs.Outcome | None:
    """How the job ended; None when a fresh process must continue with it, and on another rank than the first where
    that says how it ended."""
    from slmstudio.worker.runtime import ending, interactive, ranks
    from slmstudio.worker.runtime.context import Cancelled, StartAnew

    try:
        kind = job.request["kind"]
        if ranks.is_first() and not ending.by_agent():
            disk_space.keep_reserve(job.folder)
        if kind == "join" or _is_shared(job):
            # It only starts processes, each of which locks itself and keeps the log short.
            outcome: jobs.Outcome = importlib.import_module(AGENT).run(job)
            return outcome
        _lock(job)
        interactive.watch(log)
        module = importlib.import_module(KINDS[kind])
        with disk_space.full_as_os_error(job.folder):
            result = module.run(job)
        return jobs.Outcome(result.pop("state", "finished"), result.pop("error", None), result=result)
    except (StartAnew, ranks.FirstFailed):
        return None
    except Cancelled:
        return jobs.Outcome("cancelled")
    except UserError as error:
        return jobs.Outcome("failed", error.to_dict())
    except OSError as error:
        if error.errno == errno.ENOMEM:
            return jobs.Outcome("failed", _out_of_memory(job).to_dict(), traceback.format_exc())
        return _system_failed(job, error)
    except MemoryError:
        return jobs.Outcome("failed", _out_of_memory(job).to_dict(), traceback.format_exc())
    except Exception as error:
        traceback.print_exc()
        if ranks.is_of_another(error):
            if not ranks.is_first():
                return None
            return jobs.Outcome(ending.LOST if ending.by_agent() else "failed",
                                ranks.failure_of_another(error).to_dict(), traceback.format_exc())
        if _gpu_is_gone(error):
            return jobs.Outcome("failed", ending.gpu_gone(job).to_dict(), traceback.format_exc())
        if memory_limit.is_near():
            return jobs.Outcome("failed", _out_of_memory(job).to_dict(), traceback.format_exc())
        defect = UserError(
            tr("Something went wrong in SLM Studio itself."),
            f"{type(error).__name__}: {error}",
            tr("Copy the details and report them. What was saved is kept."),
        )
        return jobs.Outcome("failed", defect.to_dict(), traceback.format_exc())


def _lock(job: Any) -> None:
    """From here on this process has no network, unless fetching is its job, and no files but its own.

    Raises:
        UserError, Cancelled: as `fetch_job.fetch`.
    """
    from slmstudio.worker.runtime import child

    benchmark = job.request.get("benchmark") or {}
    if job.request["kind"] == "evaluate" and benchmark.get("fetch") and not benchmark.get("data"):
        # In a process of its own, which may use the network; and first: what it may fail of must not come after hours.
        child.run(job, "slmstudio.worker.benchmark.fetch_job",
                  {"folder": str(job.folder), "name": benchmark["name"]}, [], lambda report: None,
                  crashed=tr("The download of the benchmark ended unexpectedly."))
    worker_lock.keep_compiled()
    job.emit("lock", **worker_lock.install(job.request["kind"], job.request, job.folder).to_dict())


def _system_failed(job: Any, error: OSError) -> jobs.Outcome:
    said = from_os_error(error, tr("Could not continue."))
    if not disk_space.is_full(error, job.folder):
        return jobs.Outcome("failed", said.to_dict(), traceback.format_exc())
    remedy = join_sentences(said.remedy, resume_advice(job.request["kind"], job.folder))
    return jobs.Outcome("failed", UserError(said.what, said.why, remedy).to_dict())


def _out_of_memory(job: Any) -> UserError:
    kind = job.request["kind"]
    if memory_limit.is_near():
        return memory_limit.reached(resume_advice(kind, job.folder))
    return UserError(tr("Memory ran out."), tr("It needs more than the machine has free."),
                     join_sentences(memory_advice(kind), resume_advice(kind, job.folder)))


def _gpu_is_gone(error: Exception) -> bool:
    """Whether it is CUDA's own error (memory aside, which is handled before)."""
    import torch

    return isinstance(error, torch.AcceleratorError)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
