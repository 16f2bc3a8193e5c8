"""The proof finds what is wrong with a GGUF: other weights, other tokens, another template, another end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import gguf_models as models

from slmstudio.core.errors import UserError

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def run():
    return models.exported_run()[0]


@pytest.fixture(scope="module")
def good():
    """A GGUF of the run."""
    return str(models.exported_run()[1]["F16"])


@pytest.fixture
def check(run, tmp_path):
    from slmstudio.worker.parity import parity

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


def failed(result) -> set[str]:
    return {check["name"] for check in result["checks"] if check["passed"] is False}


def test_a_good_file_passes_and_the_result_lies_beside_it(good, check, tmp_path) -> None:
    copy = shutil.copy(good, tmp_path / "copy.gguf")
    result = check(copy)
    assert result["passed"] and result["failures"] == []
    assert result["token_ids_equal"] and result["prompts_equal"]
    assert result["one_bos"] and result["stops_at_end_of_turn"]
    assert result["nmse"] < 1e-4 and result["top1"] >= 0.99 and result["type"] == "F16"
    assert result["kl"] < 1e-3 and abs(result["perplexity_change"]) < 0.01 and result["positions"] >= 100
    assert result["texts"] > 2000 and result["user_conversations"] == 3
    assert result["tokens_compared"] == 49152 and result["layers_compared"] == 14
    assert result["adapter_strength"] == pytest.approx(1, abs=0.01)
    assert all(check["passed"] and check["figure"] and not check["remedy"] for check in result["checks"])
    assert [check["name"] for check in result["checks"]] == [
        "tokens", "prompt", "bos", "stop", "settings", "embeddings", "layers", "adapter", "nmse", "top1", "kl",
        "perplexity"]
    assert result["verdict"].startswith("Same tokens in ")
    assert not (tmp_path / "copy.parity.json").exists(), "whoever asked stores it: a locked worker can't"


@pytest.mark.full
def test_weights_without_the_adapter_are_found(good, check) -> None:
    result = check(good, of=models.tiny())
    assert not result["passed"] and result["nmse"] > 1e-3
    assert result["token_ids_equal"] and result["prompts_equal"]
    assert failed(result) == {"layers", "nmse", "kl", "top1"} - ({"top1"} if result["top1"] >= 0.99 else set())
    assert any("logits differ" in failure for failure in result["failures"])


def test_another_pre_tokenizer_is_found(changed, check) -> None:
    result = check(changed(b"smollm", b"mellum"))  # llama.cpp's name of one that keeps digits together
    assert not result["token_ids_equal"] and not result["passed"]
    assert "get different tokens than in training" in result["verdict"]


@pytest.mark.full
def test_a_bos_that_training_never_saw_is_found(tmp_path, check) -> None:
    """Servers add BOS where the file says so; a template without one was trained without one."""
    from support import tiny_model

    from slmstudio.worker.export import export

    base = tmp_path / "base"
    tiny_model.build(base)
    template = base / "chat_template.jinja"
    template.write_text("{% for message in messages %}{{ message.role }}: {{ message.content }}<|im_end|>{% endfor %}")
    [file] = export.run(models.context(tmp_path / "job", run=str(base), types=["F16"]))["files"]
    assert file["parity"]["one_bos"] and file["parity"]["passed"], file["parity"]["failures"]

    data = bytearray(Path(file["path"]).read_bytes())
    key = b"tokenizer.ggml.add_bos_token"
    at = data.index(key) + len(key) + 4  # behind the value's type
    assert data[at] == 0
    data[at] = 1
    changed = tmp_path / "bos.gguf"
    changed.write_bytes(data)
    result = check(changed, of=base)
    assert not result["one_bos"] and not result["passed"]
    assert "beginning-of-sequence" in result["verdict"]


def test_a_damaged_file_is_said_to_be_one(good, check, tmp_path) -> None:
    path = tmp_path / "half.gguf"
    with open(good, "rb") as file:
        path.write_bytes(file.read(1_000_000))
    with pytest.raises(UserError, match="truncated"):
        check(path)
