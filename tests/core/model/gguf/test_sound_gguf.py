"""What is found in a GGUF's header before llama.cpp sees the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.damaged_gguf import DAMAGES, LEFT_TO_LLAMA, sound

from slmstudio.core.errors import UserError
from slmstudio.core.model.gguf.model import read_sound_gguf


def test_nothing_is_found_in_a_sound_one(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(sound().bytes())
    assert read_sound_gguf(path).name == "Damaged"


@pytest.mark.parametrize("name", [name for name, (_, words) in DAMAGES.items() if words and name not in LEFT_TO_LLAMA])
def test_what_is_found(tmp_path: Path, name: str) -> None:
    make, words = DAMAGES[name]
    path = tmp_path / "model.gguf"
    path.write_bytes(make())
    with pytest.raises(UserError) as caught:
        read_sound_gguf(path)
    assert caught.value.remedy
    assert words in f"{caught.value} {caught.value.problems}"
