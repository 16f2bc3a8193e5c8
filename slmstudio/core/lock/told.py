"""Whether a job ran locked, from its `lock` events: one for each time that its process was started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slmstudio.core.i18n import noop, tr

LOCKED = noop("The system blocked its access to the network and to all files but its own.")
WITH_PEERS = noop("The system blocked its access to the network except to the machines that trained with it ({peers}), "
                  "and to all files but its own.")
NETWORK_ONLY = noop("The system blocked its access to the network. Files were open to it: {reason}.")
NO_LANDLOCK = noop("this kernel has no Landlock")
NOT_KNOWN = noop("Whether its access to the network was blocked isn't recorded.")


def sentence(events: Sequence[dict[str, Any]]) -> str:
    """One sentence or two on all starts of a job."""
    if not events:
        return tr(NOT_KNOWN)
    open_ = [event for event in events if event.get("enforced") is not True]
    if open_:
        reason = str(open_[-1].get("reason") or tr("The reason isn't recorded."))
        if len(open_) == len(events):
            return tr("Its access to the network wasn't blocked: {reason}", reason=reason)
        return tr("Its access to the network wasn't blocked in {open:,} of {events:,} starts: {reason}",
                  open=len(open_), events=len(events), reason=reason)
    with_peers = [event["peers"] for event in events if event.get("peers")]
    reasons = [event.get("files_open") or tr(NO_LANDLOCK) for event in events if not event.get("landlock")]
    if reasons:
        return tr(NETWORK_ONLY, reason=reasons[-1])
    return tr(WITH_PEERS, peers=", ".join(map(str, with_peers[-1]))) if with_peers else tr(LOCKED)
