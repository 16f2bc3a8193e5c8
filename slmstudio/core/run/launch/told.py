"""What is said of the machines that a run waits for, from its `machines` events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmstudio.core.i18n import ntr, tr


def sentence(event: Mapping[str, Any]) -> str:
    """
    >>> sentence({"joined": 2, "wanted": 3, "machines": [{"host": "desk", "state": "joined", "message": ""}]})
    '2 of 3 machines are there: this one and desk.'
    """
    there = [str(each["host"]) for each in event["machines"] if each["state"] == "joined"]
    names = (tr("this one") if not there else tr("this one and {host}", host=there[0]) if len(there) == 1 else
             tr("this one, {hosts}", hosts=", ".join(there)))
    said = [ntr("{n} of {wanted} machines is there: {names}.", "{n} of {wanted} machines are there: {names}.",
                event["joined"], wanted=event["wanted"], names=names)]
    said += [" ".join((tr("{host} can't take part.", host=each["host"]), each["message"])) for each in event["machines"]
             if each["state"] == "refused"]
    said += [tr("{host} left again.", host=each["host"]) for each in event["machines"] if each["state"] == "left"]
    return " ".join(said)
