"""Answers and log-likelihoods of many rows at once: the same as of each row alone, and as transformers' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support import gguf_models
from support.family_models import FAMILIES
from support.tiers import first_fast
from transformers import AutoModelForCausalLM

from slmstudio.worker.answering import model_loader
from slmstudio.worker.answering.rows import Ask, batches, lettered, line_of, prepare, run_rows, split
from slmstudio.worker.answering.torch_model import TorchModel

MOST = 24
QUESTIONS = ("Where do I report a broken street light?", "Hello", "जन्म प्रमाण पत्र कितने दिन में मिलता है? " * 3, "1947",
             "How long is a passport valid? " * 5, "राशन कार्ड कौन देता है?", "Why? " * 30)


def items(questions: tuple[str, ...] = QUESTIONS) -> list[dict[str, Any]]:
    return [{"id": number, "line": number + 1, "kind": "free", "messages": [{"role": "user", "content": text}],
             "references": [text[::-1][:20 + number], "Yes."], "choices": None}
            for number, text in enumerate(questions)]


def opened(folder: Path, memory: int = 2**28) -> TorchModel:
    return TorchModel(model_loader.load(folder, torch.float32), folder, memory)


@pytest.fixture
def model(tiny_model: Path) -> TorchModel:
    return opened(tiny_model)


@pytest.fixture
def rows(model: TorchModel) -> list[Any]:
    """The usual items, prepared for the tiny model."""
    return [prepare(item, model, MOST) for item in items()]


def lines(model: TorchModel, rows: list[Any], at_once: int) -> dict[int, dict[str, Any]]:
    found = {}
    for batch in batches(rows, model, at_once):
        for row, replies in zip(batch, run_rows(batch, model, lambda share: None), strict=True):
            found[row.item["id"]] = {**line_of(row, replies, model), "seconds": 0.0}
    return found


def same(first: dict[int, dict[str, Any]], second: dict[int, dict[str, Any]]) -> None:
    assert first.keys() == second.keys()
    for key, line in first.items():
        other = second[key]
        assert line["answer"] == other["answer"] and line["finish"] == other["finish"]
        assert line["reference_nats"] == pytest.approx(other["reference_nats"], abs=2e-3, rel=1e-5)
        assert line["reference_tokens"] == other["reference_tokens"]
        assert (line["choice_logprobs"] or []) == pytest.approx(other["choice_logprobs"] or [], abs=1e-4)


@pytest.mark.parametrize("family", first_fast(FAMILIES, 5))
def test_a_row_is_independent_of_its_neighbours_in_every_family(families, family):
    model = opened(families / family)
    assert model.shares_batches
    rows = [prepare(item, model, MOST) for item in items()]
    assert not any(row.skipped for row in rows)
    same(lines(model, rows, 8), lines(model, rows, 1))


def test_answers_are_those_of_generate(model, rows):
    for number, line in lines(model, rows, 8).items():
        prompt = torch.tensor([rows[number].asks[0].prompt])
        output = model.model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=MOST,
                                      do_sample=False, pad_token_id=0)
        assert line["answer"] == model.decode(output[0, prompt.shape[1]:].tolist()).strip()


def test_log_likelihoods_are_those_of_one_pass_over_all_tokens(model):
    rows = [prepare(item, model, 1) for item in items()]
    for number, line in lines(model, rows, 8).items():
        for text, nats, count in zip(rows[number].item["references"], line["reference_nats"], line["reference_tokens"],
                                     strict=True):
            context, continuation = model.reference(rows[number].item["messages"], text)
            ids = torch.tensor([context + continuation])
            with torch.no_grad():
                table = model.model(input_ids=ids).logits[0].log_softmax(-1)
            wanted = -sum(float(table[at - 1, ids[0, at]]) for at in range(len(context), ids.shape[1]))
            assert nats == pytest.approx(wanted, abs=1e-3) and count == len(continuation)


def test_a_reference_is_what_training_learns(model):
    """The loss of the references is the run's eval loss: same tokens, with the one that ends the turn."""
    from slmstudio.core.model import tokens

    chat = [{"role": "user", "content": "नमस्ते?"}, {"role": "assistant", "content": "आधार 12."}]
    context, continuation = model.reference(chat[:1], chat[1]["content"])
    encoded = tokens.encode(chat, model.tokenizer.backend_tokenizer, model.template)
    assert continuation == [token for token, learned in zip(encoded.ids, encoded.learned, strict=True) if learned]
    assert context == model.encode(model.template.render(chat[:1], add_generation_prompt=True))
    assert model.decode(continuation) == "आधार 12." and model.is_end(continuation[-1])


