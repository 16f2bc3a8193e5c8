"""The built-in server, seen from outside: its address, its key, and how other programs talk to it."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
from pathlib import Path

from slmstudio.core import files, paths, settings
from slmstudio.core.errors import UserError, os_errors_as
from slmstudio.core.i18n import tr

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8765
PORTS_TRIED = 50
KEY_VARIABLE = "SLMSTUDIO_API_KEY"
_SERVICE, _ACCOUNT = "slmstudio", "server key"


class PortInUse(UserError):
    """Another program listens at the port."""

    free_port: int | None = None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str, allow_network: bool) -> None:
    """Raises UserError: other machines could reach `host`, and nobody has allowed that."""
    if not is_loopback(host) and not allow_network:
        raise UserError(tr("{host} can be reached from other machines.", host=host),
                        tr("By default, the server listens on this machine only. Elsewhere, anyone with the key "
                           "could use the model, and the connection isn't encrypted."),
                        tr("Leave the host at {host}, or add --allow-network.", host=LOOPBACK))


def free_port(host: str, first: int) -> int | None:
    """The first port from `first` on that nobody listens at; None if fifty in a row are taken."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        with socket.socket(family) as trial, contextlib.suppress(OSError):
            trial.bind((host, port))
            return port
    return None


def bind_error(error: OSError, host: str, port: int, free: int | None) -> UserError:
    """Why the server can't listen there, in words."""
    if error.errno == errno.EADDRINUSE:
        refusal = PortInUse(tr("Port {port} is in use.", port=port), tr("Another program is using it."),
                            tr("Port {free} is free; use that one.", free=free) if free
                            else tr("Choose another port."))
        refusal.free_port = free
        return refusal
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(tr("Port {port} can't be used.", port=port), tr("Ports below 1024 belong to the system."),
                         tr("Choose port 1024 or higher, for example {port}.", port=DEFAULT_PORT))
    return UserError(tr("The server can't listen on {host}, port {port}.", host=host, port=port),
                     tr("The system says: {strerror}.", strerror=error.strerror or error),
                     tr("Use {host}.", host=LOOPBACK))


def url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def server_key(new: bool = False) -> str:
    """The key that clients must send: made once, and kept in the system's keyring, or in a file that only its owner
    can read where there is no keyring. May take a moment, or ask for the keyring's password.

    Args:
        new: make another one; programs with the old one are refused from the next start of the server on.

    Raises:
        UserError: it can be kept nowhere.
    """
    import secrets

    known = None if new else settings.read(_SERVICE, _ACCOUNT) or _from_file()
    if known:
        return known
    key = "slm-" + secrets.token_urlsafe(32)
    if settings.keep(_SERVICE, _ACCOUNT, key):
        _key_file().unlink(missing_ok=True)
        return key
    with os_errors_as(tr("Could not save the server's key.")):
        files.write_atomically(_key_file(), f"{key}\n", private=True)
    return key


def _key_file() -> Path:
    return paths.home() / "server.key"


def _from_file() -> str | None:
    try:
        return files.read_text(_key_file()).strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def curl_snippet(base_url: str, key: str, model: str) -> str:
    """A command for a POSIX shell that asks one question."""
    from slmstudio.core.program import quote_posix

    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello!"}]}, ensure_ascii=False)
    return (f"export {KEY_VARIABLE}={quote_posix(key)}\n"
            f"curl {quote_posix(base_url + '/chat/completions')} \\\n"
            f'  -H "Authorization: Bearer ${KEY_VARIABLE}" \\\n'
            f"  -H 'Content-Type: application/json' \\\n"
            f"  -d {quote_posix(body)}")


def python_snippet(base_url: str, key: str, model: str) -> str:
    """A program for the `openai` package that streams one answer."""
    return (f"# pip install openai\n"
            f"from openai import OpenAI\n\n"
            f"client = OpenAI(base_url={base_url!r}, api_key={key!r})\n"
            f"answer = client.chat.completions.create(\n"
            f"    model={model!r},\n"
            f'    messages=[{{"role": "user", "content": "Hello!"}}],\n'
            f"    stream=True,\n"
            f")\n"
            f"for chunk in answer:\n"
            f'    print(chunk.choices[0].delta.content or "", end="", flush=True)')
