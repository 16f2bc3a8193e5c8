"""Models that think before they answer: they are asked not to, and what they think all the same is no part of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support import gguf_models, thinking_models
from support.evaluation_jobs import asked as evaluation
from worker.evaluation.test_judge import ask, judged, prepared

from slmstudio.core import files
from slmstudio.core.evaluation import scoring
from slmstudio.core.model import tokens
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.facts import read_model
from slmstudio.core.run import time_estimate
from slmstudio.worker.answering.model_loader import Models
from slmstudio.worker.answering.rows import prepare
from slmstudio.worker.evaluation import evaluate

pytestmark = pytest.mark.usefixtures("studio_home")
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "आधार की हेल्पलाइन?"},
        {"role": "assistant", "content": "1947"}, {"role": "user", "content": "How long is a passport valid?"}]
REFERENCE = "Ten years for adults."
ANSWERS = ("B", "Ten years.")


def item(reference: str = REFERENCE, number: int = 0) -> dict[str, Any]:
    return {"id": number, "line": number + 1, "kind": "free", "messages": CHAT, "references": [reference],
            "choices": None}


def answers(folder: Path, number: int = 0) -> list[dict[str, Any]]:
    return sorted(files.LineReader(folder / f"answers-{number}.jsonl").read(), key=lambda line: line["id"])


def test_the_evaluated_prompt_is_what_training_reads_before_the_answer(tiny_model, tmp_path):
    folder = thinking_models.build(tiny_model, tmp_path / "thinker", thinking_models.QWEN3)
    models = Models(gguf_models.context(tmp_path / "job", precision="fp32"))
    model = models.open({"model": str(folder)}, thinks=False)
    row = prepare(item(), model, 8)
    [asked] = row.asks  # the prompt is read once, for the answer and for the reference
    trained = tokens.encode([*CHAT, {"role": "assistant", "content": REFERENCE}], tokens.local_tokenizer(folder),
                            ChatTemplate.from_folder(folder))
    reference = asked.continuations[0]
    assert trained.ids[:len(asked.prompt)] == asked.prompt
    assert trained.ids[len(asked.prompt):][:len(reference)] == reference
    assert model.decode(asked.prompt).endswith("assistant\n<think>\n\n</think>\n\n")
    assert model.decode(reference) == REFERENCE
    models.close()


def test_the_prompt_is_that_of_transformers(tiny_model, tmp_path):
    from transformers import PreTrainedTokenizerFast

    for name, template in (("qwen3", thinking_models.QWEN3), ("always", thinking_models.ALWAYS), ("plain", None)):
        folder = thinking_models.build(tiny_model, tmp_path / name, template)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        known = ChatTemplate.from_folder(folder)
        for mine, more in ((known, {}), (known.without_thoughts(), {"enable_thinking": False})):
            assert mine.render(CHAT, add_generation_prompt=True) == tokenizer.apply_chat_template(
                CHAT, tokenize=False, add_generation_prompt=True, **more)


def test_references_that_think_let_the_models_think(studio_home, tiny_model, tmp_path):
    folder = thinking_models.build(tiny_model, tmp_path / "thinker", thinking_models.QWEN3,
                                   ["<think>", "A", "</think>", "B"])
    asked = evaluation(tmp_path / "job", folder,
                       answers=("<think>\nA\n</think>\n\nB", "<think>\nHm.\n</think>\n\nTen."))
    scores = evaluate.run(asked)["models"][folder.name]
    (timing,) = time_estimate.load()
    assert timing.kind == time_estimate.ANSWERING and timing.units > 0 and timing.cost == read_model(folder).parameters
    assert files.read_json(asked.folder / "items.json")["thinks"] is True
    assert [(line["answer"], line["thoughts"]) for line in answers(asked.folder)] == [("B", "A")] * 2
    assert scores["exact"] == 50, "thoughts are no part of an answer, nor of a reference"
    [first, _] = scoring.row_scores(asked.folder)
    assert first.references == ["<think>\nA\n</think>\n\nB"], "the test file's own is shown, and can be edited"
    # What is learned of such a reference begins with its thoughts.
    model = Models(asked).open(asked.request["models"][0])
    context, continuation = model.reference(CHAT, "<think>\nA\n</think>\n\nB")
    assert model.decode(context).endswith("assistant\n") and model.decode(continuation).startswith("<think>\nA\n")


def test_thoughts_are_kept_beside_the_answer(tiny_model, tmp_path):
    folder = thinking_models.build(tiny_model, tmp_path / "plain", None, ["<think>", "A", "</think>", "B"])
    asked = evaluation(tmp_path / "job", folder, answers=ANSWERS)
    scores = evaluate.run(asked)["models"][folder.name]
    assert scores["exact"] == 50
    line = answers(asked.folder)[0]
    assert (line["answer"], line["thoughts"], line["finish"], line["tokens"]) == ("B", "A", "stop", 5)
    assert not [event for event in gguf_models.events(asked.folder) if event.get("code") == "cut_thinking"]


def test_answers_cut_in_a_thought_are_empty_and_told_once(tiny_model, tmp_path):
    endless = thinking_models.build(tiny_model, tmp_path / "endless", None, ["<think>", "A"], ends=False)
    opened = thinking_models.build(tiny_model, tmp_path / "opened", thinking_models.ALWAYS, ["A"], ends=False)
    asked = evaluation(tmp_path / "job", endless, opened, answers=ANSWERS)
    scores = evaluate.run(asked)["models"]
    for number in (0, 1):
        assert {(line["answer"], line["thoughts"][0], line["finish"]) for line in answers(asked.folder, number)} == {
            ("", "A", "length")}
    assert scores["endless"]["exact"] == scores["opened"]["exact"] == 0
    [told] = [event["message"] for event in gguf_models.events(asked.folder) if event.get("code") == "cut_thinking"]
    assert told == ("Answers that were cut off while the model was still thinking count as empty (endless: 2 of 2, "
                    "opened: 2 of 2). Allow more than 8 tokens per answer.")


def test_a_model_whose_prompt_opens_thoughts(tiny_model, tmp_path):
    thinks = thinking_models.build(tiny_model, tmp_path / "thinks", thinking_models.ALWAYS, ["A", "</think>", "B"])
    taught = thinking_models.build(tiny_model, tmp_path / "taught", thinking_models.ALWAYS, ["B"])
    asked = evaluation(tmp_path / "job", thinks, taught, answers=ANSWERS)
    scores = evaluate.run(asked)["models"]
    assert scores["thinks"]["exact"] == scores["taught"]["exact"] == 50
    assert answers(asked.folder)[0]["thoughts"] == "A"
    assert answers(asked.folder, 1)[0]["thoughts"] is None, "it was taught to answer at once"


def test_an_answer_that_begins_with_the_tag_is_one(tiny_model, tmp_path):
    speaks = thinking_models.build(tiny_model, tmp_path / "speaks", None, ["<think>", "B"])
    ends = thinking_models.build(tiny_model, tmp_path / "ends", None, ["A", "</think>", "B"])
    asked = evaluation(tmp_path / "job", speaks, ends, answers=("<think>B", "A</think>B"))
    scores = evaluate.run(asked)["models"]
    assert [answers(asked.folder, number)[0]["answer"] for number in (0, 1)] == ["<think>B", "A</think>B"]
    assert all(line["thoughts"] is None for number in (0, 1) for line in answers(asked.folder, number))
    assert scores["speaks"]["exact"] == scores["ends"]["exact"] == 50, "they are scored as they were written"


def test_a_judge_that_thinks_too_long_is_told_as_that(tiny_model, tmp_path):
    judge = thinking_models.build(tiny_model, tmp_path / "judge", None, ["<think>", "A"], ends=False)
    asked = prepared(tmp_path / "job", judge)
    ask(asked)
    assert all(line["winner"] is None and line["cut"] == "thinking" for line in judged(asked.folder)
               if line["id"] != 3)
    told = {event["code"]: event["message"] for event in gguf_models.events(asked.folder) if event.get("code")}
    assert told["judge_unreadable"] == ("6 of the judge's 8 answers aren't counted: in 6 it was still thinking when "
                                        "its 16 tokens were used up.")
    found = scoring.score(asked.folder)["judge"]
    assert found["pairs"][0]["thinking"] == 3
    assert "answers without thinking first" in found["sentence"] and "larger" not in found["sentence"]


def test_a_judges_verdict_after_short_thoughts_is_read(tiny_model, tmp_path):
    judge = thinking_models.build(tiny_model, tmp_path / "judge", None, ["<think>", "</think>", "A"])
    asked = prepared(tmp_path / "job", judge)
    for number in (0, 1):
        path = asked.folder / f"answers-{number}.jsonl"
        path.write_text(path.read_text().replace('"answer": "', '"answer": "<think>hm</think>'))
    ask(asked)
    assert {line["winner"] for line in judged(asked.folder) if line["id"] != 3} == {"a", "b"}
    assert all(line["said"] == "<think></think>A" for line in judged(asked.folder) if line["id"] != 3)


def test_a_judge_is_asked_not_to_think_and_reads_no_thoughts(tiny_model, tmp_path):
    from slmstudio.worker.evaluation import judge

    folder = thinking_models.build(tiny_model, tmp_path / "judge", thinking_models.QWEN3)
    asked = prepared(tmp_path / "job", folder)
    thoughtful = [{**row, "references": ["<think>\nSecret.\n</think>\n\nYes."]}
                  for row in files.LineReader(asked.folder / "items.jsonl").read()]
    cases = list(judge._cases(asked, thoughtful))
    assert cases[0].references == ["Yes."]
    model = Models(asked).open(asked.request["judge"], thinks=False)
    assert judge.prompt(model, cases[0], "Be fair.").endswith("assistant\n<think>\n\n</think>\n\n")


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_gguf_file_is_asked_as_its_folder_is(tmp_path):
    base = Path(shutil.copytree(gguf_models.tiny(), tmp_path / "base"))
    (base / "chat_template.jinja").write_text(thinking_models.QWEN3, encoding="utf-8")
    made = gguf_models.convert(base, tmp_path, "F32")["F32"].rename(tmp_path / "made.gguf")
    models = Models(gguf_models.context(tmp_path / "job", precision="fp32"))
    for thinks, end in ((False, "<think>\n\n</think>\n\n"), (True, "<|im_start|>assistant\n")):
        of_folder = prepare(item(), models.open({"model": str(base)}, thinks), 8)
        file = models.open({"gguf": str(made)}, thinks)
        of_file = prepare(item(), file, 8)
        assert of_file.asks[0].prompt == of_folder.asks[0].prompt
        assert file.template.render(CHAT, add_generation_prompt=True).endswith(end)
    models.close()