def test_an_answer_ends_at_any_end_that_the_model_names_and_the_rest_goes_on(tiny_model, tmp_path):
    first = opened(tiny_model)
    rows = [prepare(item, first, MOST) for item in items()]
    ids = {number: replies[0].ids for number, replies in
           enumerate(run_rows(rows, first, lambda share: None))}
    end = ids[2][3]
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, end]}))
    model = opened(folder)
    found = run_rows([prepare(item, model, MOST) for item in items()], model, lambda share: None)
    for number, replies in enumerate(found):
        cut = ids[number].index(end) if end in ids[number] else None
        assert replies[0].ids == ids[number][:cut] and replies[0].ended == (cut is not None)
    lengths = [len(replies[0].ids) for replies in found]
    assert min(lengths) < MOST and sum(length < MOST for length in lengths) >= 1


def test_dropping_ended_rows_changes_nothing(model):
    """Answers of very different length: the batch is made smaller several times on the way."""
    prompts = [model.encode(text) for text in QUESTIONS]
    asks = [Ask(prompt, most=3 * number + 1) for number, prompt in enumerate(prompts)]
    together = model.run(asks, lambda share: None)
    assert [len(reply.ids) for reply in together] == [ask.most for ask in asks]
    for ask, reply in zip(asks, together, strict=True):
        assert model.run([ask], lambda share: None)[0].ids == reply.ids


def test_base_and_tuned_share_one_loading_and_equal_separate_ones(tiny_model, tmp_path, monkeypatch):
    from peft import PeftModel

    adapter = gguf_models.adapter_on(tiny_model, tmp_path / "adapter")
    loads = []
    load = model_loader.load
    monkeypatch.setattr(model_loader, "load", lambda *given: (loads.append(given), load(*given))[1])
    job = gguf_models.context(tmp_path / "job", kind="evaluate", precision="fp32")
    models = model_loader.Models(job)

    def answers(spec: dict[str, Any]) -> dict[int, dict[str, Any]]:
        model = models.open(spec)
        return lines(model, [prepare(item, model, MOST) for item in items()], 8)

    base = answers({"model": str(tiny_model)})
    tuned = answers({"model": str(tiny_model), "adapter": str(adapter)})
    assert len(loads) == 1
    again = answers({"model": str(tiny_model)})
    assert len(loads) == 2 and again == base != tuned
    models.close()

    alone = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    alone = PeftModel.from_pretrained(alone, adapter).merge_and_unload().eval()
    model = TorchModel(alone, tiny_model, 2**28)
    assert lines(model, [prepare(item, model, MOST) for item in items()], 8) == tuned


def test_rows_that_do_not_fit_are_skipped_with_a_sentence(model):
    row = prepare(items(("word " * 2000,))[0], model, MOST)
    assert row.skipped.endswith("the model reads 512 at most.") and "tokens" in row.skipped
    line = line_of(row, [], model)
    assert line["skipped"] == row.skipped and line["answer"] == "" and line["reference_nats"] == []
    # An answer is as long as the room behind its prompt.
    near = prepare({**items(("Why? " * 70,))[0], "references": []}, model, 400)
    assert not near.skipped and near.asks[0].most == 512 - len(near.asks[0].prompt) < 400


