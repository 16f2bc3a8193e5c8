"""What two machines say to each other over the store before their processes start, and the names of the keys.

The first machine says that it is there ("here"), reads its rows, then offers its run ("offer") with the files that the
others need, in pieces ("file/N/M"). Each other machine takes a number ("numbers"), says who it is ("machine/N"), and
counts on ("alive/N") as long as it waits. "go" lists the numbers of those that take part, and the addresses of all
machines; one that leaves later says why ("left/N").

Whoever reaches the store can list its keys and write to it. So each message is sealed with the invitation's id, which
is never a part of what is there: only who knows the id can read or make one. Only the counters are bare.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import os
from datetime import timedelta
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from torch.distributed import PrefixStore, Store

PROTOCOL = 2
PIECE_BYTES = 4 * 1024**2
MOST_MACHINES = 256
"""That are listened to: whoever reaches the store can count on as far as they like."""
HERE, OFFER, NUMBERS, GO = "here", "offer", "numbers", "go"
PATIENCE = timedelta(seconds=30)
_NONCE_BYTES = 12
"""RFC 8439. Drawn at random: one start of a run seals some thousand messages at most."""


class Room:
    """The part of the store that those who know the id share.

    Attributes:
        name: follows from the id, and doesn't give it away.
    """

    def __init__(self, store: Store, one_time: str):
        self.name = _derived(one_time, "room").hex()
        self.store = PrefixStore(f"slmstudio/{self.name}", store)
        self._cipher = ChaCha20Poly1305(_derived(one_time, "messages"))

    def put(self, key: str, content: bytes) -> None:
        nonce = os.urandom(_NONCE_BYTES)
        self.store.set(key, nonce + self._cipher.encrypt(nonce, content, key.encode()))

    def get(self, key: str) -> bytes:
        """What was put under a key; waits for it.

        Raises:
            ValueError: it is of somebody who doesn't know the id.
            DistError: it doesn't come, or the connection broke.
        """
        self.store.wait([key], PATIENCE)
        sealed = self.store.get(key)
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], key.encode())
        except InvalidTag as error:
            raise ValueError(f"{key} isn't sealed with the id") from error

    def say(self, key: str, value: Any) -> None:
        self.put(key, json.dumps(value).encode())

    def hear(self, key: str) -> Any:
        """What was said under a key; None if nothing is said yet. Raises as `get`."""
        return json.loads(self.get(key)) if self.store.check([key]) else None


def _derived(one_time: str, purpose: str) -> bytes:
    """32 bytes for one purpose, from an id of 128 random bits."""
    return hmac.digest(one_time.encode(), f"slmstudio {purpose}".encode(), "sha256")


def checked_address(said: Any, own: str) -> str:
    """The address that a machine says to be one of a run's, as numbers: the processes here may connect to it.

    Args:
        own: address by which this machine takes part; where it's this machine's loopback, others may be too.

    Raises:
        ValueError: it isn't one address, or it leads to this machine itself, or to nobody in particular.
    """
    found = ipaddress.ip_address(str(said))
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:  # may hold anything
            raise ValueError(f"{said!r} names an interface")
        found = found.ipv4_mapped or found
    if found.is_unspecified or found.is_multicast or (
            found.is_loopback and not ipaddress.ip_address(own).is_loopback):
        raise ValueError(f"{said!r} isn't another machine's address")
    return str(found)
