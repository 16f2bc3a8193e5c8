"""Checkpoints are complete or absent, damage is always noticed, a run is resumed from its own alone, and which of its
values may be different then."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support import model_files

from slmstudio.core import jobs
from slmstudio.core.errors import UserError
from slmstudio.core.model.weights import fingerprint
from slmstudio.core.run import adjust, checkpoints, folder
from slmstudio.core.run.config import RunConfig


def make(parent, step, eval_loss=None, content=b"weights"):
    with checkpoints.writing(parent, step, eval_loss) as folder:
        (folder / "adapter.safetensors").write_bytes(content)
        (folder / "sub").mkdir()
        (folder / "sub" / "state.json").write_text("{}")
    return parent / checkpoints.folder_name(step)


def test_newest_is_found(tmp_path):
    make(tmp_path, 10)
    newest = make(tmp_path, 200)
    found = checkpoints.newest_good(tmp_path, pytest.fail)
    assert found.path == newest and found.global_step == 200


def test_nothing_there(tmp_path):
    assert checkpoints.newest_good(tmp_path / "absent", pytest.fail) is None


def test_a_failure_while_writing_leaves_nothing(tmp_path):
    make(tmp_path, 1)
    with pytest.raises(RuntimeError), checkpoints.writing(tmp_path, 2, None) as folder:
        (folder / "adapter.safetensors").write_bytes(b"half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


@pytest.mark.parametrize("name", ["adapter.safetensors", "sub/state.json", "manifest.json", "manifest.sha256"])
@pytest.mark.parametrize("harm", ["truncate", "flip", "delete"])
def test_every_damage_is_noticed_and_the_one_before_is_used(tmp_path, name, harm):
    good, bad = make(tmp_path, 1), make(tmp_path, 2)
    target = bad / name
    data = bytearray(target.read_bytes())
    if harm == "truncate":
        target.write_bytes(data[:-1])
    elif harm == "flip":
        data[len(data) // 2] ^= 1
        target.write_bytes(data)
    else:
        target.unlink()
    told = []
    found = checkpoints.newest_good(tmp_path, lambda checkpoint, reason: told.append((checkpoint.path, reason)))
    assert found.path == good
    assert [path for path, _ in told] == [bad]


def test_rotation_keeps_the_newest_and_the_best(tmp_path):
    for step, loss in ((1, 2.0), (2, 1.0), (3, 1.5), (4, 1.6), (5, None)):
        make(tmp_path, step, loss)
    checkpoints.rotate(tmp_path, keep=2)
    assert [c.global_step for c in checkpoints.all_checkpoints(tmp_path)] == [2, 4, 5]


def test_the_same_step_may_be_saved_again(tmp_path):
    make(tmp_path, 7, content=b"old")
    path = make(tmp_path, 7, content=b"new")
    assert checkpoints.damage(path) is None
    assert (path / "adapter.safetensors").read_bytes() == b"new"


ODD: list[dict[str, Any]] = [{"type": "step"}, {"type": "step", "global_step": "nine"}, {"type": []}, {}]
"""Events that say nothing."""
STEP = {"type": "step", "global_step": 5}
SAVED = {"type": "checkpoint_saved", "global_step": 4}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one checkpoint."""
    base = model_files.write_model(tmp_path / "base")
    made = folder.create(RunConfig(name="trial", model=str(base), train_file="rows.jsonl"), tmp_path / "runs").folder
    with checkpoints.writing(made / folder.CHECKPOINTS, 4, None) as inside:
        (inside / "adapter.safetensors").write_bytes(b"weights")
    return made


def check(run: Path, **changes: Any) -> None:
    record = {**jobs.Job(run).request(), **changes}
    checkpoints.check_own(run / folder.CHECKPOINTS, record, RunConfig.from_dict(record))


def other_version(base: Path, target: Path) -> Path:
    """The same architecture with another weight: what a fine-tuned version of a model is."""
    shutil.copytree(base, target)
    with open(target / "model.safetensors", "rb+") as file:
        file.seek(-2, 2)
        file.write(b"\x01")
    return target


