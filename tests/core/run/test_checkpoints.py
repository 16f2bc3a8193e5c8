"""Checkpoints are complete or absent, and damage is always noticed."""

import pytest

from slmstudio.core.run import checkpoints


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
