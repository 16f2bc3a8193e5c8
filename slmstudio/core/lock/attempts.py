"""Names in the log what a locked process tries: each attempt once, and again at its 10th, 100th … time.

A filter of system calls sees the socket that a look-up of a name would use, not the name. So a locked Python process
names what it looks up itself, by an audit hook, which can't be taken off. C code that looks up a name by itself, and
other programs that it starts, are named by their socket only.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Any

BEGIN = "network lock:"
"""How its lines in the log begin."""
DIFFERENT = 500
"""This many different attempts are named; of further ones that there were more."""
MOST_NAME = 160
LOOK_UPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"})
"""Audit events whose first argument is what is looked up, or begins with it."""
HERE = ("", "localhost")


class Attempts:
    """What was named how often: a log must not grow with attempts."""

    def __init__(self) -> None:
        self._times: Counter[str] = Counter()

    def tell(self, line: str) -> None:
        """One more attempt that this line says."""
        if line not in self._times and len(self._times) >= DIFFERENT:
            line = "more attempts of other kinds"
        self._times[line] += 1
        times = self._times[line]
        if re.fullmatch("10*", str(times)):
            counted = f" ({times:,} times)" if times > 1 else ""
            with suppress(OSError):
                os.write(2, f"{time.strftime('%H:%M:%S')} {BEGIN} {line}{counted}\n".encode())


def name_look_ups() -> None:
    """From now on, and for good, name each host that this process looks up."""
    attempts = Attempts()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in LOOK_UPS and (name := _looked_up(arguments[0])):
            attempts.tell(f"look-up of {name}, asked for by process {os.getpid()}")

    sys.addaudithook(hook)


def _looked_up(host: Any) -> str:
    """The name, printable and cut; "" for this machine and for a numeric address, which needs no look-up."""
    if isinstance(host, tuple):
        host = host[0] if host else ""
    text = host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host or "")
    with suppress(ValueError):
        ipaddress.ip_address(text)
        return ""
    return "" if text in HERE else printable(text)[:MOST_NAME]


def printable(text: str) -> str:
    """With a question mark for what would move the cursor or end the line."""
    return "".join(each if each.isprintable() else "?" for each in text)
