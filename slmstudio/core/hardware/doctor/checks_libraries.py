"""Judges the Python environment: what loads, what runs on the card, which versions, and their known faults."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from slmstudio.core import program
from slmstudio.core.hardware.doctor import advisories
from slmstudio.core.hardware.doctor.facts import Facts
from slmstudio.core.hardware.doctor.line import Line
from slmstudio.core.i18n import tr

LIBRARIES = "Libraries"
OLDEST_PYTHON = (3, 11)
ENGINE = "llama_cpp"
SHOWN = 5
"""Packages that a sentence names; more are counted."""


def python(facts: Facts) -> Iterator[Line]:
    """Its version and size of a number."""
    if facts.python is None:
        return
    name = f"Python {'.'.join(map(str, facts.python))}"
    again = tr("Install 64-bit Python 3.11 or newer, then set up again with it:")
    if facts.python < OLDEST_PYTHON:
        yield Line("python", LIBRARIES, f"{name} is too old.", "problem", "Python 3.11 or newer is needed.", again,
                   program.setup_command())
    elif facts.bits < 64:
        yield Line("python", LIBRARIES, f"{name} is a {facts.bits}-bit program.", "problem",
                   "PyTorch exists only for 64 bits, and models don't fit into 4 GB of addresses.", again,
                   program.setup_command())
    else:
        yield Line("python", LIBRARIES, f"{name}, {facts.bits} bits.")


def loads(facts: Facts) -> Iterator[Line]:
    """Libraries that are there and can't be imported."""
    for name, library in facts.loaded.items():
        if library.error and not (name == ENGINE and facts.engine):
            yield Line("loads", LIBRARIES, f"The library {name} doesn't load.", "problem", library.error,
                       "Set up again, which mends damaged packages. If it still doesn't load, delete the folder "
                       f"{sys.prefix} and set up again:", program.setup_command())
    if facts.loaded and not any(library.error for library in facts.loaded.values()):
        yield Line("loads", LIBRARIES, "All libraries for training load.", why=", ".join(facts.loaded))


def bitsandbytes(facts: Facts) -> Iterator[Line]:
    """4-bit training on the card."""
    library = facts.loaded.get("bitsandbytes")
    if library is None or library.error:
        return
    if not (facts.machine and facts.machine.gpus and facts.torch and facts.torch.cuda):
        yield Line("bitsandbytes", LIBRARIES, "bitsandbytes works on the processor.",
                   why="QLoRA is possible without a card, but slow.")
    elif library.gpu is False:
        yield Line("bitsandbytes", LIBRARIES, "bitsandbytes can't use the card.", "problem",
                   f"It has no library for CUDA {facts.torch.cuda}, for which PyTorch is built. QLoRA and 8-bit "
                   "optimizers fail on the card; LoRA and full training work.",
                   "Set up again, which puts the tested versions back; until then choose LoRA instead of QLoRA:",
                   program.setup_command())
    else:
        yield Line("bitsandbytes", LIBRARIES, "bitsandbytes works on the card: QLoRA and 8-bit optimizers can be used.")


def engine(facts: Facts) -> Iterator[Line]:
    """The chat engine, with or without the card."""
    if facts.engine is not None:
        yield Line("llama", LIBRARIES, facts.engine.what, "warning", facts.engine.why,
                   "Training works without it. To get it, set up again:", program.setup_command())
        return
    library = facts.loaded.get(ENGINE)
    if library is None or library.error:
        return
    if facts.machine and facts.machine.gpus and not library.gpu:
        yield Line("llama", LIBRARIES, "llama.cpp works on the processor.",
                   why="Chat with a GGUF file answers at the processor's speed; training isn't affected. A build with "
                       "CUDA answers faster; it has to be compiled with NVIDIA's CUDA toolkit.")
    else:
        yield Line("llama", LIBRARIES,
                   f"llama.cpp works{' on the card' if library.gpu else ' on the processor'}.")


def known_faults(facts: Facts) -> Iterator[Line]:
    """Versions that are known to be attackable."""
    if not facts.versions:
        return
    found = advisories.found(facts.versions)
    dated = tr("According to a table from {date}, which isn't complete.", date=advisories.DATE)
    if not found:
        yield Line("known_faults", LIBRARIES, "No library with a known security fault was found.", why=dated)
        return
    said = "; ".join(tr("{package} {versions}: a file or a request may {what} ({number}, fixed in {fixed})",
                        package=hit.package, versions=facts.versions[hit.package], what=hit.what, number=hit.number,
                        fixed=hit.fixed) for hit in found)
    yield Line("known_faults", LIBRARIES, "Libraries with known security faults are installed.", "warning",
               f"{said}. {dated}", "Set up again, which installs the versions that SLM Studio was tested with:",
               program.setup_command())


def pins(facts: Facts) -> Iterator[Line]:
    """Versions other than those that were tested."""
    if not facts.pins or not facts.versions:
        return
    missing = {name for name in facts.pins if name not in facts.versions}
    if facts.engine is not None:
        missing -= {"llama-cpp-python"}  # said by `engine`
    other = [f"{name} is missing" for name in sorted(missing)]
    other += [f"{name} is {facts.versions[name]} instead of {version}" for name, version in sorted(facts.pins.items())
              if name in facts.versions and facts.versions[name].split("+")[0] != version]
    if not other:
        yield Line("pins", LIBRARIES, f"All {len(facts.pins)} libraries have the versions that were tested.")
        return
    more = f"; and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
    yield Line("pins", LIBRARIES, "Some libraries have other versions than those that were tested.", "warning",
               f"{'; '.join(other[:SHOWN])}{more}.", "Set up again, which puts the tested versions back:",
               program.setup_command())


CHECKS = (python, loads, bitsandbytes, engine, known_faults, pins)
