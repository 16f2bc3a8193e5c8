"""Train, export and proof in real processes: every family, as the terminal runs them; the starter model's are the
quickstart's and the window's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slmstudio.core.run import folder
from slmstudio.core.run.config import RunConfig

pytestmark = [pytest.mark.timeout(600), pytest.mark.full]  # tests/e2e/test_quickstart and test_window do it fast
TYPES = ("F16", "Q8_0", "Q4_K_M")


@pytest.fixture(scope="module")
def rows(data_dir, tmp_path_factory) -> Path:
    """Short real questions in Hindi."""
    lines = (data_dir / "xquad_hi_instructions.jsonl").read_text("utf-8").splitlines()
    found = sorted((json.loads(line) for line in lines), key=lambda row: sum(map(len, row.values())))[:32]
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), "utf-8")
    return file


def train(model: Path, rows: Path, out: Path) -> Path:
    """The folder of a finished run."""
    config = RunConfig(
        name=model.name, model=str(model), train_file=str(rows), max_steps=6, micro_batch_size=4,
        gradient_accumulation_steps=1, max_length=256, learning_rate=2e-3, warmup_fraction=0.0, eval_fraction=0.2,
        sample_max_tokens=0, device="cpu", threads=2)
    job = folder.create(config, out)
    job.start()
    outcome = job.wait(lambda event: None)
    assert outcome.was_successful(), outcome
    return job.folder


@pytest.mark.parametrize("name", ["llama3", "qwen2", "mistral", "phi3", "tinyllama"])
def test_what_was_trained_is_what_the_files_hold(families, rows, tmp_path, studio_home, name) -> None:
    run = train(families / name, rows, tmp_path / "runs")
    done = subprocess.run(
        [sys.executable, "-m", "slmstudio", "export", str(run), "--json", *(f"--type={each}" for each in TYPES)],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    files = {file["type"]: file for file in json.loads(done.stdout.splitlines()[-1])["files"]}
    assert tuple(files) == TYPES
    for kind, file in files.items():
        proof = file["parity"]
        assert proof["passed"] and proof["token_ids_equal"] and proof["texts"] > 2000, (kind, proof)
        assert Path(file["path"]).stat().st_size == file["bytes"]
    exact = files["F16"]["parity"]
    assert exact["nmse"] < 1e-4 and exact["top1"] >= 0.99
    print(name, {kind: f"NMSE {file['parity']['nmse']:.1e}, top-1 {file['parity']['top1']:.3f}"
                 for kind, file in files.items()})
