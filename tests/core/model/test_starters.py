"""The starters that are fetched: pinned to the byte, and only for who accepted their terms."""

from __future__ import annotations

import re

import pytest

from slmstudio.core.errors import UserError
from slmstudio.core.jobs import new
from slmstudio.core.model import library


@pytest.mark.parametrize("starter", library.STARTERS.values(), ids=lambda starter: starter.key)
def test_every_package_is_pinned_by_version_and_hash(starter) -> None:
    lines = starter.requirements.read_text("utf-8").splitlines()
    pinned = [line for line in lines if re.fullmatch(r"[a-z0-9-]+==[0-9.]+ --hash=sha256:[0-9a-f]{64}", line)]
    assert pinned and [line for line in lines if line not in pinned and not line.startswith("# ")] == []
    assert re.fullmatch("[0-9a-f]{64}", starter.gguf_sha256)


def test_the_terms_are_told_with_the_way_to_accept_them(studio_home) -> None:
    said = str(library.STARTERS["gemma-3-270m"].need_consent())
    assert "Gemma Terms of Use" in said and "227 MB" in said and "Prohibited Use Policy" in said
    assert "models import --starter gemma-3-270m --accept-licence" in said


def test_the_job_is_told_all_it_needs(studio_home) -> None:
    starter = library.find_starter("Gemma-3-270M")
    request = new.fetch_starter(starter.folder, starter.request()).request()
    assert request["kind"] == "fetch_starter" and request["out"] == str(studio_home / "models" / "gemma-3-270m")
    assert request["gguf_sha256"] == starter.gguf_sha256 and not starter.is_ready()
    with pytest.raises(UserError, match="no starter model 'gemma'"):
        library.find_starter("gemma")
