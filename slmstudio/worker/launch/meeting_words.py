"""What two machines say to each other over the store before their processes start, and the names of the keys.

The first machine says that it is there ("here"), reads its rows, then offers its run ("offer") with the files that the
others need, in pieces. Each other machine takes a number ("numbers"), says who it is ("machine/N"), and counts on
("alive/N") as long as it waits. "go" lists the numbers of those that take part, and the addresses of all machines; one
that leaves later says why ("left/N").
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from torch.distributed import PrefixStore, Store

PROTOCOL = 1
PIECE_BYTES = 4 * 1024**2
HERE, OFFER, NUMBERS, GO = "here", "offer", "numbers", "go"
PATIENCE = timedelta(seconds=30)


def room(store: Store, one_time: str) -> PrefixStore:
    """The part of the store that those who know the id share."""
    return PrefixStore(f"slmstudio/{one_time}", store)


def say(store: Store, key: str, value: Any) -> None:
    store.set(key, json.dumps(value))


def hear(store: Store, key: str) -> Any:
    """What was said under a key; None where nothing is said yet."""
    return json.loads(store.get(key)) if store.check([key]) else None
