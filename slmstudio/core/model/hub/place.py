"""Where a model of the hub is: its folder in the library, and beside it the hidden one in which it arrives.

    models/NAME/source.json              where it is from: repository, commit, files with their sizes and SHA-256
    models/.NAME.partial/download.json   the same of what is still arriving
    models/.NAME.partial/.HASH.incomplete   the beginning of a file, named by what its whole content hashes to

Whatever is in the hidden folder is used again: a file has its own name there once it is whole and verified.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slmstudio.core import files, formats, paths, settings
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.json_files import printable

# -- Which hub models come from: the usual one, or another one that somebody has set.


def usual() -> str:
    """The hub that everybody knows, as its own library has it."""
    from huggingface_hub import constants

    return str(constants.HUGGINGFACE_CO_URL_HOME).rstrip("/")


def of_environment() -> str:
    """The hub that the hub's own programs would use here."""
    return checked(os.environ.get("HF_ENDPOINT") or usual())


def current(given: str | None = None) -> str:
    """The address of the hub: as given, else as the settings say, else as HF_ENDPOINT does, else the usual one.

    Raises:
        UserError: what is set isn't an address.
    """
    chosen = given or settings.load(put_aside=False)[0].hub_endpoint
    return checked(chosen) if chosen else of_environment()


def checked(address: str) -> str:
    """The address without a slash at its end.

    Raises:
        UserError: it isn't one.
    """
    try:
        parts = urlsplit(address.strip())
        right = (parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
                 and parts.username is None and (parts.port is None or parts.port > 0))
    except ValueError:
        right = False
    if not right:
        # What may hold a password isn't repeated.
        what = (tr("The address of the hub can't be used.") if "@" in address else
                tr("“{address}” can't be used as the address of a hub.", address=printable(address)))
        raise UserError(what, tr("An address must begin with https://, name a computer, and contain no password."),
                        tr("Correct it in the settings, in --endpoint or in HF_ENDPOINT."))
    return address.strip().rstrip("/")


def origin(address: str) -> str:
    """Scheme, host and port: what a token belongs to."""
    parts = urlsplit(address)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


SOURCE, RECORD = "source.json", "download.json"
MAIN = "main"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
        sha256: of its content, which the hub knows of large files; otherwise "".
        blob_id: of a small file: the SHA-1 that git gives its content; otherwise "".
    """

    name: str
    size: int
    sha256: str
    blob_id: str

    @property
    def key(self) -> str:
        """Names the content."""
        return self.sha256 or self.blob_id

    @property
    def incomplete(self) -> str:
        """How its beginning is called."""
        return f".{self.key}.incomplete"


def partial_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.partial")


def read_source(folder: Path) -> dict[str, Any] | None:
    """What source.json says; None if the model isn't from the hub, or that can't be read."""
    return _read("model source", folder / SOURCE)


def read_record(partial: Path) -> dict[str, Any] | None:
    """What download.json says about a model that hasn't arrived yet."""
    return _read("download", partial / RECORD)


def _read(kind: str, file: Path) -> dict[str, Any] | None:
    try:
        state = formats.read(kind, file)
    except (OSError, UserError):
        return None
    return state if state is not None and isinstance(state.get("repo"), str) else None


def write_record(partial: Path, repo: str, revision: str | None, commit: str = "",
                 content: list[RemoteFile] | None = None, endpoint: str | None = None) -> None:
    """Say what the hidden folder is for. Raises OSError."""
    state = {**formats.stamp("download"), "repo": repo, "revision": revision or MAIN, "commit": commit,
             "endpoint": endpoint, "files": [vars(file) for file in content or ()]}
    files.write_atomically(partial / RECORD, files.dump_pretty(state))


def files_of(state: dict[str, Any] | None) -> dict[str, RemoteFile]:
    """The files that a source.json or a download.json names, as far as they make sense."""
    listed = (state or {}).get("files")
    found = {}
    for entry in listed if isinstance(listed, list) else ():
        match entry:
            case {"name": str(name), "size": int(size), "sha256": str(sha256), "blob_id": str(blob_id)}:
                if name not in ("", ".", "..") and not set("/\\:") & set(name):
                    found[name] = RemoteFile(name, size, sha256, blob_id)
    return found


def arrived(partial: Path, file: RemoteFile) -> int:
    for name in (file.name, file.incomplete, file.name):  # it may get its name between two looks
        try:
            return min((partial / name).stat().st_size, file.size)
        except OSError:
            continue
    return 0


@dataclass(frozen=True)
class Unfinished:
    """A model that has partly arrived.

    Attributes:
        revision: None for the newest.
        done, total: bytes; total 0 if the hub's list hasn't been read yet.
        partial: its hidden folder. Removing that gives the download up.
        endpoint: the hub's address; None if it isn't known.
    """

    repo: str
    revision: str | None
    done: int
    total: int
    partial: Path
    endpoint: str | None = None


def unfinished() -> list[Unfinished]:
    """Downloads that were begun: those that run, and those that were paused or broken off."""
    found = []
    for partial in sorted(paths.models_dir().glob(".*.partial")):
        record = read_record(partial)
        if record is not None:
            wanted = files_of(record).values()
            revision = record.get("revision")
            found.append(Unfinished(record["repo"], None if revision == MAIN else str(revision),
                                    sum(arrived(partial, file) for file in wanted),
                                    sum(file.size for file in wanted), partial, record.get("endpoint")))
    return found


def is_same(state: dict[str, Any], repo: str, revision: str | None) -> bool:
    asked = revision or MAIN
    commit = str(state.get("commit"))
    return (str(state["repo"]).lower() == repo.lower()
            and (asked == state.get("revision") or (len(asked) >= 7 and commit.startswith(asked))))


def choose(repo: str, revision: str | None) -> Path:
    """The model's folder: NAME, or NAME-OWNER where another model has that name, or one with the revision's too.

    Raises:
        UserError: the place of all models isn't known.
    """
    return next(folder for folder in _candidates(repo, revision) if _may_use(folder, repo, revision))


def _candidates(repo: str, revision: str | None) -> Iterator[Path]:
    owner, _, name = repo.rpartition("/")
    names = [name, *([f"{name}-{owner}"] if owner else [])]
    if revision:
        names += [f"{each}-{re.sub(r'[^A-Za-z0-9._-]', '-', revision)[:40].strip('.')}" for each in names]
    for each in itertools.chain(names, (f"{names[-1]}-{number}" for number in itertools.count(2))):
        yield paths.models_dir() / each


def _may_use(folder: Path, repo: str, revision: str | None) -> bool:
    """Whether nothing is there, or this very model."""
    if folder.exists():
        source = read_source(folder)
        return source is not None and is_same(source, repo, revision)
    record = read_record(partial_of(folder))
    return record is None or is_same(record, repo, revision)
