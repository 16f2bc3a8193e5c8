"""Which cases of a parametrized test run in the fast tier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def first_fast(cases: Iterable[Any], fast: int = 1) -> list[Any]:
    """The first `fast` cases run in both tiers, the others with --full alone. A case of several is a tuple."""
    cases = list(cases)
    rest = [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.full)
            for case in cases[fast:]]
    return [*cases[:fast], *rest]
