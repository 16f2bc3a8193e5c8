"""Without the chat engine everything else works, and what needs it says so before anything begins."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import no_llama
from support import tiny_model as tiny

from slmstudio.core import files

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]
SAID = "The chat engine llama.cpp isn't set up, so chat and GGUF files are switched off."
QUICKSTART = """
import sys
from pathlib import Path
from slmstudio.cli import commands
from slmstudio.core import llama, paths, quickstart, starter
from slmstudio.core.model import facts

model, rows, out = map(Path, sys.argv[1:])
assert llama.trouble() is not None and "llama_cpp" not in sys.modules
starter.prepare = lambda report: facts.read_model(model)
paths.starter_train_file = paths.starter_test_file = lambda: rows
quickstart.MAX_NEW_TOKENS = 8
sys.exit(commands.main(["quickstart", "--out", str(out), "--json"]))
"""


class Studio:
    """The program in real processes from which the chat engine is hidden."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._environment = {**no_llama.environment(folder / "hider"), "SLMSTUDIO_HOME": str(folder / "home")}

    def python(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([sys.executable, *map(str, arguments)], cwd=no_llama.ROOT, env=self._environment,
                              capture_output=True, text=True, timeout=500, stdin=subprocess.DEVNULL)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def __call__(self, *arguments: object, status: int = 0) -> dict:
        done = self.python("-m", "slmstudio", *arguments, "--json")
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def first_run(studio: Studio, tiny_model: Path) -> dict:
    """The quickstart on a tiny model: what it prints."""
    rows = studio.folder / "rows.jsonl"
    rows.write_bytes(b"".join(map(files.dump_line, tiny.ROWS)))
    done = studio.python("-c", QUICKSTART, tiny_model, rows, studio.folder / "first")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_quickstart_goes_on_to_its_end_and_says_what_it_left_out(first_run: dict):
    assert first_run["steps"] > 0 and first_run["eval_loss_after"] < first_run["eval_loss_before"]
    assert 0 <= first_run["chrf_before"] <= 100 and 0 <= first_run["chrf_after"] <= 100
    assert first_run["question"] == tiny.ROWS[0]["instruction"]
    assert first_run["reference"] == tiny.ROWS[0]["output"]
    assert first_run["gguf"] is first_run["parity"] is first_run["reply"] is None
    assert SAID in first_run["left_out"] and "bootstrap.py setup" in first_run["left_out"]


def test_what_needs_the_engine_is_refused_before_any_work(studio: Studio, first_run: dict, tmp_path: Path):
    run, gguf = Path(first_run["run_dir"]), tmp_path / "a.gguf"
    gguf.write_bytes(b"GGUF")
    before = sorted(run.rglob("*"))
    for command in (("chat", gguf, "--prompt", "Hello"), ("serve", gguf), ("export", run),
                    ("export", run, "--type", "ADAPTER", "--type", "F16"), ("parity", run, gguf)):
        error = studio(*command, status=2)["error"]
        assert error["what"] == SAID, command
        assert error["why"] and "setup" in error["remedy"]
    problems = studio("evaluate", gguf, "--test", run.parent.parent / "rows.jsonl", status=2)["error"]["problems"]
    assert any(SAID in problem["message"] and "setup" in problem["message"] for problem in problems)
    assert sorted(run.rglob("*")) == before


def test_exports_for_other_programs_are_made(studio: Studio, first_run: dict):
    made = studio("export", first_run["run_dir"], "--type", "MERGED", "--type", "ADAPTER", "--type", "LORA")
    assert {file["type"] for file in made["files"]} == {"MERGED", "ADAPTER", "LORA"}
    assert all(Path(file["path"]).exists() for file in made["files"])
