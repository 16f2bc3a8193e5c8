"""The text of a run's script: every value with its reason, the split as it was made, and nothing that breaks out."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from slmstudio.core.data import reader, split
from slmstudio.core.errors import UserError
from slmstudio.core.run import adjust, folder, run_script
from slmstudio.core.run.config import FIELDS, RunConfig
from slmstudio.core.run.run_fields import METHODS, OBJECTIVES, PREFERENCES


@pytest.fixture
def configure(tiny_model, rows_file):
    def make(**changes) -> RunConfig:
        return RunConfig(**{"name": "trial", "model": str(tiny_model), "train_file": str(rows_file), **changes})

    return make


@pytest.fixture
def answers_file(tmp_path):
    def make(objective) -> str:
        row = {"prompt": "Well?", "chosen": "Well.", "rejected": "No."}
        if objective == "kto":
            row = {"prompt": "Well?", "completion": "Well.", "label": True}
        file = tmp_path / f"{objective}.jsonl"
        file.write_text(json.dumps(row) + "\n", encoding="utf-8")
        return str(file)

    return make


def constants(path: Path) -> dict[str, object]:
    """The script's constants, as far as they are plain values."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_value_stands_in_it_with_its_reason(configure, tmp_path):
    config = configure(learning_rate=3e-5, target_modules=["q_proj", "v_proj"], sample_prompts=["क्या?"],
                       reasons={"learning_rate": "Suits it.", "seed": "Any number does."})
    path = run_script.write_script(config, tmp_path / "out" / "run.py").path
    found = constants(path)
    places = {"model": "MODEL", "start_from": "START_FROM", "train_file": "ORIGINAL_TRAIN_FILE",
              "eval_file": "ORIGINAL_EVAL_FILE"}
    state = config.to_dict()
    for name in FIELDS.keys() - {"reasons", "chosen"}:
        assert found[places.get(name, name.upper())] == state[name], name
    text = path.read_text(encoding="utf-8")
    assert "# Suits it.\nLEARNING_RATE = 3e-05\n" in text
    assert "# Any number does.\nSEED = 42\n" in text
    assert max(map(len, text.splitlines())) <= 120 + len(str(tmp_path))
    lines = text.splitlines()
    assert all(lines[i - 1].startswith("#") for i, line in enumerate(lines)
               if line.partition(" = ")[0] in {name.upper() for name in FIELDS})


@pytest.mark.parametrize(("method", "objective"), [
    (method, objective) for method in METHODS.words for objective in OBJECTIVES.words
    if method != "scratch" or objective not in PREFERENCES])
def test_each_method_and_objective_gives_whole_python(configure, answers_file, tmp_path, method, objective):
    changes = {"train_file": answers_file(objective)} if objective in PREFERENCES else {}
    config = configure(method=method, objective=objective, **changes)
    path = run_script.write_script(config, tmp_path / "run.py").path
    tree = ast.parse(path.read_text(encoding="utf-8"))
    compile(tree, str(path), "exec")
    imported = {name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import)
                for name in node.names}
    imported |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {"json", "math", "os", "pathlib", "torch", "transformers", "peft", "trl", "datasets"}
    assert undefined(tree) == set()


def undefined(tree: ast.Module) -> set[str]:
    """Names that the script uses and nobody gives it."""
    import builtins

    given = set(dir(builtins)) | {"__file__", "__name__"}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            given |= {name.asname or name.name.split(".")[0] for name in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            given.add(node.name)
        elif isinstance(node, ast.arg):
            given.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            given.add(node.id)
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - given


def test_the_rows_are_the_runs_own_split_in_order(configure, rows_file, tmp_path):
    written = run_script.write_script(configure(eval_fraction=0.25, split_seed=3), tmp_path / "run.py")
    learned, held_out = split.split_evenly(reader.read_dataset(rows_file).records, 0.25, 3)
    assert lines_of(written.train_file) == [{"messages": list(row.messages)} for row in learned]
    assert lines_of(written.eval_file) == [{"messages": list(row.messages)} for row in held_out]
    whole = run_script.write_script(configure(eval_fraction=0.0), tmp_path / "run.py")
    assert len(lines_of(whole.train_file)) == 8 and whole.eval_file.read_bytes() == b""
    given = run_script.write_script(configure(eval_file=str(rows_file)), tmp_path / "run.py")
    assert lines_of(given.train_file) == lines_of(given.eval_file) == lines_of(whole.train_file)


@pytest.mark.parametrize("evil", ["a\nimport os", "a\r\nb", "a\u2028b\x0cc", '"""', "'\\", "\ud800", "#", ""])
def test_no_text_breaks_out_of_its_place(configure, tmp_path, evil):
    config = configure(name=evil or "x", sample_prompts=[evil, evil], reasons={"seed": evil, "name": evil})
    found = constants(run_script.write_script(config, tmp_path / "run.py").path)
    assert found["NAME"] == (evil or "x") and found["SAMPLE_PROMPTS"] == [evil, evil] and found["SEED"] == 42


def test_a_run_folder_with_what_it_changed_about_itself(configure, tmp_path):
    job = folder.create(configure(micro_batch_size=8), tmp_path / "runs")
    adjust.record(job.folder, {"micro_batch_size": 2, "gradient_accumulation_steps": 16})
    found = constants(run_script.write_script(job.folder, tmp_path / "run.py").path)
    assert (found["MICRO_BATCH_SIZE"], found["GRADIENT_ACCUMULATION_STEPS"]) == (2, 16)
    adjust.record_schedule(job.folder, 3, 1e-5, 40)
    assert "changed while the run was under way" in run_script.write_script(job.folder, tmp_path / "run.py"
                                                                        ).path.read_text(encoding="utf-8")


def test_what_the_run_reads_is_never_written_over(configure, rows_file, tmp_path):
    mine = tmp_path / "mine.train.jsonl"
    mine.write_bytes(rows_file.read_bytes())
    with pytest.raises(UserError, match="would be overwritten"):
        run_script.write_script(configure(train_file=str(mine)), tmp_path / "mine.py")
    assert mine.read_bytes() == rows_file.read_bytes()


def test_what_is_missing_is_named(configure, tmp_path, rows_file):
    with pytest.raises(UserError) as error:
        run_script.write_script(configure(model=str(tmp_path / "no"), eval_file=str(tmp_path / "none")),
                                tmp_path / "s.py")
    assert {problem.field for problem in error.value.problems} == {"model", "eval_file"}
    with pytest.raises(UserError, match="continue from"):
        run_script.write_script(configure(start_from=str(tmp_path)), tmp_path / "s.py")
    with pytest.raises(UserError, match="can't be used with dpo"):
        run_script.write_script(configure(objective="dpo"), tmp_path / "s.py")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UserError, match="folder"):
        run_script.write_script(configure(), tmp_path / "folder.py")
    assert not (tmp_path / "s.py").exists()
