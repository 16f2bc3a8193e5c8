"""The report wears the window's colours: one palette, in two files that can't read each other."""

from __future__ import annotations

import re

import pytest

from slmstudio.core import paths
from slmstudio.gui.common import theme


def colours(block: str) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)}


@pytest.mark.parametrize(("scheme", "number"), [(theme.LIGHT, 0), (theme.DARK, 1)])
def test_the_reports_palette_is_the_themes(scheme, number):
    style = (paths.resources() / "report" / "report.css").read_text("utf-8")
    found = colours(re.findall(r":root \{(.*?)\}", style, re.S)[number])
    assert len(found) > 15 and found == {name: scheme[name] for name in found}
