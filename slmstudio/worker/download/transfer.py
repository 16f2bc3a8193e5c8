"""One file's bytes, from the hub to the disk: what is already there isn't requested again.

The hub's library itself starts a file over in each process (2.4: `hf_hub_download` gives its temporary file a random
name and removes it), so only its connection, its headers and its errors are used here.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slmstudio.core.i18n import tr
from slmstudio.core.model.hub.place import RemoteFile
from slmstudio.core.units import format_bytes
from slmstudio.worker.runtime import network

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_BLOCK = 1024 * 1024


class Wrong(Exception):
    """What comes isn't the file that the hub's list promised; its text says how, as a sentence."""


class Broken(Exception):
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
            raise Wrong(tr("The hub has only {size} of it.", size=format_bytes(have)))
        hf_raise_for_status(response)
        at = _begin(response, have, size)
        with open(path, "r+b" if path.exists() else "wb") as file:
            file.seek(at)
            file.truncate()
            for piece in response.iter_bytes():
                if at + len(piece) > size:
                    raise Wrong(tr("More arrived than the {size:,} bytes that the hub's list says.", size=size))
                file.write(piece)
                file.flush()  # what is written outlives this process
                at += len(piece)
                watch()
    if at < size:
        raise Broken


def _begin(response: Any, have: int, size: int) -> int:
    """At which byte of the file the answer begins.

    Raises:
        Wrong, network.NotTheHub: it is the answer to something else.
    """
    if "text/html" in response.headers.get("Content-Type", "").lower():
        raise network.NotTheHub
    if response.status_code == 206:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            raise Wrong(tr("The hub sent a different part of the file than the one that was requested."))
        begin, total = have, found[2]
    else:
        begin, total = 0, response.headers.get("Content-Length", "*")
    if total != "*" and int(total) != size and "Content-Encoding" not in response.headers:
        raise Wrong(tr("The hub sends {total:,} bytes, but its list says {size:,}.", total=int(total), size=size))
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
