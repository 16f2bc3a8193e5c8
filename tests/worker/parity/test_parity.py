"""A sound file passes the proof; of files broken on purpose each is caught, by the check that is there for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import gguf_models as models
from support.gguf_models import quant_type

from slmstudio.core.errors import UserError

pytestmark = pytest.mark.timeout(900)
TYPES = ("F16", "Q4_K_M")


@pytest.fixture(scope="module")
def run() -> Path:
    return models.exported_run()[0]


@pytest.fixture(scope="module")
def made() -> dict[str, Path]:
    """Sound files of the run, by type."""
    return models.exported_run()[1]


@pytest.fixture(scope="module")
def failed(run, tmp_path_factory):
    """`failed(path)`: names and remedies of the checks that a file fails."""
    from slmstudio.worker.model.export_source import Source
    from slmstudio.worker.parity import parity
    from slmstudio.worker.parity.reference import measure

    job = models.context(tmp_path_factory.mktemp("check"))
    reference = measure(job, Source.of(run))

    def check(path: Path, kind: str = "F16", against=reference) -> dict[str, str]:
        result = parity.compare(job, against, path, quant_type(kind))
        found = {line["name"]: line["remedy"] for line in result["checks"] if line["passed"] is False}
        assert result["passed"] == (not found) and all(found.values())
        return found

    return check


@pytest.fixture
def check(run, tmp_path):
    """`check(path)`: the result of the job that proves a file."""
    from slmstudio.worker.parity import parity

    return lambda gguf, of=run: parity.run(models.context(tmp_path / "job", gguf=str(gguf), run=str(of)))


def test_a_good_file_passes_and_the_result_lies_beside_it(made, check, tmp_path) -> None:
    copy = shutil.copy(made["F16"], tmp_path / "copy.gguf")
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
def test_weights_without_the_adapter_are_found(made, check) -> None:
    result = check(made["F16"], of=models.tiny())
    assert not result["passed"] and result["nmse"] > 1e-3
    assert result["token_ids_equal"] and result["prompts_equal"]
    wrong = {line["name"] for line in result["checks"] if line["passed"] is False}
    assert wrong == {"layers", "nmse", "kl", "top1"} - ({"top1"} if result["top1"] >= 0.99 else set())
    assert any("logits differ" in failure for failure in result["failures"])


def test_another_pre_tokenizer_is_found(made, failed, tmp_path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(made["F16"].read_bytes().replace(b"smollm", b"mellum", 1))  # one that keeps digits together
    assert "get different tokens than in training" in failed(path)["tokens"]


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


def test_a_damaged_file_is_said_to_be_one(made, check, tmp_path) -> None:
    path = tmp_path / "half.gguf"
    path.write_bytes(made["F16"].read_bytes()[:1_000_000])
    with pytest.raises(UserError, match="truncated"):
        check(path)


REPLACED = ("{{ bos_token }}{% for message in messages %}### {{ message.role }}:\n{{ message.content }}\n"
            "{% endfor %}### answer:\n")
VALUES = {
    "a wrong end": ({"tokenizer__ggml__eos_token_id": 300, "tokenizer__ggml__eot_token_id": 300}, "stop",
                    "wouldn't stop"),
    "an ordinary word that ends answers too": ({"tokenizer__ggml__eos_token_id": 300}, "stop", "it would end at"),
    "a replaced template": ({"tokenizer__chat_template": REPLACED}, "prompt", ""),
    "a template that refuses what training took": ({"tokenizer__chat_template": "{{ raise_exception('no') }}"},
                                                   "prompt", ""),
    # The tiny model's conversations begin with its BOS, <|im_start|>.
    "a doubled BOS": ({"tokenizer__chat_template": "{{ bos_token }}TEMPLATE"}, "bos", "double"),
    "another rope base": ({"llama__rope__freq_base": 1e6}, "settings",
                          "rope.freq_base 1000000.000000 instead of 10000"),
}


@pytest.mark.full
@pytest.mark.parametrize(("values", "check", "words"), VALUES.values(), ids=VALUES)
def test_a_value_that_is_not_the_trained_models(made, failed, tmp_path, values, check, words) -> None:
    template = (models.tiny() / "chat_template.jinja").read_text(encoding="utf-8")
    changed = {key: value.replace("TEMPLATE", template) if isinstance(value, str) else value
               for key, value in values.items()}
    found = failed(models.with_values(made["F16"], tmp_path / "changed.gguf", **changed))
    assert words in found[check]
    assert set(found) == {check} or check not in ("stop", "prompt")


@pytest.mark.full
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("rows", [(1400, 2300), (48001, 48002)], ids=["common", "rare"])
def test_two_embeddings_that_have_changed_places(made, failed, tmp_path, kind, rows) -> None:
    path = models.with_swapped_rows(made[kind], tmp_path / "swapped.gguf", "token_embd.weight", *rows)
    found = failed(path, kind)
    assert set(found) >= {"embeddings"} and "embeddings of 2 of 49,152 tokens" in found["embeddings"]


@pytest.mark.full
@pytest.mark.parametrize("kind", TYPES)
def test_an_adapter_of_another_run(made, failed, run, tmp_path, kind) -> None:
    from slmstudio.worker.model.export_source import Source
    from slmstudio.worker.parity.reference import measure

    other = models.run_folder(models.tiny(), tmp_path / "runs")
    models.adapter_on(models.tiny(), other / "adapter", seed=2)
    reference = measure(models.context(tmp_path / "job"), Source.of(other))
    found = failed(made[kind], kind, reference)
    assert "adapter" in found and "another adapter" in found["adapter"]
    assert failed(made[kind], kind) == {}


@pytest.mark.full
def test_a_layer_of_the_base(made, failed, tmp_path) -> None:
    """Rows of one layer have changed places: too little for the prompts, the template or the embeddings to show."""
    path = models.with_swapped_rows(made["F16"], tmp_path / "layer.gguf", "blk.1.ffn_down.weight", 0, 255)
    assert "layers" in failed(path)
