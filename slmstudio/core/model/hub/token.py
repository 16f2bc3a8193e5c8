"""The token that opens gated models: kept in the system's keyring, else in a file that its owner alone can read.

A token belongs to one hub and is never sent to another. It is read by the process that uses it, so that it is in no
argument, request, event or log.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from slmstudio.core import files, formats, paths, settings
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import noop, tr
from slmstudio.core.model.hub import place

SERVICE = "SLM Studio model hub"
KEYRING, FILE, VARIABLE, HUB_FILE = "keyring", "file", "variable", "hub file"
PLACES = {
    KEYRING: noop("the system's keyring"),
    FILE: noop("a file that only you can read"),
    VARIABLE: noop("the environment variable HF_TOKEN"),
    HUB_FILE: noop("the hub's own token file"),
}
"""Where a token may be, in words, in the order in which they are asked. Whoever shows them translates them."""
_TOKEN = re.compile(r"[!-~]{8,1000}")


@dataclass(frozen=True)
class Token:
    """
    Attributes:
        where: a key of `PLACES`.
    """

    value: str = field(repr=False)
    where: str


def find(endpoint: str) -> Token | None:
    """The token for this hub, or None.

    Raises:
        UserError: the file that holds it can't be read.
    """
    origin = place.origin(endpoint)
    for where, read in ((KEYRING, partial(settings.read, SERVICE)), (FILE, lambda origin: _tokens().get(origin)),
                        (VARIABLE, _from_environment), (HUB_FILE, _from_hub)):
        value = (read(origin) or "").strip()
        if _TOKEN.fullmatch(value):
            return Token(value, where)
    return None


def save(endpoint: str, value: str) -> str:
    """Keep a token for this hub. Returns where: `KEYRING` or `FILE`.

    Raises:
        UserError: it isn't a token, or can't be kept.
    """
    value, origin = value.strip(), place.origin(endpoint)
    if not _TOKEN.fullmatch(value):
        raise UserError(tr("That isn't a token."), tr("A token is one word of at least eight letters and digits."),
                        tr("Copy it from the hub's page of access tokens."))
    if settings.keep(SERVICE, origin, value):
        _change_file(origin, None)
        return KEYRING
    _change_file(origin, value)
    return FILE


def remove(endpoint: str) -> bool:
    """Forget the token for this hub. One that HF_TOKEN or the hub's own file holds stays. Returns whether there was
    one.

    Raises:
        UserError: it can't be removed.
    """
    origin = place.origin(endpoint)
    held = settings.read(SERVICE, origin) is not None
    if held:
        try:
            settings.ring().delete_password(SERVICE, origin)
        except Exception as error:  # each system's keyring has its own kinds
            raise UserError(tr("The token couldn't be removed from the keyring."),
                            tr("The keyring says: {name}.", name=type(error).__name__),
                            tr("Remove it with the system's own password manager.")) from error
    return _change_file(origin, None) or held


def _tokens() -> dict[str, str]:
    with os_errors_as(tr("Could not read the token for the hub.")):
        state = formats.read("hub tokens", paths.hub_tokens_file()) or {}
    tokens = state.get("tokens")
    return {key: value for key, value in tokens.items() if isinstance(value, str)} if isinstance(tokens, dict) else {}


def _change_file(origin: str, value: str | None) -> bool:
    """Keep a token in the file, or with None take it out. Returns whether the file held another."""
    before = _tokens()
    after = {key: kept for key, kept in before.items() if key != origin} | ({origin: value} if value else {})
    if after != before:
        with os_errors_as(tr("Could not save the token for the hub.")):
            if after:
                content = files.dump_pretty({**formats.stamp("hub tokens"), "tokens": after})
                files.write_atomically(paths.hub_tokens_file(), content, private=True)
            else:
                paths.hub_tokens_file().unlink()
    return origin in before


def _from_environment(origin: str) -> str | None:
    """HF_TOKEN is for the hub that the environment names."""
    same = origin == place.origin(place.of_environment())
    return os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") if same else None


def _from_hub(origin: str) -> str | None:
    """What the hub's own program has kept when somebody signed in with it, which was at the usual hub."""
    if origin != place.origin(place.usual()):
        return None
    file = os.environ.get("HF_TOKEN_PATH") or hub_home() / "token"
    try:
        return files.read_text(Path(file).expanduser())[:2000]
    except (OSError, ValueError):
        return None


def hub_home() -> Path:
    """The folder of the hub's own library, by the variables that it reads."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expandvars(os.environ.get("HF_HOME") or os.path.join(cache, "huggingface"))).expanduser()
