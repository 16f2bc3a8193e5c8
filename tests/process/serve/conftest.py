"""A model file that may be changed, and a server that the tests of a module share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import starter
from support.served_model import serving


@pytest.fixture(scope="module")
def gguf(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("models") / "starter-Q4_1.gguf"
    shutil.copy(starter.gguf(), copy)
    return copy


@pytest.fixture(scope="module")
def server(gguf, tmp_path_factory):
    with serving(gguf, tmp_path_factory.mktemp("home")) as made:
        assert made.said["type"] == "serving", made.said
        yield made
