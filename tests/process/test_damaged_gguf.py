"""Damaged GGUF files: the cause in words, from our look at the header or from llama.cpp, and the worker lives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.damaged_gguf import DAMAGES, LEFT_TO_LLAMA, sound

from slmstudio.core.errors import UserError
from slmstudio.core.jobs.interactive import InteractiveWorker
from slmstudio.core.model.gguf.model import read_sound_gguf

FAST = ("zero layers", "epsilon isn't a number", "whole numbers for weights", "weights that aren't numbers",
        "a tensor is missing", "unknown pre-tokenizer", "no heads", "fewer kinds than tokens")
"""The five that ended the process or were answered with noise, and of those that were "failed to load model"."""
MEGABYTES = 600


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of models: a locked worker reads there, and elsewhere its first file alone."""
    place = tmp_path_factory.mktemp("home") / "models"
    place.mkdir()
    return place


@pytest.fixture(scope="module")
def worker(place: Path) -> Iterator[InteractiveWorker]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMSTUDIO_HOME", str(place.parent))
        with InteractiveWorker("chat") as worker:
            yield worker


@pytest.fixture(scope="module")
def ask(worker: InteractiveWorker) -> Any:
    messages = worker.receive()

    def ask(command: str, **values: Any) -> dict[str, Any]:
        worker.send({"command": command, **values})
        return next(found for found in messages if found["type"] in ("loaded", "error", "done"))

    return ask


def test_the_sound_one_answers(ask: Any, place: Path) -> None:
    path = place / "sound.gguf"
    path.write_bytes(sound().bytes())
    assert ask("load", path=str(path), context_length=64)["type"] == "loaded"
    done = ask("generate", id=1, messages=[{"role": "user", "content": "hello"}], max_tokens=2)
    assert done["type"] == "done"


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name in FAST else [pytest.mark.full]) for name in DAMAGES])
def test_the_cause_is_said(ask: Any, worker: InteractiveWorker, place: Path, name: str) -> None:
    make, words = DAMAGES[name]
    path = place / "model.gguf"
    path.write_bytes(make())
    answer = ask("load", path=str(path), context_length=64)
    assert answer["type"] == ("error" if words else "loaded"), answer
    if words:
        said = answer["error"]
        assert path.name in said["what"] and said["remedy"] and "details" not in answer
        if name in LEFT_TO_LLAMA:  # in its own words
            assert words in said["why"] and "failed to load model" not in said["why"], said
        else:
            with pytest.raises(UserError) as caught:
                read_sound_gguf(path)
            assert (said["what"], said["why"]) == (caught.value.what, caught.value.why)
    assert worker.is_alive()
    assert psutil.Process(worker.pid).memory_info().rss < MEGABYTES * 2**20
