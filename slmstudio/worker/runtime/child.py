"""A worker's own child processes: for C code that can't be interrupted, and for the converter's separate packages."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from slmstudio.core import files, i18n, leftovers, program
from slmstudio.core.errors import UserError, causes, from_os_error
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.worker.runtime.context import Cancelled, JobContext

# -- What the child processes that may use the network have in common, and what goes wrong there.

ONLINE = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
          "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_DEBUG": "0"}
"""Environment of a process that downloads. Xet is off: it loses what it has of a file when the process ends."""
_UNREACHABLE = {"ConnectError", "ConnectTimeout", "ReadTimeout", "ReadError", "WriteError", "WriteTimeout",
                "PoolTimeout", "ProxyError", "TimeoutException", "RemoteProtocolError", "OfflineModeIsEnabled",
                "ConnectionError", "CloseError", "ConnectionResetError", "ConnectionRefusedError", "gaierror",
                "TimeoutError", "SSLError"}
_NO_HUB = {"FileMetadataError", "JSONDecodeError", "NotTheHub"}
_CERTIFICATE = {"SSLCertVerificationError", "CertificateError"}


class NotTheHub(Exception):
    """What answered isn't the hub."""


def knock() -> None:
    """Ask once whether anybody is there: the libraries try for half a minute before they say that nobody is."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    get_session().head(constants.ENDPOINT, timeout=10.0)


def kinds(error: BaseException) -> set[str]:
    """The names of the classes of an error and of what caused it."""
    return {type(each).__name__ for each in causes(error)}


def status(error: BaseException) -> int | None:
    """What the hub answered, where it answered."""
    return next((response.status_code for each in causes(error)
                 if (response := getattr(each, "response", None)) is not None), None)


def is_unreachable(error: BaseException) -> bool:
    return bool(kinds(error) & _UNREACHABLE)


def explained(error: BaseException, what: str) -> UserError | None:
    """What went wrong between us and the hub as a network, for a user; None if it is something else.

    Args:
        what: a sentence on what didn't work.
    """
    found, answered = kinds(error), status(error)
    if answered == 407 or "ProxyError" in found:
        return UserError(what, tr("The network's proxy asks for a name and a password, or refuses."),
                         tr("Check HTTPS_PROXY, then try again."))
    if answered is not None:
        return None
    if found & _NO_HUB:
        return UserError(what,
                         tr("What answered isn't the hub: perhaps a sign-in page of the network, or a proxy."),
                         tr("Open a web page to sign in, then try again."))
    if found & _CERTIFICATE:
        return UserError(what,
                         tr("The hub's certificate can't be trusted. The clock may be wrong, or the network inspects "
                            "encrypted connections with a certificate of its own."),
                         tr("Check the date, or put the network's certificate into SSL_CERT_FILE. Then try again."))
    if "gaierror" in found:
        return UserError(what,
                         tr("The hub's address can't be found: there's no network, or it is misspelt."),
                         tr("Check the network and try again."))
    if found & _UNREACHABLE:
        return UserError(what, tr("The hub can't be reached, or the connection was lost."),
                         tr("Check the network and the proxy, then try again."))
    return None


POLL_SECONDS = 0.1


def run(job: JobContext, module: str, request: dict[str, Any], search: list[Path],
        poll: Callable[[dict[str, Any]], None], environment: Mapping[str, str] | None = None,
        crashed: str = "") -> None:
    """Run `module` with `request` in a process of its own; Cancel ends it at once, and while the job must rest,
    it is told so.

    Args:
        search: folders that go first on the child's PYTHONPATH.
        poll: called ten times a second with what the child has reported so far.
        environment: what differs from this process's own.
        crashed: the sentence to say when it crashes; without one, that a step of the export did.

    Raises:
        UserError: what the child says, or that it crashed.
        Cancelled: the user asked for it; the child is gone.
    """
    request_file = job.folder / f"{module.rsplit('.', 1)[-1]}.request.json"
    report_file = request_file.with_suffix(".report")
    report_file.unlink(missing_ok=True)
    rest = _rest_file(report_file)
    rest.unlink(missing_ok=True)
    files.write_atomically(request_file, files.dump_pretty(
        {**request, "report": str(report_file), "parent": os.getpid()}))
    # -P: the current folder must not come before the packages.
    process = subprocess.Popen([sys.executable, "-P", "-m", module, str(request_file)], stdin=subprocess.DEVNULL,
                               env={**os.environ, **(environment or {}),
                                    "PYTHONPATH": program.search_path(*search)})
    report: dict[str, Any] = {}
    try:
        while True:
            try:
                code = process.wait(POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if job.cancelled():
                    raise Cancelled from None
                with contextlib.suppress(OSError):  # on a full disk it can't be told
                    rest.touch() if job.must_rest() else rest.unlink(missing_ok=True)
                with contextlib.suppress(PermissionError):  # on Windows, while it is being written
                    report = files.read_json(report_file) or {}
                poll(report)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    report = files.read_json(report_file) or {}
    if error := report.get("error"):
        raise UserError.from_dict(error)
    if code != 0:
        what = crashed or tr("A step of the export ended unexpectedly: {step}.", step=module.rsplit(".", 1)[-1])
        why = tr("It ended with exit status {status}.", status=code)
        raise UserError(what, join_sentences(why, report.get("defect", "")),
                        tr("See worker.log in the job's folder."))


def _rest_file(report_file: Path) -> Path:
    """Is there as long as the child is to rest."""
    return report_file.with_suffix(".rest")


def rest_if_told(request: dict[str, Any]) -> None:
    """The child's side, between two pieces of work: wait while the machine must cool."""
    rest = _rest_file(Path(request["report"]))
    while rest.exists():
        time.sleep(POLL_SECONDS)


def end_with(parent: int) -> None:
    """A worker that was killed can't end its children, and theirs is work that nobody waits for."""
    # Windows keeps telling the pid of a parent that has ended, or that of Python's launcher.
    while psutil.pid_exists(parent) if os.name == "nt" else os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def serve(request_file: Path, work: Callable[[dict[str, Any], Callable[..., None]], None]) -> int:
    """The child's side: do `work(request, report)`, and say how it went. Returns the exit status.

    It reads two keys of the request: "half_done", paths that are of no use if the work fails, and "trouble", what to
    say about a system error.
    """
    i18n.use()  # what it says reaches the user that its parent speaks to
    request = files.read_json(request_file)
    assert request is not None
    threading.Thread(target=end_with, args=(request["parent"],), daemon=True).start()
    report_file, known = Path(request["report"]), {}

    def report(**fields: Any) -> None:
        known.update(fields)
        files.write_atomically(report_file, files.dump_pretty(known))

    def report_last(**fields: Any) -> None:
        try:
            report(**fields)
        except OSError:  # on a full disk what is half done gives way to the sentence about it
            for path in request.get("half_done", ()):
                leftovers.remove_path(Path(path))
            report(**fields)

    try:
        work(request, report)
    except UserError as error:
        report_last(error=error.to_dict())
        return 1
    except OSError as error:
        trouble = request.get("trouble") or tr("Could not write the GGUF file.")
        report_last(error=from_os_error(error, trouble).to_dict())
        return 1
    except Exception as error:
        traceback.print_exc()
        report_last(defect=f"{type(error).__name__}: {error}")
        return 1
    return 0
