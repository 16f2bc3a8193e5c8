"""What a repository holds at one commit, as the hub lists it. A list is believed no further than it makes sense."""

from __future__ import annotations

import re
from typing import Any

from slmstudio.core.model.hub.place import RemoteFile
from slmstudio.worker.runtime import network

MOST_BYTES = 2**44
"""No file of a model is larger."""
_SHA256, _SHA1 = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{40}")


def read(repo: str, revision: str | None, endpoint: str, token: str | None) -> tuple[str, dict[str, RemoteFile | None]]:
    """The commit that a revision is now, and its files by name; None for a file whose entry makes no sense.

    Raises:
        Exception: as the hub's library does; `network.NotTheHub` for an answer that isn't the hub's.
    """
    from huggingface_hub import HfApi, constants

    hub = HfApi(endpoint=endpoint, token=token or False)
    try:
        info = hub.model_info(repo, revision=revision, files_metadata=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
        commit, listed = str(info.sha), {each.rfilename: _file(each) for each in info.siblings or ()}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise network.NotTheHub(repo) from error
    if not _SHA1.fullmatch(commit):
        raise network.NotTheHub(repo)
    return commit, {name: file for name, file in listed.items() if isinstance(name, str)}


def _file(entry: Any) -> RemoteFile | None:
    size = entry.lfs.size if entry.lfs else entry.size
    sha256, blob = str(entry.lfs.sha256 if entry.lfs else ""), str(entry.blob_id)
    known = _SHA256.fullmatch(sha256) if entry.lfs else _SHA1.fullmatch(blob)
    if type(size) is not int or not 0 <= size <= MOST_BYTES or not known:
        return None
    return RemoteFile(str(entry.rfilename), size, sha256, "" if sha256 else blob)
