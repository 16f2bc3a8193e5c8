"""`slmstudio parity RUN GGUF`: a table or JSON, the result beside the file, and an exit status that scripts can use."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from support import gguf_models as models

from slmstudio.core import files

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Path, Path]:
    """A run and a file of it: a copy, as the proof is written beside the file."""
    made, files_ = models.exported_run()
    run = shutil.copytree(made, tmp_path_factory.mktemp("runs") / "run")
    return run, run / files_["F16"].relative_to(made)


@pytest.fixture
def parity(slmstudio):
    return partial(slmstudio, "parity")


def test_a_sound_file(parity, exported) -> None:
    run, gguf = exported
    stored = gguf.with_suffix(".parity.json")
    stored.unlink()
    done = parity(run, gguf, "--json", status=0)
    result = done.json
    assert result["passed"] and {"name", "passed", "figure", "limit", "remedy"} == set(result["checks"][0])
    assert files.read_json(stored) == {key: result[key] for key in result if key not in ("gguf", "run")}
    table = parity(run, gguf, status=0).out
    assert "Token ids equal" in table and "passed" in table and "FAILED" not in table


def test_a_file_of_another_run(parity, exported, tmp_path) -> None:
    other = models.run_folder(models.tiny(), tmp_path / "runs")
    models.adapter_on(models.tiny(), other / "adapter", seed=2)
    done = parity(other, exported[1], status=1)
    assert "FAILED" in done.out and "another adapter" in done.err
    marked = files.read_json(exported[1].with_suffix(".parity.json"))
    assert marked is not None and marked["passed"] is False and exported[1].is_file()


def test_what_cannot_be_proven_is_said(parity, exported, tmp_path) -> None:
    run, gguf = exported
    assert "doesn't exist" in parity(run, tmp_path / "absent.gguf", status=2).err
    half = tmp_path / "half.gguf"
    half.write_bytes(gguf.read_bytes()[:2_000_000])
    done = parity(run, half, "--json", status=2)
    assert "truncated" in done.json["error"]["what"]
    assert not half.with_suffix(".parity.json").exists()
