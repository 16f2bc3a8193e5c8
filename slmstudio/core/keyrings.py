"""Secrets in the system's keyring. Where there is none that keeps them, who asks has a private file instead."""

from __future__ import annotations

from typing import Any


def ring() -> Any:
    """The system's keyring, or None if there is none that keeps a secret."""
    try:
        import keyring

        found = keyring.get_keyring()
        return found if found.priority >= 1 else None
    except Exception:  # a keyring that can't even say what it is
        return None


def read(service: str, account: str) -> str | None:
    found = ring()
    try:
        return found.get_password(service, account) if found is not None else None
    except Exception:  # locked, or its service isn't running: then there is none
        return None


def keep(service: str, account: str, secret: str) -> bool:
    """Whether the keyring keeps it from now on."""
    found = ring()
    try:
        if found is None:
            return False
        found.set_password(service, account, secret)
        return bool(found.get_password(service, account) == secret)
    except Exception:  # as above
        return False
