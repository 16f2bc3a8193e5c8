"""Facts become lines: all checks, in the order of the page."""

from __future__ import annotations

from slmstudio.core.hardware.doctor import (
    checks_graphics,
    checks_libraries,
    checks_machine,
    checks_storage,
    checks_system,
)
from slmstudio.core.hardware.doctor.facts import Facts
from slmstudio.core.hardware.doctor.line import Line

CHECKS = (*checks_graphics.CHECKS, *checks_libraries.CHECKS, *checks_machine.CHECKS, *checks_storage.CHECKS,
          *checks_system.CHECKS)


def examine(facts: Facts) -> list[Line]:
    return [line for check in CHECKS for line in check(facts)]
