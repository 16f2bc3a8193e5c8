"""What the child processes that may use the network have in common, and what goes wrong there."""

from __future__ import annotations

from slmstudio.core.errors import UserError, causes
from slmstudio.core.i18n import tr

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
