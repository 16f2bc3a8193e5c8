"""What is said of the machines that a run waits for, from its `machines` events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmstudio.core.i18n import tr


def sentence(event: Mapping[str, Any]) -> str:
    """
    >>> sentence({"joined": 2, "wanted": 3, "machines": [{"host": "desk", "state": "joined", "message": ""}]})
    '2 of 3 machines are there: this one and desk.'
    """
    there = [str(each["host"]) for each in event["machines"] if each["state"] == "joined"]
    verb = "is" if event["joined"] == 1 else "are"
    names = " and ".join(["this one", *there]) if len(there) < 2 else f"this one, {', '.join(there)}"
    said = [tr("{joined} of {wanted} machines {verb} there: {names}.", joined=event["joined"], wanted=event["wanted"],
               verb=verb, names=names)]
    said += [f"{each['host']} can't take part: {each['message']}" for each in event["machines"]
             if each["state"] == "refused"]
    said += [f"{each['host']} left again." for each in event["machines"] if each["state"] == "left"]
    return " ".join(said)
