"""How much of a test runs in the fast tier: which cases of a parametrized one, and how many examples of Hypothesis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

full = False
"""Whether this run is of the full tier; tests/conftest.py sets it before any test is imported."""


def examples(count: int) -> int:
    """So many examples in the full tier, and a quarter of them in the fast one."""
    return count if full else max(10, count // 4)


def first_fast(cases: Iterable[Any], fast: int = 1) -> list[Any]:
    """The first `fast` cases run in both tiers, the others with --full alone. A case of several is a tuple."""
    cases = list(cases)
    rest = [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.full)
            for case in cases[fast:]]
    return [*cases[:fast], *rest]
