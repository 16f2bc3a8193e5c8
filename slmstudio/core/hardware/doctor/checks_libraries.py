"""Judges the Python environment: what loads, what runs on the card, which versions, and their known faults."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slmstudio.core import paths, program
from slmstudio.core.hardware.doctor.facts import TOPICS, Facts, Line
from slmstudio.core.i18n import ntr, tr

# -- Versions of the libraries that are used here with publicly known security faults.

DATE = "2026-11-27"


@dataclass(frozen=True)
class Advisory:
    """A known fault.

    Attributes:
        package: normalized name.
        fixed: the first version without it.
        number: of the advisory, or of several.
        what: may happen, as the end of "a file or a request may …".
    """

    package: str
    fixed: str
    number: str
    what: str


KNOWN = tuple(Advisory(*each) for each in json.loads((paths.resources() / "advisories.json").read_text("utf-8")))


def known_to_be_attackable(versions: Mapping[str, str]) -> list[Advisory]:
    """Those that concern installed packages.

    Args:
        versions: by normalized name.
    """
    from packaging.version import InvalidVersion, Version

    hits = []
    for advisory in KNOWN:
        try:
            if Version(versions[advisory.package]) < Version(advisory.fixed):
                hits.append(advisory)
        except (KeyError, InvalidVersion):
            continue
    return hits


LIBRARIES = TOPICS[1]
OLDEST_PYTHON = (3, 11)
ENGINE = "llama_cpp"
SHOWN = 5
"""Packages that a sentence names; more are counted."""


def python(facts: Facts) -> Iterator[Line]:
    if facts.python is None:
        return
    name = f"Python {'.'.join(map(str, facts.python))}"
    again = tr("Install 64-bit Python 3.11 or newer, then run setup again with it:")
    if facts.python < OLDEST_PYTHON:
        yield Line("python", LIBRARIES, tr("{python} is too old.", python=name), "problem",
                   tr("Python 3.11 or newer is needed."), again, program.setup_command())
    elif facts.bits < 64:
        yield Line("python", LIBRARIES, tr("{python} is a {bits}-bit program.", python=name, bits=facts.bits),
                   "problem", tr("PyTorch exists only for 64-bit systems, and models don't fit in 4 GB of memory."),
                   again, program.setup_command())
    else:
        yield Line("python", LIBRARIES, tr("{python}, {bits} bits.", python=name, bits=facts.bits))


def loads(facts: Facts) -> Iterator[Line]:
    for name, library in facts.loaded.items():
        if library.error and not (name == ENGINE and facts.engine):
            yield Line("loads", LIBRARIES, tr("The library {name} doesn't load.", name=name), "problem", library.error,
                       tr("Run setup again, which repairs damaged packages. If it still doesn't load, delete the "
                          "folder {folder} and run setup again:", folder=sys.prefix), program.setup_command())
    if facts.loaded and not any(library.error for library in facts.loaded.values()):
        yield Line("loads", LIBRARIES, tr("All libraries for training load."), why=", ".join(facts.loaded))


def bitsandbytes(facts: Facts) -> Iterator[Line]:
    library = facts.loaded.get("bitsandbytes")
    if library is None or library.error:
        return
    if not (facts.machine and facts.machine.gpus and facts.torch and facts.torch.cuda):
        yield Line("bitsandbytes", LIBRARIES, tr("bitsandbytes works on the processor."),
                   why=tr("QLoRA is possible without a card, but slow."))
    elif library.gpu is False:
        yield Line("bitsandbytes", LIBRARIES, tr("bitsandbytes can't use the card."), "problem",
                   tr("It has no library for CUDA {cuda}, which PyTorch is built for. QLoRA and 8-bit optimizers fail "
                      "on the card; LoRA and full training work.", cuda=facts.torch.cuda),
                   tr("Run setup again, which restores the tested versions. Until then, choose LoRA instead of QLoRA:"),
                   program.setup_command())
    else:
        yield Line("bitsandbytes", LIBRARIES,
                   tr("bitsandbytes works on the card: QLoRA and 8-bit optimizers can be used."))


def engine(facts: Facts) -> Iterator[Line]:
    if facts.engine is not None:
        yield Line("llama", LIBRARIES, facts.engine.what, "warning", facts.engine.why,
                   tr("Training works without it. To get it, run setup again:"), program.setup_command())
        return
    library = facts.loaded.get(ENGINE)
    if library is None or library.error:
        return
    why = [", ".join(library.cards), *library.problems, facts.engine_build.get("reason", "")]
    if facts.cards and facts.engine_build.get("device", "cpu") == "cpu" and not any(why):
        why = [tr("GGUF files answer at its speed; training isn't affected. For a build that uses graphics cards, run: "
                  "{command}", command=f"{program.setup_command()} --chat-device vulkan")]
    if library.cards:
        why[0] = tr("{cards}. By itself, chat takes CUDA before Vulkan, and as many layers as fit.", cards=why[0])
    yield Line("llama", LIBRARIES, tr("llama.cpp works on the card.") if library.cards else
               tr("llama.cpp works on the processor."), why=" ".join(filter(None, why)))


def known_faults(facts: Facts) -> Iterator[Line]:
    """Versions that are known to be attackable."""
    if not facts.versions:
        return
    found = known_to_be_attackable(facts.versions)
    dated = tr("According to a table from {date}, which isn't complete.", date=DATE)
    if not found:
        yield Line("known_faults", LIBRARIES, tr("No library with a known security fault was found."), why=dated)
        return
    said = " ".join(tr("{package} {version}: {what} ({number}, fixed in {fixed}).", package=hit.package,
                       version=facts.versions[hit.package], what=tr(hit.what), number=hit.number, fixed=hit.fixed)
                    for hit in found)
    yield Line("known_faults", LIBRARIES, tr("Libraries with known security faults are installed."), "warning",
               f"{said} {dated}", tr("Run setup again, which installs the versions that SLM Studio was tested with:"),
               program.setup_command())


def pins(facts: Facts) -> Iterator[Line]:
    """Versions other than those that were tested."""
    if not facts.pins or not facts.versions:
        return
    missing = {name for name in facts.pins if name not in facts.versions}
    if facts.engine is not None:
        missing -= {"llama-cpp-python"}  # said by `engine`
    other = [tr("{library} is missing.", library=name) for name in sorted(missing)]
    other += [tr("{library} is {version} instead of {tested}.", library=name, version=facts.versions[name],
                 tested=version) for name, version in sorted(facts.pins.items())
              if name in facts.versions and facts.versions[name].split("+")[0] != version]
    if not other:
        yield Line("pins", LIBRARIES, ntr("{n} library has the version that was tested.",
                                          "All {n} libraries have the versions that were tested.", len(facts.pins)))
        return
    if len(other) > SHOWN:
        left = len(other) - SHOWN
        other[SHOWN:] = [ntr("{n} more library differs.", "{n} more libraries differ.", left)]
    yield Line("pins", LIBRARIES, tr("Some libraries aren't the versions that were tested."), "warning",
               " ".join(other), tr("Run setup again, which restores the tested versions:"), program.setup_command())


CHECKS = (python, loads, bitsandbytes, engine, known_faults, pins)
