"""Whether a job ran locked, from its `lock` events: one for each time that its process was started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slmstudio.core.i18n import noop, tr

LOCKED = noop("The system kept it from the network and from other files than its own.")
WITH_PEERS = noop("The system kept it from the network but for those that trained with it ({peers}), and from other "
                  "files than its own.")
NETWORK_ONLY = noop("The system kept it from the network. Files were open to it: {reason}.")
NO_LANDLOCK = "this kernel has no Landlock"
NOT_KNOWN = noop("Whether it was kept from the network isn't recorded.")


def sentence(events: Sequence[dict[str, Any]]) -> str:
    """One sentence or two on all starts of a job."""
    if not events:
        return NOT_KNOWN
    open_ = [event for event in events if event.get("enforced") is not True]
    if open_:
        reason = str(open_[-1].get("reason") or "the reason isn't recorded")
        if len(open_) == len(events):
            return tr("It wasn't kept from the network: {reason}", reason=reason)
        return tr("In {open:,} of {events:,} starts it wasn't kept from the network: {reason}", open=len(open_),
                  events=len(events), reason=reason)
    with_peers = [event["peers"] for event in events if event.get("peers")]
    reasons = [event.get("files_open") or NO_LANDLOCK for event in events if not event.get("landlock")]
    if reasons:
        return NETWORK_ONLY.format(reason=reasons[-1])
    return WITH_PEERS.format(peers=", ".join(map(str, with_peers[-1]))) if with_peers else LOCKED
