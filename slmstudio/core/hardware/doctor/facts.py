"""Everything that the doctor looks at. What is absent (None, or empty) isn't known, and isn't judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from slmstudio.core.errors import UserError
from slmstudio.core.hardware.machine import Machine
from slmstudio.core.hardware.wsl import Finding
from slmstudio.core.i18n import noop, tr

# -- One line of the doctor's page.

State = Literal["fine", "warning", "problem"]
STATES: tuple[State, ...] = ("problem", "warning", "fine")
"""The worst first."""
TOPICS = (noop("Graphics card"), noop("Libraries"), noop("Memory and processor"), noop("Disk"), noop("System"))
"""In English: whoever shows one translates it."""
STATE_WORDS = {"fine": noop("fine"), "warning": noop("warning"), "problem": noop("problem")}


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


def report_text(lines: list[Line]) -> str:
    parts = []
    for topic in TOPICS:
        here = [line for line in lines if line.topic == topic]
        if here:
            parts.append("\n".join([tr(topic), *(_paragraph(line) for line in here)]))
    return "\n\n".join(parts) + "\n"


def _paragraph(line: Line) -> str:
    rest = [line.why, line.remedy, tr("Command: {command}", command=line.command) if line.command else ""]
    return "\n".join([f"[{tr(STATE_WORDS[line.state])}] {line.title}", *(f"    {part}" for part in rest if part)])


NVIDIA, AMD, INTEL = 0x10DE, 0x1002, 0x8086
"""PCI vendor numbers."""


@dataclass(frozen=True)
class Card:
    """A graphics device on the PCI bus.

    Attributes:
        vendor, device: PCI numbers.
        name: its product name; "" if the system has no list of names.
        driver: the kernel's module for it, as in "nvidia", "nouveau", "amdgpu"; "" for none.
        integrated: part of the processor.
    """

    vendor: int
    device: int
    name: str = ""
    driver: str = ""
    integrated: bool = False


@dataclass(frozen=True)
class Torch:
    """The build of PyTorch.

    Attributes:
        version: as in "2.13.0+cpu".
        cuda, hip: the version that it was built for, or None.
        available: whether it can compute on a card; None before it was asked.
        why: what it says when it can't.
        architectures: what it has kernels for, as in "sm_86"; empty when it wasn't asked.
        flash: whether it has FlashAttention kernels.
    """

    version: str
    cuda: str | None = None
    hip: str | None = None
    available: bool | None = None
    why: str = ""
    architectures: tuple[str, ...] = ()
    flash: bool | None = None


@dataclass(frozen=True)
class Loaded:
    """A library that a child process has imported.

    Attributes:
        error: why it doesn't load; "" when it does.
        gpu: whether this build computes on a graphics card; None if that makes no difference.
        cards, problems: of llama.cpp the cards that it finds, and why it can't use a backend that it has.
    """

    error: str = ""
    gpu: bool | None = None
    cards: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cache:
    """A folder with files that can be made or fetched again.

    Attributes:
        whole: everything in it was counted; otherwise it is at least so large.
    """

    title: str
    folder: Path
    size: int
    whole: bool = True


@dataclass(frozen=True)
class Facts:
    """What was found.

    Attributes:
        cards: graphics devices on the PCI bus, whoever made them.
        driver, kernel_driver: version of NVIDIA's driver, as its library and as the kernel's part say it.
        driver_cuda: the newest CUDA that the driver supports.
        linux_driver_in_wsl: a Linux driver was installed inside WSL.
        visible_devices: CUDA_VISIBLE_DEVICES; None if it isn't set.
        loaded: libraries by their module's name.
        engine: why the chat engine is missing. engine_build: of `llama.build`.
        python: of the program, as in (3, 11, 9); bits: 32 or 64.
        versions: of installed packages, by normalized name; pins: those that the program was tested with.
        wsl: what WSL needs.
        swap: bytes. memory_limit: bytes that a container allows. shared_memory: size of /dev/shm.
        on_battery: no mains. power_profile: the firmware's, as in "low-power".
        home: the folder with runs and models; home_missing, home_fault: why it can't be used, or written to.
        windows_drive: home is on a drive of Windows, as WSL sees it.
        rotational: home is on a spinning disk. write_speed: bytes a second. free: bytes.
        open_to_others: other users of the machine can read what is in home.
        jobs_size: bytes in the folders of short jobs.
        now, newest_file: seconds since 1970; of the newest of the program's and the user's files.
        encoding: of file names. locale_fault: why the chosen locale can't be used.
        scripts_without_font: Indian scripts; None if nobody can say.
    """

    system: str = "Linux"
    machine: Machine | None = None
    cards: tuple[Card, ...] = ()
    driver: str | None = None
    kernel_driver: str | None = None
    driver_cuda: tuple[int, int] | None = None
    linux_driver_in_wsl: bool = False
    visible_devices: str | None = None
    torch: Torch | None = None
    loaded: Mapping[str, Loaded] = field(default_factory=dict)
    engine: UserError | None = None
    engine_build: Mapping[str, str] = field(default_factory=dict)
    python: tuple[int, int, int] | None = None
    bits: int = 64
    versions: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    wsl: tuple[Finding, ...] = ()
    cpu_flags: frozenset[str] | None = None
    swap: int | None = None
    memory_limit: int | None = None
    shared_memory: int | None = None
    on_battery: bool | None = None
    power_profile: str = ""
    home: Path | None = None
    home_missing: UserError | None = None
    home_fault: UserError | None = None
    file_system: str = ""
    network: bool = False
    windows_drive: bool = False
    rotational: bool | None = None
    write_speed: float | None = None
    free: int | None = None
    open_to_others: bool = False
    caches: tuple[Cache, ...] = ()
    jobs_size: int | None = None
    now: float | None = None
    newest_file: float | None = None
    encoding: str = ""
    locale_fault: str = ""
    scripts_without_font: tuple[str, ...] | None = None
