"""A judge's words are read, or counted as unreadable; each pair is asked in both orders, and nothing twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support import gguf_models

from slmstudio.core import files, i18n
from slmstudio.core.evaluation import scoring
from slmstudio.worker.answering.model_loader import Models
from slmstudio.worker.evaluation import judge

pytestmark = pytest.mark.usefixtures("studio_home")
ITEMS = [{"id": number, "line": number + 1, "kind": "free", "messages": [{"role": "user", "content": f"Q{number}?"}],
          "references": ["Yes."], "choices": None, "answer": None, "pattern": None, "category": None,
          "language": None, "trained_on": False} for number in range(5)]


def prepared(folder: Path, model: Path) -> Any:
    """A job whose two models have answered: row 3 alike, row 4 skipped by one."""
    job = gguf_models.context(folder, kind="evaluate", test="rows.jsonl", precision="fp32", max_new_tokens=8,
                              models=[{"name": "base"}, {"name": "tuned"}],
                              judge={"model": str(model), "gguf": None, "rubric": "Be fair."})
    (folder / "request.json").write_text(json.dumps(job.request))
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    for number, name in enumerate(("base", "tuned")):
        lines = [{"id": at, "answer": "the same" if at == 3 else f"{name} {at}", "tokens": 2, "seconds": 0.1,
                  "finish": "stop", "reference_nats": [1.0], "reference_tokens": [2], "choice_logprobs": None,
                  "skipped": "It is too long." if at == 4 and number else None} for at in range(5)]
        (folder / f"answers-{number}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return job


def judged(folder: Path) -> list[dict[str, Any]]:
    return list(files.LineReader(folder / "judge.jsonl").read())


def ask(job: Any) -> None:
    models = Models(job)
    judge.run(job, models, ITEMS)
    models.close()


def biased(model: Path, folder: Path, word: str) -> Path:
    """A model that says `word` and ends, whatever it reads: its head looks at nothing but the last token."""
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    shutil.copytree(model, folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    [line_break] = tokenizer.encode("\n", add_special_tokens=False)
    [token] = tokenizer.encode(word, add_special_tokens=False)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    network.config.tie_word_embeddings = False
    with torch.no_grad():
        for layer in network.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        network.lm_head.weight = torch.nn.Parameter(torch.zeros_like(network.lm_head.weight))
        table = network.model.embed_tokens.weight
        network.lm_head.weight[token] = 50 * table[line_break]
        network.lm_head.weight[tokenizer.eos_token_id] = 50 * table[token]
    network.save_pretrained(folder)
    return folder


def test_words_are_read_or_not():
    for said, wanted in (
            ("A", "a"), ("B.", "b"), ("**A**", "a"), ("Answer B is better", "b"), ("The better answer is A.", "a"),
            ("tie", "tie"), ("Tie!", "tie"), ("A\nbecause", "a"), ("A is better", "a"), ("A good question", None),
            ("Both", None), ("", None), ("B- and", None), ("ab", None), ("हाँ", None), ("Because A", None)):
        assert judge.winner(said, "ab") == wanted, said
    assert judge.winner("A", "ba") == "b" and judge.winner("B", "ba") == "a" and judge.winner("tie", "ba") == "tie"


def test_a_judge_that_always_says_a_changes_its_mind_with_the_order(tiny_model, tmp_path):
    job = prepared(tmp_path / "job", biased(tiny_model, tmp_path / "judge", "A"))
    ask(job)
    lines = judged(job.folder)
    assert len(lines) == 8 and all(line["a"] == "tuned" and line["b"] == "base" for line in lines)
    for line in lines:
        alike = line["id"] == 3
        assert line["winner"] == ("tie" if alike else "a" if line["order"] == "ab" else "b")
        assert line["said"] == ("" if alike else "A")
    [pair] = scoring.score(job.folder)["judge"]["pairs"]
    assert pair["rows"] == pair["ties"] == 4 and pair["changed_with_order"] == 3 and pair["first_shown"] == 100.0
    # Nobody is asked twice.
    before = (job.folder / "judge.jsonl").read_bytes()
    ask(job)
    assert (job.folder / "judge.jsonl").read_bytes() == before
    # Half a line of a killed judge is asked again, and nothing else.
    cut = before[:before.rindex(b'"winner"')]
    (job.folder / "judge.jsonl").write_bytes(cut)
    ask(job)
    again = judged(job.folder)
    assert sorted(map(json.dumps, again)) == sorted(map(json.dumps, lines))


def test_nonsense_is_counted_and_told_and_loses_nothing(tiny_model, tmp_path):
    job = prepared(tmp_path / "job", tiny_model)
    ask(job)
    lines = judged(job.folder)
    assert len(lines) == 8 and all(line["winner"] is None for line in lines if line["id"] != 3)
    told = [event for event in gguf_models.events(job.folder) if event.get("code") == "judge_unreadable"]
    assert told[0]["message"].startswith("6 of the judge's 8 answers aren't counted")
    assert len(told) == 1
    scores = scoring.score(job.folder)
    assert scores["judge"]["pairs"][0]["unreadable"] == 6
    assert "gave no usable verdict for 3 of 4 rows; don't rely on it" in scores["judge"]["sentence"]
    assert scores["models"][0]["scores"]["chrf"]["rows"] == 5


def test_what_is_longer_than_the_judges_context_is_not_held_against_its_answers(tiny_model, tmp_path):
    job = prepared(tmp_path / "job", tiny_model)
    path = job.folder / "answers-1.jsonl"
    lines = list(files.LineReader(path).read())
    lines[1]["answer"] = "a long answer " * 400
    path.write_bytes(b"".join(map(files.dump_line, lines)))
    ask(job)
    assert {line["id"] for line in judged(job.folder) if line.get("skipped") == "too long"} == {1}
    told = {event["code"]: event["message"] for event in gguf_models.events(job.folder) if event.get("code")}
    assert told["judge_unreadable"].startswith("4 of the judge's 6 answers aren't counted")
    [pair] = scoring.score(job.folder)["judge"]["pairs"]
    assert (pair["too_long"], pair["without_verdict"], pair["unreadable"]) == (1, 2, 4)


@pytest.mark.parametrize("rubric", ["", "Prefer short answers."])
def test_the_judge_reads_rubric_question_reference_and_both_answers(tiny_model, rubric):
    from slmstudio.worker.answering import model_loader
    from slmstudio.worker.answering.torch_model import TorchModel

    model = TorchModel(model_loader.load(tiny_model, torch.float32), tiny_model, 2**28)
    case = judge.Case({"id": 0, "order": "ab", "a": "x", "b": "y"}, ITEMS[0]["messages"], ["Yes."], "Hm.", "हाँ")
    text = judge.prompt(model, case, rubric)
    i18n.use("hi")
    assert judge.prompt(model, case, rubric) == text, "what a model is asked depends on no person's language"
    assert f"{rubric}\n\nQuestion:\nQ0?\n\nA good answer:\nYes.\n\nAnswer A:\nHm.\n\nAnswer B:\nहाँ\n\n" in text
    assert text.endswith("<|im_start|>assistant\n")
