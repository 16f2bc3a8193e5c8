"""One file's bytes, from the hub to the disk, tried again where a connection breaks or the hub is busy.

What is already there isn't requested again. The hub's library itself starts a file over in each process (2.4:
`hf_hub_download` gives its temporary file a random name and removes it), so only its connection, its headers and its
errors are used here.
"""

from __future__ import annotations

import email.utils
import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from slmstudio.core.errors import causes
from slmstudio.core.i18n import tr
from slmstudio.core.model.hub.place import RemoteFile
from slmstudio.core.units import format_bytes, format_duration
from slmstudio.worker.runtime import child

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_BLOCK = 1024 * 1024


class WrongContent(Exception):
    """What comes isn't the file that the hub's list promised; its text says how, as a sentence."""


class ConnectionBroken(Exception):
    """The connection ended too early."""


def fetch(url: str, headers: Mapping[str, str], path: Path, size: int, watch: Callable[[], None]) -> None:
    """Append to `path` what it lacks of `size` bytes.

    Args:
        watch: called for each piece that has been written.

    Raises:
        Wrong: the answer is of another file, or longer or shorter than was said.
        Broken, Exception: the connection broke, or as the hub's library says; what was written stays.
        OSError: it can't be written.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session, hf_raise_for_status

    have = path.stat().st_size if path.exists() else 0
    have = have if have <= size else 0
    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    if have == size and path.exists():
        return
    with get_session().stream("GET", url, headers=asked, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        if response.status_code == 416:
            raise WrongContent(tr("The hub has only {size} of it.", size=format_bytes(have)))
        hf_raise_for_status(response)
        at = _begin(response, have, size)
        with open(path, "r+b" if path.exists() else "wb") as file:
            file.seek(at)
            file.truncate()
            for piece in response.iter_bytes():
                if at + len(piece) > size:
                    raise WrongContent(tr("More arrived than the {size:,} bytes that the hub's list says.", size=size))
                file.write(piece)
                file.flush()  # what is written outlives this process
                at += len(piece)
                watch()
    if at < size:
        raise ConnectionBroken


def _begin(response: Any, have: int, size: int) -> int:
    """At which byte of the file the answer begins.

    Raises:
        Wrong, network.NotTheHub: it is the answer to something else.
    """
    if "text/html" in response.headers.get("Content-Type", "").lower():
        raise child.NotTheHub
    if response.status_code == 206:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            raise WrongContent(tr("The hub sent a different part of the file than the one that was requested."))
        begin, total = have, found[2]
    else:
        begin, total = 0, response.headers.get("Content-Length", "*")
    if total != "*" and int(total) != size and "Content-Encoding" not in response.headers:
        raise WrongContent(tr("The hub sends {total:,} bytes, but its list says {size:,}.", total=int(total),
                              size=size))
    return begin


def difference(path: Path, file: RemoteFile) -> str:
    """How a file that has arrived differs from the hub's, as a sentence; "" if it is the same."""
    # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects: a blob's name hashes its length, then its content.
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    with open(path, "rb+") as opened:  # Windows flushes only what may be written
        while block := opened.read(_BLOCK):
            digest.update(block)
        os.fsync(opened.fileno())
    if digest.hexdigest() == file.key:
        return ""
    return tr("Its {kind} is {found}…, but the hub's list says {listed}….",
              kind="SHA-256" if file.sha256 else "SHA-1", found=digest.hexdigest()[:12], listed=file.key[:12])


Result = TypeVar("Result")
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait, after this many failures in a row that brought nothing."""
AT_ONCE = 0.2
"""Seconds to wait where something had come."""
LONGEST = 300.0
"""Seconds that a hub may ask for."""
BUSY = (408, 429, 500, 502, 503, 504)


class Patience:
    """Does work that may fail for a while.

    Args:
        tell: is told in a sentence that it waits.
    """

    def __init__(self, tell: Callable[[str], None]):
        self._report = tell
        self._reached = False

    def __call__(self, work: Callable[[], Result], arrived: Callable[[], int] = lambda: 0) -> Result:
        """Do it, again where that may help. A hub that was never reached isn't tried again: that is said at once.

        Args:
            arrived: how much there is of what the work brings.

        Raises:
            Exception: what the work raised last.
        """
        failures = 0
        while True:
            before = arrived()
            try:
                result = work()
                self._reached = True
                return result
            except Exception as error:
                failures = 0 if arrived() > before else failures + 1
                wait = self._wait(error, failures)
                if wait is None:
                    raise
                time.sleep(wait)

    def _wait(self, error: Exception, failures: int) -> float | None:
        """Seconds to wait; None if waiting doesn't help."""
        status = child.status(error)
        self._reached = self._reached or status is not None
        broken = status is None and self._reached and (
            isinstance(error, ConnectionBroken) or child.is_unreachable(error))
        if failures > len(WAITS) or not (broken or status in BUSY):
            return None
        asked = asked_wait(error)
        wait = asked if asked is not None else WAITS[failures - 1] if failures else AT_ONCE
        if wait > LONGEST:
            return None
        self._report(tr("The connection was lost. Trying again in {duration}.",
                      duration=format_duration(wait)) if broken else
                   tr("The hub is busy. Trying again in {duration}.", duration=format_duration(wait)))
        return wait


def asked_wait(error: BaseException) -> float | None:
    """Seconds for which a busy hub asks to be left alone, where it says."""
    headers: Any = next((response.headers for each in causes(error)
                         if (response := getattr(each, "response", None)) is not None), {})
    value = (headers.get("Retry-After") or "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        pass
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None
