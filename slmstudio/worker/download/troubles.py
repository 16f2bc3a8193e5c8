"""What went wrong while a model was fetched, for a user: what happened, why, and what to do."""

from __future__ import annotations

from slmstudio.core import program
from slmstudio.core.errors import UserError, from_os_error
from slmstudio.core.i18n import join_sentences, tr
from slmstudio.core.model.hub import place as endpoints
from slmstudio.core.model.hub import token as tokens
from slmstudio.core.units import format_duration
from slmstudio.worker.download.transfer import Broken, asked_wait
from slmstudio.worker.runtime import network


def explained(error: Exception, repo: str, revision: str | None, endpoint: str, token: tokens.Token | None,
              kept: bool) -> UserError | None:
    """The error in words; None for a defect of our own. What a library or a server says is never understood.

    Args:
        kept: whether a part of it has arrived.
    """
    said = _explained(error, repo, revision, endpoint, token)
    if said is None or not kept:
        return said
    return UserError(said.what, said.why, join_sentences(said.remedy, tr("What was downloaded is kept.")))


def _explained(error: Exception, repo: str, revision: str | None, endpoint: str, token: tokens.Token | None
               ) -> UserError | None:
    what = tr("{repo} couldn't be downloaded.", repo=repo)
    if isinstance(error, Broken):
        return UserError(what, tr("The connection keeps breaking."), tr("Check the network and try again."))
    if trouble := network.explained(error, what):
        return trouble
    status = network.status(error)
    if status is None:
        return from_os_error(error, tr("Could not save {model}.", model=repo)) if isinstance(error, OSError) else None
    return _answered(error, status, what, repo, revision, endpoint, token)


def _answered(error: Exception, status: int, what: str, repo: str, revision: str | None, endpoint: str,
              token: tokens.Token | None) -> UserError:
    """What the hub's refusal means: 401 is for whom it doesn't know, 403 for whom it knows and won't let in."""
    kinds, page = network.kinds(error), f"{endpoint}/{repo}"
    other = ("--endpoint", endpoint) if endpoint != endpoints.current() else ()
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
