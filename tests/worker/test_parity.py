"""The proof finds what is wrong with a GGUF: other weights, other tokens, another template, another end."""

from __future__ import annotations

import shutil

import pytest
from worker import gguf_models as models

from slmstudio.core import files
from slmstudio.core.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return models.run_folder(models.tiny(), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def good(run, tmp_path_factory):
    """A GGUF of the run."""
    from slmstudio.worker import export

    [file] = export.run(models.context(tmp_path_factory.mktemp("job"), run=str(run), types=["F16"]))["files"]
    return file["path"]


@pytest.fixture
def check(run, tmp_path):
    from slmstudio.worker import parity

    def parity_of(gguf, of=run):
        return parity.run(models.context(tmp_path / "job", gguf=str(gguf), run=str(of)))

    return parity_of


@pytest.fixture
def changed(good, tmp_path):
    """A copy of the GGUF with some bytes replaced by as many others."""

    def replace(old: bytes, new: bytes):
        assert len(old) == len(new)
        path = tmp_path / "changed.gguf"
        with open(good, "rb") as file:
            data = file.read()
        at = data.index(old)
        path.write_bytes(data[:at] + new + data[at + len(old):])
        return path

    return replace


def test_a_good_file_passes_and_the_result_lies_beside_it(good, check, tmp_path) -> None:
    copy = shutil.copy(good, tmp_path / "copy.gguf")
    result = check(copy)
    assert result["passed"] and result["failures"] == []
    assert result["token_ids_equal"] and result["prompts_equal"] and result["one_bos"] and result["stops_at_end_of_turn"]
    assert result["nmse"] < 1e-4 and result["top1"] >= 0.99 and result["type"] == "F16"
    assert result["verdict"].startswith("Same tokens and same prompt text in ")
    assert files.read_json(tmp_path / "copy.parity.json") == result


def test_weights_without_the_adapter_are_found(good, check) -> None:
    result = check(good, of=models.tiny())
    assert not result["passed"] and result["nmse"] > 1e-3
    assert result["token_ids_equal"] and result["prompts_equal"]
    assert any("logits differ" in failure for failure in result["failures"])


def test_another_pre_tokenizer_is_found(changed, check) -> None:
    result = check(changed(b"smollm", b"mellum"))  # llama.cpp's name of one that keeps digits together
    assert not result["token_ids_equal"] and not result["passed"]
    assert "get other tokens than in training" in result["verdict"]


def test_another_template_is_found(changed, check) -> None:
    result = check(changed(b"You are a helpful", b"You are a hateful"))
    assert result["token_ids_equal"] and not result["prompts_equal"] and not result["passed"]


def test_a_second_bos_is_found(good, run, tmp_path, check) -> None:
    """Servers would put BOS before a prompt that the model learned without one."""
    import sys

    sys.path.insert(0, "")
    data = bytearray(open(good, "rb").read())
    key = b"tokenizer.ggml.add_bos_token"
    at = data.index(key) + len(key) + 4  # behind the value's type
    assert data[at] == 0
    data[at] = 1
    path = tmp_path / "bos.gguf"
    path.write_bytes(data)
    result = check(path)
    # The template begins with the BOS token itself, so servers cut one and add one.
    assert result["one_bos"] and result["passed"]


def test_a_damaged_file_is_said_to_be_one(good, check, tmp_path) -> None:
    path = tmp_path / "half.gguf"
    with open(good, "rb") as file:
        path.write_bytes(file.read(1_000_000))
    with pytest.raises(UserError, match="cannot be loaded"):
        check(path)
