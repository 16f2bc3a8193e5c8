"""The child of a download, and the only process of it that may use the network.

All files come from the one commit that the revision is at the beginning. Each is verified against the hub's list before
it gets its name; one that comes damaged is fetched once more, and then refused.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from slmstudio.core import disk_space, program
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.model import architecture, json_files, weights
from slmstudio.core.model.facts import refused_quantization
from slmstudio.core.model.hub import names, place
from slmstudio.core.model.hub import token as tokens
from slmstudio.core.model.hub.place import RemoteFile
from slmstudio.core.units import format_duration
from slmstudio.worker.download import transfer
from slmstudio.worker.download.transfer import ConnectionBroken, Patience, asked_wait
from slmstudio.worker.runtime import child

LOCK_SECONDS = 15.0
"""A child whose parent was killed ends within a fraction of this."""
MOST_BYTES = 2**44
"""No file of a model is larger."""
_SHA256, _SHA1 = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{40}")


def work(request: dict[str, Any], report: Callable[..., None]) -> None:
    """Fetch a model's files into `partial`; {"repo", "revision", "endpoint", "partial", "lock"}."""
    import filelock

    repo, revision, endpoint = request["repo"], request["revision"], request["endpoint"]
    token = tokens.find(endpoint)
    partial = Path(request["partial"])
    try:
        with filelock.FileLock(request["lock"], timeout=LOCK_SECONDS):
            _Fetch(repo, revision, endpoint, token, partial, report).run()
    except filelock.Timeout:
        raise UserError(tr("{repo} is still being downloaded.", repo=repo), tr("An earlier download hasn't ended yet."),
                        tr("Wait a minute and try again.")) from None
    except UserError:
        raise
    except Exception as error:
        kept = any(place.arrived(partial, file) for file in place.files_of(place.read_record(partial)).values())
        told = explained(error, repo, revision, endpoint, token, kept)
        if told is None:
            raise
        raise told from error


