"""What a path names when it is put beside the models of an evaluation."""

import pytest

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.request_models import model_at
from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig


def test_runs_model_folders_and_gguf_files_are_told_apart(studio_home, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    file = tmp_path / "small-Q4_K_M.gguf"
    file.write_bytes(b"GGUF")
    assert model_at(base) == {"name": "base", "model": str(base), "adapter": None, "gguf": None}
    assert model_at(file) == {"name": "small-Q4_K_M", "model": None, "adapter": None, "gguf": str(file)}
    run = folder.create(RunConfig(name="helpdesk", model=str(base), train_file="rows.jsonl")).folder
    with pytest.raises(UserError, match="no result yet"):
        model_at(run)
    (run / folder.ADAPTER).mkdir()
    (run / folder.ADAPTER / "adapter_config.json").write_text("{}")
    jobs.write_outcome(run, jobs.Outcome("finished"))
    assert model_at(run) == {"name": "helpdesk", "model": str(base), "adapter": str(run / folder.ADAPTER), "gguf": None}
    with pytest.raises(UserError, match="nothing that can be evaluated"):
        model_at(tmp_path / "notes.txt")
