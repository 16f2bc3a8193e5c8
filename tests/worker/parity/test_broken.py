"""Files broken on purpose: each is caught, by the check that is there for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import gguf_models as models
from support.gguf_models import quant_type
from support.tiers import first_fast

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


@pytest.mark.full
def test_the_sound_files_pass(made, failed) -> None:
    assert failed(made["F16"]) == {} and failed(made["Q4_K_M"], "Q4_K_M") == {}


@pytest.mark.full
def test_a_wrong_end_token(made, failed, tmp_path) -> None:
    path = models.with_values(made["F16"], tmp_path / "end.gguf", tokenizer__ggml__eos_token_id=300,
                              tokenizer__ggml__eot_token_id=300)
    found = failed(path)
    assert set(found) == {"stop"} and "wouldn't stop" in found["stop"]


@pytest.mark.full
def test_an_ordinary_word_that_ends_answers_too(made, failed, tmp_path) -> None:
    path = models.with_values(made["F16"], tmp_path / "end.gguf", tokenizer__ggml__eos_token_id=300)
    assert "it would end at" in failed(path)["stop"]


@pytest.mark.full
def test_a_replaced_template(made, failed, tmp_path) -> None:
    template = ("{{ bos_token }}{% for message in messages %}### {{ message.role }}:\n{{ message.content }}\n"
                "{% endfor %}### answer:\n")
    path = models.with_values(made["F16"], tmp_path / "template.gguf", tokenizer__chat_template=template)
    assert set(failed(path)) == {"prompt"}


@pytest.mark.full
def test_a_template_that_refuses_what_training_took(made, failed, tmp_path) -> None:
    path = models.with_values(made["F16"], tmp_path / "template.gguf",
                              tokenizer__chat_template="{{ raise_exception('no') }}")
    assert set(failed(path)) == {"prompt"}


@pytest.mark.full
def test_a_doubled_bos(made, failed, tmp_path) -> None:
    """The tiny model's conversations begin with its BOS, <|im_start|>."""
    template = "{{ bos_token }}" + (models.tiny() / "chat_template.jinja").read_text(encoding="utf-8")
    path = models.with_values(made["F16"], tmp_path / "bos.gguf", tokenizer__chat_template=template)
    found = failed(path)
    assert "bos" in found and "double" in found["bos"]


@pytest.mark.full
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("rows", [(1400, 2300), (48001, 48002)], ids=["common", "rare"])
def test_two_embeddings_that_have_changed_places(made, failed, tmp_path, kind, rows) -> None:
    path = models.with_swapped_rows(made[kind], tmp_path / "swapped.gguf", "token_embd.weight", *rows)
    found = failed(path, kind)
    assert set(found) >= {"embeddings"} and "embeddings of 2 of 49,152 tokens" in found["embeddings"]


@pytest.mark.full
def test_another_rope_base(made, failed, tmp_path) -> None:
    path = models.with_values(made["F16"], tmp_path / "rope.gguf", llama__rope__freq_base=1e6)
    found = failed(path)
    assert "rope.freq_base 1000000.000000 instead of 10000" in found["settings"]


@pytest.mark.parametrize("kind", first_fast(TYPES))
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
