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
