"""The reference is the model that transformers and PEFT load whole, though only one layer of it is ever in memory."""

from __future__ import annotations

import numpy as np
import pytest
from support import gguf_models as models
from support.tiers import first_fast

pytestmark = pytest.mark.timeout(900)
ROWS = [[5, 9, 300, 4, 77, 12, 8], [44, 3], [200] * 11 + [7, 250, 31]]
PLACES = [(0, 2), (0, 5), (1, 0), (2, 13), (2, 0)]


def whole_model_logits(base, adapter):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    model.eval().float()
    with torch.inference_mode():
        every = [model(torch.tensor([row])).logits[0].numpy() for row in ROWS]
    return np.stack([every[row][at] for row, at in PLACES])


def streamed_logits(base, adapter):
    from slmstudio.worker.model.streamed_model import StreamedModel

    return StreamedModel(base, adapter).logits(ROWS, PLACES)


@pytest.mark.parametrize("settings", first_fast([
    None, {}, {"use_dora": True, "target_modules": ["down_proj", "lm_head"]}, {"modules_to_save": ["embed_tokens"]},
    {"use_dora": True}, {"use_rslora": True, "r": 8}, {"modules_to_save": ["lm_head"]},
    {"target_modules": ["q_proj", "v_proj", "lm_head"]}], 4),
    ids=lambda settings: "none" if settings is None else "-".join(settings) or "lora")
def test_equal_to_the_whole_model(settings, tmp_path) -> None:
    base = models.tiny()
    adapter = None if settings is None else models.adapter_on(base, tmp_path / "adapter", **settings)
    expected, found = whole_model_logits(base, adapter), streamed_logits(base, adapter)
    assert found.shape == (5, 49152) and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("family", first_fast(["qwen2", "phi3", "llama3"]))
def test_families_are_equal(families, tmp_path, family) -> None:
    base = families / family
    adapter = models.adapter_on(base, tmp_path / "adapter")
    assert np.abs(streamed_logits(base, adapter) - whole_model_logits(base, adapter)).max() < 1e-4


def test_rows_are_taken_in_order_until_there_are_enough_positions() -> None:
    from slmstudio.worker.parity.reference import Span, chosen

    def spans(*lengths: int, answer: int) -> list[Span]:
        return [Span(list(range(length)), answer, True) for length in lengths]

    short = spans(*[40] * 20, answer=29)  # 10 positions each
    assert len(chosen(short, 200, 1000)) == 10, "100 positions are wanted, and twice the tokens allowed for them"
    assert len(chosen(short, 600, 1000)) == 15
    long = spans(190, 30, 190, 31, answer=9)
    assert [len(span.ids) for span in chosen(long, 200, 1000)] == [190]
    assert [len(span.positions) for span in chosen(long, 1000, 200)] == [180, 20]
    assert [len(span.ids) for span in chosen(spans(30, 190, 31, answer=9), 120, 1000)] == [30, 31]


def test_a_long_row_keeps_what_surrounds_its_answer() -> None:
    from slmstudio.worker.model.gguf_vocabulary import Vocabulary
    from slmstudio.worker.parity.reference import AFTER, BEFORE, Renderer

    base = models.tiny()
    renderer = Renderer(base, Vocabulary.of(base))
    ask = [{"role": "user", "content": "word " * 500}, {"role": "assistant", "content": "reply " * 300}]
    span = renderer.span(ask, own=True)
    assert span is not None and len(span.ids) == BEFORE + 1 + AFTER and span.answer == BEFORE
    decoded = renderer.tokenizer.decode([span.ids[position + 1] for position in span.positions])
    assert decoded.startswith("reply reply") and span.ids[0] == renderer.tokenizer.bos_token_id
    short = renderer.span([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}], own=False)
    assert short is not None and short.ids[-1] == renderer.end_of_turn
    assert renderer.tokenizer.decode([short.ids[position + 1] for position in short.positions]) == "Yes.<|im_end|>"


def test_the_tokens_of_all_rows_are_compared_with_their_answers() -> None:
    from slmstudio.worker.model.gguf_vocabulary import Vocabulary
    from slmstudio.worker.parity.reference import USER_CONVERSATIONS, USER_PROMPTS, Renderer, _tokens

    base = models.tiny()
    vocabulary = Vocabulary.of(base)
    rows = [[{"role": "user", "content": f"Ask {number}"}, {"role": "assistant", "content": f"DÍA {number}."}]
            for number in range(USER_CONVERSATIONS + 1)]
    renderer = Renderer(base, vocabulary)
    found = _tokens(renderer, vocabulary, rows)
    assert found.user_rows == USER_PROMPTS and len(found.conversations) == USER_CONVERSATIONS
    text, ids = found.conversations[USER_PROMPTS]
    assert f"DÍA {USER_PROMPTS}." in text and renderer.tokenizer.decode(ids) == text


def test_tables_are_what_was_trained(tmp_path) -> None:
    from slmstudio.worker.model.streamed_model import StreamedModel

    base = models.tiny()
    plain = StreamedModel(base, None)
    shape, rows = plain.table(head=True)
    assert plain.tied and shape == (49152, 256)
    assert np.array_equal(rows(7, 9), plain.table(head=False)[1](7, 9))
    adapter = models.adapter_on(base, tmp_path / "adapter", modules_to_save=["embed_tokens"])
    trained = StreamedModel(base, adapter)
    assert not trained.tied
    assert np.abs(trained.table(head=False)[1](7, 9) - rows(7, 9)).max() > 0.01
    assert np.array_equal(trained.table(head=True)[1](7, 9), rows(7, 9))


def test_an_adapter_of_another_model_is_refused(families, tmp_path) -> None:
    from slmstudio.core.errors import UserError
    from slmstudio.worker.model.streamed_model import StreamedModel

    adapter = models.adapter_on(families / "phi3", tmp_path / "adapter")
    with pytest.raises(UserError, match="doesn't belong to this base"):
        StreamedModel(models.tiny(), adapter)