def test_the_same_base_may_have_moved(run: Path, tmp_path: Path) -> None:
    check(run)
    (tmp_path / "base").rename(tmp_path / "moved")
    check(run, model=str(tmp_path / "moved"))


def test_checkpoints_of_another_base_are_refused(run: Path, tmp_path: Path) -> None:
    other = other_version(tmp_path / "base", tmp_path / "other")
    changes: dict[str, Any] = {"model": str(other)}
    with pytest.raises(UserError, match="its checkpoints were made with a different base model") as caught:
        check(run, **changes)
    assert str(other) in caught.value.why and "start a new run" in caught.value.remedy
    shutil.rmtree(run / folder.CHECKPOINTS)  # without checkpoints there is nothing that wouldn't fit
    check(run, **changes)


def test_a_link_out_of_the_run_is_refused(run: Path, tmp_path: Path) -> None:
    (run / folder.CHECKPOINTS).rename(tmp_path / "elsewhere")
    (run / folder.CHECKPOINTS).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(UserError, match="aren't in its folder") as caught:
        check(run)
    assert str(tmp_path / "elsewhere") in caught.value.why


def test_a_checkpoint_that_is_a_link_is_passed_over(run: Path, tmp_path: Path) -> None:
    own = run / folder.CHECKPOINTS / "step-000004"
    own.rename(tmp_path / "step-000009")
    own.symlink_to(tmp_path / "step-000009", target_is_directory=True)
    told: list[str] = []
    assert checkpoints.newest_good(run / folder.CHECKPOINTS, lambda each, why: told.append(why)) is None
    assert told == ["It is a link to another place."]


def test_lost_checkpoints_are_refused_and_a_run_without_any_starts_over(run: Path) -> None:
    assert checkpoints.nothing_to_resume(run / folder.CHECKPOINTS, []) is None
    said = checkpoints.nothing_to_resume(run / folder.CHECKPOINTS, [*ODD, STEP, *ODD])
    assert said is not None and "interrupted at step 5, so training starts again at step 0" in said
    with pytest.raises(UserError, match="all of its checkpoints are gone or damaged") as caught:
        checkpoints.nothing_to_resume(run / folder.CHECKPOINTS, [SAVED, STEP])
    assert "5 steps" in caught.value.why and f"slmstudio train {run / 'run.json'}" in caught.value.remedy


def test_a_fingerprint_knows_content_alone(tmp_path: Path) -> None:
    base = model_files.write_model(tmp_path / "a")
    assert fingerprint(base) == fingerprint(model_files.write_model(tmp_path / "b"))
    assert fingerprint(base) != fingerprint(other_version(base, tmp_path / "c"))
    assert fingerprint(tmp_path) is None


def test_what_its_rows_and_checkpoints_depend_on_stays(run):
    wrong = {"lora_rank": 8, "method": "full", "target_modules": ["q_proj", "v_proj"], "model": "", "train_file": "u",
             "optimizer": "adafactor", "precision": "bf16", "seed": 7}
    with pytest.raises(UserError) as caught:
        adjust.consent(run, {**wrong, "max_length": 512})
    error = caught.value
    assert {problem.field for problem in error.problems} == wrong.keys()
    assert error.what == "These fields can't be changed in a run that already exists."
    assert f"slmstudio train {run / 'run.json'} --set lora_rank=8 --set method=full" in error.remedy
    assert "--set target_modules=q_proj,v_proj" in error.remedy and "--set max_length=512" in error.remedy
    assert "learning_rate" in error.remedy and "scratch_size" not in error.remedy
    assert not (run / adjust.FILE).exists()


def test_what_it_takes_to_continue_may_change(run):
    values = {"max_length": 512, "micro_batch_size": 1, "processes": 2, "heat_limit_c": 70, "lora_rank": 16}
    adjust.consent(run, values)
    assert adjust.load(run)["values"] == values, "a value that it has is none that changes"