class _Fetch:
    def __init__(self, repo: str, revision: str | None, endpoint: str, token: tokens.Token | None, partial: Path,
                 report: Callable[..., None]):
        from huggingface_hub.utils import build_hf_headers

        self._repo, self._revision, self._endpoint, self._partial = repo, revision, endpoint, partial
        self._token = token.value if token else None
        # The token goes to the hub alone: the connection drops this header where it is sent on to another host.
        self._headers = build_hf_headers(token=self._token or False)
        self._report = report
        self._patience = Patience(lambda sentence: report(waiting=sentence, waited=time.time()))
        self._commit = ""
        self._chosen: list[RemoteFile] = []
        self._verified: list[RemoteFile] = []
        self._looked = 0.0

    def run(self) -> None:
        self._report(doing="looking up the model")
        self._commit, listed = self._patience(
            lambda: read_list(self._repo, self._revision, self._endpoint, self._token))
        first = self._sensible(listed, names.needed(self._repo, listed))
        self._verified = self._still_right(listed)
        self._keep_record([*self._verified, *(file for file in first if file not in self._verified)])
        self._report(doing="downloading")
        small = [file for file in first if file.name in ("config.json", weights.INDEX)]
        self._check_room(small)
        for file in small:
            self._get(file)
        self._chosen = self._sensible(listed, names.needed(self._repo, listed, self._shards(first)))
        self._keep_record(self._chosen)
        self._remove_stale()
        self._check_room(self._chosen)
        self._report(total=sum(file.size for file in self._chosen))
        for file in self._chosen:
            self._get(file)

    def _sensible(self, listed: dict[str, RemoteFile | None], wanted: Iterable[str]) -> list[RemoteFile]:
        """Raises UserError: what the hub says about a file makes no sense."""
        found = [(name, listed[name]) for name in wanted]
        if wrong := [name for name, file in found if file is None]:
            raise UserError(tr("{repo} couldn't be downloaded.", repo=self._repo),
                            tr("The size or checksum that the hub lists for {file} makes no sense.", file=wrong[0]),
                            tr("Try again later, or from another hub."))
        return [file for _, file in found if file is not None]

    def _still_right(self, listed: dict[str, RemoteFile | None]) -> list[RemoteFile]:
        """What has arrived before and is the same in this commit. What has changed since is removed."""
        before = place.files_of(place.read_record(self._partial)).values()
        for file in before:
            if listed.get(file.name) != file:
                (self._partial / file.name).unlink(missing_ok=True)
        return [file for file in before if listed.get(file.name) == file]

    def _keep_record(self, content: list[RemoteFile]) -> None:
        place.write_record(self._partial, self._repo, self._revision, self._commit, content,
                           self._endpoint)

    def _remove_stale(self) -> None:
        wanted = {file.incomplete for file in self._chosen}
        for path in self._partial.glob(".*.incomplete"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _shards(self, first: list[RemoteFile]) -> list[str]:
        """The files with weights; config.json and the index are here by now, so what can't be used is refused early.

        Raises:
            UserError: it can't be trained.
        """
        config = self._json("config.json")
        if why := architecture.why_no_language_model(config) or refused_quantization(config):
            raise UserError(tr("{repo} can't be used as a base model.", repo=self._repo), why)
        if not any(file.name == weights.INDEX for file in first):
            return []
        return names.shards(self._repo, self._json(weights.INDEX))

    def _json(self, name: str) -> dict[str, Any]:
        try:
            return json_files.read_json_object(self._partial / name)
        except UserError as error:
            raise UserError(tr("{repo} can't be used as a base model.", repo=self._repo),
                            join_sentences(error.what, error.why),
                            tr("Choose another version of the model.")) from error

    def _check_room(self, wanted: list[RemoteFile]) -> None:
        """Raises UserError: what is missing doesn't fit on the disk."""
        disk_space.require(self._partial, sum(file.size - self._have(file) for file in wanted))

    def _have(self, file: RemoteFile) -> int:
        return place.arrived(self._partial, file)

    def _watch(self) -> None:
        """While bytes arrive, other programs may fill the disk."""
        now = time.monotonic()
        if now - self._looked > 1.0:
            self._looked = now
            self._check_room(self._chosen)

    def _get(self, file: RemoteFile) -> None:
        """Raises UserError: it came damaged twice."""
        if file in self._verified and (self._partial / file.name).is_file():
            return
        for _ in range(2):
            self._report(current=file.name, checking=False)
            why = self._try(file)
            if not why:
                self._verified.append(file)
                return
            (self._partial / file.incomplete).unlink(missing_ok=True)
        raise UserError(tr("{file} of {repo} arrived damaged twice.", file=file.name, repo=self._repo), why,
                        tr("Try again later, or from another network. The files that arrived intact are kept."))

    def _try(self, file: RemoteFile) -> str:
        """Fetch and verify one file. Returns what is wrong with it, or ""."""
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(self._repo, file.name, revision=self._commit, endpoint=self._endpoint)
        incomplete = self._partial / file.incomplete
        try:
            self._patience(lambda: transfer.fetch(url, self._headers, incomplete, file.size, self._watch),
                           lambda: self._have(file))
        except transfer.WrongContent as wrong:
            return str(wrong)
        self._report(checking=True)
        why = transfer.difference(incomplete, file)
        if not why:
            os.replace(incomplete, self._partial / file.name)
        return why


def read_list(repo: str, revision: str | None, endpoint: str,
              token: str | None) -> tuple[str, dict[str, RemoteFile | None]]:
    """The commit that a revision is now, and the files of it by name; None for one of which the list makes no sense:
    it is believed no further.

    Raises:
        Exception: as the hub's library does; `network.NotTheHub` for an answer that isn't the hub's.
    """
    from huggingface_hub import HfApi, constants

    hub = HfApi(endpoint=endpoint, token=token or False)
    try:
        info = hub.model_info(repo, revision=revision, files_metadata=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
        commit, listed = str(info.sha), {each.rfilename: _file(each) for each in info.siblings or ()}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise child.NotTheHub(repo) from error
    if not _SHA1.fullmatch(commit):
        raise child.NotTheHub(repo)
    return commit, {name: file for name, file in listed.items() if isinstance(name, str)}


def _file(entry: Any) -> RemoteFile | None:
    size = entry.lfs.size if entry.lfs else entry.size
    sha256, blob = str(entry.lfs.sha256 if entry.lfs else ""), str(entry.blob_id)
    known = _SHA256.fullmatch(sha256) if entry.lfs else _SHA1.fullmatch(blob)
    if type(size) is not int or not 0 <= size <= MOST_BYTES or not known:
        return None
    return RemoteFile(str(entry.rfilename), size, sha256, "" if sha256 else blob)


def explained(error: Exception, repo: str, revision: str | None, endpoint: str, token: tokens.Token | None,
              kept: bool) -> UserError | None:
    """The error in words: what happened, why, and what to do; None for a defect of our own. What a library or a server
    says is never understood.

    Args:
        kept: whether a part of it has arrived.
    """
    what, status = tr("{repo} couldn't be downloaded.", repo=repo), child.status(error)
    if isinstance(error, ConnectionBroken):
        found = UserError(what, tr("The connection keeps breaking."), tr("Check the network and try again."))
    elif trouble := child.explained(error, what):
        found = trouble
    elif status is not None:
        found = _answered(error, status, what, repo, revision, endpoint, token)
    elif isinstance(error, OSError):
        found = from_os_error(error, tr("Could not save {model}.", model=repo))
    else:
        return None
    if kept:
        found.remedy = join_sentences(found.remedy, tr("What was downloaded is kept."))
    return found


def _answered(error: Exception, status: int, what: str, repo: str, revision: str | None, endpoint: str,
              token: tokens.Token | None) -> UserError:
    """What the hub's refusal means: 401 is for whom it doesn't know, 403 for whom it knows and won't let in."""
    kinds, page = child.kinds(error), f"{endpoint}/{repo}"
    other = ("--endpoint", endpoint) if endpoint != place.current() else ()
    put_in = program.command("models", "token", "--set", *other)
    gated = "GatedRepoError" in kinds
    if status == 401 and token is not None:
        return UserError(what,
                         tr("The hub doesn't accept the token from {place}. It's wrong, or has expired.",
                            place=tr(tokens.PLACES[token.where])),
                         tr("Make a new one on the hub and enter it: {command}", command=put_in))
    if gated and token is None:
        return UserError(what,
                         tr("Only people who have accepted its licence can download it, and there's no token to say "
                            "who you are."),
                         tr("Accept the licence on the model's page ({page}), then enter a token: {command}", page=page,
                            command=put_in))
    if gated or status == 403:
        return UserError(what,
                         tr("The token is valid, but the model's owner hasn't given you access yet. Either the licence "
                            "isn't accepted, your request is waiting for an answer, or the token may not read such "
                            "models.") if token is not None else tr("The hub refuses access."),
                         tr("Open the model's page ({page}), accept its licence or ask for access, and try again.",
                            page=page))
    if "RevisionNotFoundError" in kinds:
        return UserError(what, tr("It has no revision “{revision}”.", revision=revision or "main"),
                         tr("Look for its branches and tags on its page ({page}).", page=page))
    if "RemoteEntryNotFoundError" in kinds:
        return UserError(what, tr("The hub lists a file that it doesn't have."), tr("Try again later."))
    if status in (401, 404):
        remedy = tr("Check the owner and the name, with a slash between them.")
        if token is None:
            remedy += " " + tr("If the model is private, enter a token first: {command}", command=put_in)
        return UserError(tr("There is no model {repo} on the hub.", repo=repo),
                         tr("It may be misspelt, or hidden from you."), remedy)
    if status == 429:
        wait = asked_wait(error)
        return UserError(what, tr("The hub has received too many requests from this network."),
                         tr("Try again in {duration}.", duration=format_duration(wait)) if wait else
                         tr("Try again in a few minutes."))
    if status == 503:
        return UserError(what, tr("The hub is overloaded, or being repaired."), tr("Try again later."))
    return UserError(what, tr("The hub answered with status {status}.", status=status), tr("Try again later."))


if __name__ == "__main__":
    sys.exit(child.serve(Path(sys.argv[1]), work))
