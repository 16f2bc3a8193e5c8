"""One line of the doctor's page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from slmstudio.core.i18n import noop, tr

State = Literal["fine", "warning", "problem"]
STATES: tuple[State, ...] = ("problem", "warning", "fine")
"""The worst first."""
TOPICS = (noop("Graphics card"), noop("Libraries"), noop("Memory and processor"), noop("Disk"), noop("System"))
"""In English: whoever shows one translates it."""
_STATES = {"fine": noop("fine"), "warning": noop("warning"), "problem": noop("problem")}


@dataclass(frozen=True)
class Line:
    """What was found of one thing.

    Attributes:
        code: names the check, for other programs and for a notice that is shown once.
        topic: one of TOPICS.
        title: a sentence on what is so.
        why: what follows from it; may be "".
        remedy: what to do; never "" for a warning or a problem.
        command: to be typed as it is; "" if there is none.
    """

    code: str
    topic: str
    title: str
    state: State = "fine"
    why: str = ""
    remedy: str = ""
    command: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def worst(lines: list[Line]) -> State:
    return min((line.state for line in lines), key=STATES.index, default="fine")


def text(lines: list[Line]) -> str:
    parts = []
    for topic in TOPICS:
        here = [line for line in lines if line.topic == topic]
        if here:
            parts.append("\n".join([tr(topic), *(_paragraph(line) for line in here)]))
    return "\n\n".join(parts) + "\n"


def _paragraph(line: Line) -> str:
    rest = [line.why, line.remedy, tr("Command: {command}", command=line.command) if line.command else ""]
    return "\n".join([f"[{tr(_STATES[line.state])}] {line.title}", *(f"    {part}" for part in rest if part)])
