"""What is exported, proven or continued is what the run itself has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from slmstudio.core import files, jobs
from slmstudio.core.errors import UserError
from slmstudio.core.run import checkpoints, folder
from slmstudio.core.run.config import RunConfig
from slmstudio.worker.model.export_source import Source
from slmstudio.worker.training import methods


@pytest.fixture
def run(tiny_model: Path, tmp_path: Path) -> Path:
    """A finished run with its adapter."""
    place = folder.create(RunConfig(name="helpdesk", model=str(tiny_model), train_file="t"), tmp_path / "runs").folder
    adapter = place / folder.ADAPTER
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"learned")
    checkpoints.seal(adapter, 3)
    digest = files.sha256_of(adapter / checkpoints.MANIFEST)
    jobs.write_outcome(place, jobs.Outcome("finished", result={folder.RESULT_DIGEST: digest}))
    return place


def test_an_adapter_of_another_run_is_neither_exported_nor_continued(run: Path, tiny_model: Path):
    following = RunConfig(name="next", model=str(tiny_model), train_file="t", start_from=str(run))
    assert Source.of(run).adapter == methods.start_weights(following) == run / folder.ADAPTER
    (run / folder.ADAPTER / "adapter_model.safetensors").write_bytes(b"another")
    for use in (lambda: Source.of(run), lambda: methods.start_weights(following)):
        with pytest.raises(UserError, match="isn't what this run trained"):
            use()
