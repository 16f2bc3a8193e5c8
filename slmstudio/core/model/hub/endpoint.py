"""Which hub models come from: the usual one, or another one that somebody has set."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from slmstudio.core import settings
from slmstudio.core.errors import UserError
from slmstudio.core.i18n import tr
from slmstudio.core.model.json_files import printable


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