def test_a_row_that_makes_nan_is_named_and_its_neighbours_are_not_touched(model, tiny_model, rows):
    fine = lines(model, rows, 8)
    poison = model.encode("1947")[0]
    assert not any(poison in row.asks[0].prompt for row in rows if row.item["id"] != 3)
    model.model.lm_head.weight = torch.nn.Parameter(model.model.lm_head.weight.detach().clone())
    with torch.no_grad():
        model.model.model.embed_tokens.weight[poison] = float("nan")
    found = lines(model, rows, 8)
    broken = {number for number, line in found.items() if line["skipped"]}
    assert 3 in broken and "NaN" in found[3]["skipped"]
    for number in found.keys() - broken:
        assert found[number]["answer"] == fine[number]["answer"]
    # An answer in which the model itself writes the poisoned token is broken too; no other is.
    for number in broken - {3}:
        replies = run_rows([rows[number]], opened(tiny_model), lambda share: None)[0]
        seen = [*replies[0].ids, *(token for ask in rows[number].asks for row in ask.continuations for token in row)]
        assert poison in seen


def test_choices_are_shown_with_letters_and_scored_by_them(model):
    item = {"id": 0, "line": 1, "kind": "choice", "messages": [{"role": "user", "content": "Capital of Kerala? "}],
            "references": ["Kochi"], "choices": ["Kochi", "Thiruvananthapuram", "Kollam"], "answer": 1}
    shown = lettered(item)
    assert shown is not None
    assert shown[0]["content"] == "Capital of Kerala?\nA. Kochi\nB. Thiruvananthapuram\nC. Kollam\nAnswer:"
    row = prepare(item, model, MOST)
    line = lines(model, [row], 8)[0]
    text = model.template.render(shown, add_generation_prompt=True)
    # The template's line break counts as the choice's, as in lm_eval; it is the same for all.
    before, [line_break] = model.encode(text)[:-1], model.encode(text)[-1:]
    with torch.no_grad():
        table = model.model(input_ids=torch.tensor([[*before, line_break]])).logits[0].log_softmax(-1)
    wanted = [float(table[-2, line_break] + table[-1, model.encode(letter)[0]]) for letter in "ABC"]
    assert line["choice_logprobs"] == pytest.approx(wanted, abs=1e-4)
    assert line["answer"] == item["choices"][wanted.index(max(wanted))] and line["tokens"] == 0
    # Each as an answer, where that is wanted.
    by_text, wanted = lines(model, [prepare({**item, "choices_by": "text"}, model, MOST)], 8)[0], []
    before = model.encode(model.template.render(item["messages"], add_generation_prompt=True).rstrip())
    for choice in item["choices"]:
        ids = model.encode(model.template.render(item["messages"], add_generation_prompt=True) + choice)
        with torch.no_grad():
            table = model.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        wanted.append(sum(float(table[at - 1, ids[at]]) for at in range(len(before), len(ids))))
    assert by_text["choice_logprobs"] == pytest.approx(wanted, abs=1e-3) and by_text["choices_by"] == "text"
    many = prepare({**item, "choices": [str(number) for number in range(27)]}, model, MOST)
    assert many.skipped == "It has 27 choices. At most 26 choices can have a letter."


def test_a_continuation_is_split_as_lm_eval_does(model):
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=1)
    for pair in (("Answer:", " A"), ("Answer: ", "A"), ("प्रश्न:\n\n", "उत्तर 12"), ("a", "bc")):
        assert split(model.encode, *pair) == harness._encode_pair(*pair)


def test_batches_are_by_length_and_bounded_by_memory(model, rows):
    model.memory = rows[6].length * model.bytes_per_token * 2
    found = batches(rows, model)
    assert sorted(row.item["id"] for batch in found for row in batch) == list(range(7))
    lengths = [[row.length for row in batch] for batch in found]
    assert [length for batch in lengths for length in batch] == sorted((row.length for row in rows), reverse=True)
    for batch in lengths:
        assert len(batch) * batch[0] * model.bytes_per_token <= max(model.memory, batch[0] * model.bytes_per_token)
    assert max(map(len, batches(rows, model, 2))) == 2
    model.shares_batches = False
    assert all(len(batch) == 1 for batch in batches(rows, model))
