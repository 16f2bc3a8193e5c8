"""The house: every folder is one room that says what lives there, and none is crowded."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import slmstudio

PACKAGE = Path(slmstudio.__file__).parent
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))
MOST = 22
"""Modules of a room."""


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(PACKAGE.parent)))
def test_a_room_says_what_lives_there_and_is_not_crowded(room: Path):
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text("utf-8")))
    assert docstring and len(docstring) > 20
    modules = [path.name for path in room.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST, f"{len(modules)} modules"


def test_every_folder_with_modules_is_a_room_and_no_module_looks_like_a_test():
    modules = list(PACKAGE.rglob("*.py"))
    assert len(modules) > 400 and {path.parent for path in modules} == set(ROOMS)
    assert [path.name for path in modules if path.name.startswith("test_")] == []
