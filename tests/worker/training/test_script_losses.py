"""The script of a run, executed as a person does, prints the losses that the run had."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import base_models, small_runs
from support.tiers import first_fast

from slmstudio.core import jobs
from slmstudio.core.run import folder, run_script
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.planning.follow_up import follow_up
from slmstudio.worker.runtime.context import JobContext
from slmstudio.worker.training import train

SETTINGS = {
    "max_steps": 4, "micro_batch_size": 2, "gradient_accumulation_steps": 2, "max_length": 128, "learning_rate": 1e-2,
    "eval_fraction": 0.25, "eval_steps": 2, "save_steps": 100, "threads": 1,
    "use_best_checkpoint": False, "sample_max_tokens": 4,
}


@pytest.fixture
def configure(tiny_model, rows_file):
    def make(**changes) -> RunConfig:
        return RunConfig(**{"name": "trial", "model": str(tiny_model), "train_file": str(rows_file), **SETTINGS,
                            **changes})

    return make


def execute(path: Path, where: Path) -> dict[str, list[tuple[int, float]]]:
    """Run a script in another folder, without our package in reach: its losses and eval losses by step."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    blocker = where / "blocked"
    blocker.mkdir()
    (blocker / "slmstudio.py").write_text("raise ImportError('the script must stand alone')", encoding="utf-8")
    done = subprocess.run([sys.executable, str(path)], cwd=where, capture_output=True, text=True, timeout=110,
                          env={**environment, "PYTHONPATH": str(blocker), "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    return {word: [(int(step), float(loss)) for step, loss in
                   re.findall(rf"^step (\d+)/\d+ {word} (\S+)", done.stdout, re.MULTILINE)]
            for word in ("loss", "eval_loss")} | {
        "strengths": [(float(strength), float(loss)) for strength, loss in
                      re.findall(r"^strength (\S+) eval_loss (\S+)", done.stdout, re.MULTILINE)]}


def losses_of_run(config: RunConfig, parent: Path) -> tuple[Path, dict[str, list[tuple[int, float]]]]:
    job = folder.create(config, parent)
    assert train.run(JobContext(job.folder, job.request()))["state"] == "finished"
    events = list(jobs.Job(job.folder).events())
    return job.folder, {
        "loss": [(e["global_step"], e["train_loss"]) for e in events if e["type"] == "step"],
        "eval_loss": [(e["global_step"], e["eval_loss"]) for e in events if e["type"] == "eval"],
        "strengths": next((e["strengths"] for e in events if e["type"] == "best_used"), []),
    }


def assert_equal(found, wanted):
    for word in ("loss", "eval_loss"):
        assert [step for step, _ in found[word]] == [step for step, _ in wanted[word]]
        assert [loss for _, loss in found[word]] == pytest.approx([loss for _, loss in wanted[word]], rel=1e-4)
    assert len(found["loss"]) == 4
    for (strength, loss), (ours, wanted_loss) in zip(sorted(set(found["strengths"])), wanted["strengths"], strict=True):
        assert strength == ours and loss == pytest.approx(wanted_loss, rel=1e-4)


@pytest.fixture
def texts_file(tmp_path):
    """Plain text, one row longer than a piece."""
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": "The ward office opens at ten. " * count}) + "\n"
                            for count in (1, 2, 3, 8, 5, 4)), encoding="utf-8")
    return file


@pytest.mark.parametrize("changes", first_fast([
    {"lora_dropout": 0.1, "weight_decay": 0.01, "neftune_noise_alpha": 5.0, "use_best_checkpoint": True},
    {"method": "full", "learning_rate": 1e-3, "group_by_length": False, "packing": True,
     "objective": "text"},
    {"completion_only_loss": False, "max_length": 24, "use_dora": True, "use_rslora": True},
    {"method": "qlora", "max_length": 60, "overlong_rows": "leave_out"},
]))
def test_the_script_has_the_losses_of_the_run(configure, tmp_path, changes):
    run, wanted = losses_of_run(configure(**changes), tmp_path / "runs")
    written = run_script.write_script(run, tmp_path / "run_script.py")
    assert not written.rows_are_ids
    assert_equal(execute(written.path, tmp_path), wanted)


@pytest.mark.full
def test_a_base_model_with_a_template_by_name(configure, tiny_model, tmp_path):
    base = base_models.tiny(tiny_model, tmp_path / "base")
    run, wanted = losses_of_run(configure(model=str(base), chat_template="alpaca"), tmp_path / "runs")
    written = run_script.write_script(run, tmp_path / "run_script.py")
    assert not written.rows_are_ids
    assert_equal(execute(written.path, tmp_path), wanted)


@pytest.mark.full
def test_a_model_from_scratch_on_plain_text(configure, tmp_path, texts_file):
    config = configure(method="scratch", scratch_size="10M", objective="text", train_file=str(texts_file),
                       max_length=32, learning_rate=1e-3)
    run, wanted = losses_of_run(config, tmp_path / "runs")
    assert_equal(execute(run_script.write_script(run, tmp_path / "run_script.py").path, tmp_path), wanted)


@pytest.mark.full
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_run_that_goes_on_from_another(configure, tmp_path, method):
    first, _ = losses_of_run(configure(method=method, learning_rate=1e-3), tmp_path / "runs")
    jobs.write_outcome(first, jobs.Outcome("finished"))
    run, wanted = losses_of_run(follow_up(first), tmp_path / "runs")
    assert_equal(execute(run_script.write_script(run, tmp_path / "run_script.py").path, tmp_path), wanted)


@pytest.mark.full
@pytest.mark.parametrize(("objective", "changes"), [
    ("dpo", {"method": "full", "precision": "bf16"}), ("orpo", {}), ("kto", {})])
def test_preference_scripts_learn(configure, tmp_path, objective, changes):
    file = small_runs.write(tmp_path / "answers.jsonl", small_runs.rows_of(
        objective, [(f"How are you, number {i}?", f"Well, {i} times.", "Who asks?") for i in range(8)]))
    config = configure(objective=objective, train_file=str(file), learning_rate=1e-3, **changes)
    found = execute(run_script.write_script(config, tmp_path / "run_script.py").path, tmp_path)
    assert [step for step, _ in found["loss"]] == [1, 2, 3, 4]
    assert found["eval_loss"][-1][1] < found["eval_loss"][0][1]


@pytest.mark.full
def test_rows_of_a_template_that_drops_earlier_words_come_as_token_ids(configure, tiny_model, tmp_path):
    """As templates do that leave out the thinking of earlier answers once another question follows."""
    import shutil

    model = shutil.copytree(tiny_model, tmp_path / "model")
    (model / "chat_template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if loop.last %}(thinking) {% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}", encoding="utf-8")
    rows = tmp_path / "chats.jsonl"
    rows.write_text("".join(json.dumps({"messages": [
        {"role": "user", "content": f"Is {i} even?"}, {"role": "assistant", "content": "Yes." if i % 2 == 0 else "No."},
        {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": f"Sure, {i}."}]}) + "\n"
        for i in range(8)), encoding="utf-8")
    run, wanted = losses_of_run(configure(model=str(model), train_file=str(rows)), tmp_path / "runs")
    written = run_script.write_script(run, tmp_path / "run_script.py")
    assert written.rows_are_ids
    assert "token ids" in written.path.read_text(encoding="utf-8")
    assert_equal(execute(written.path, tmp_path), wanted)
