"""Rivals of a tuned model: the same weights asked in other ways, with the rows that it learned, and what that costs."""

from __future__ import annotations

import json
from typing import Any

from support import gguf_models
from support.evaluation_jobs import asked
from worker.evaluation.test_evaluate import opened

from slmstudio.core import files
from slmstudio.core.evaluation import rival_models
from slmstudio.worker.answering.model_loader import Models
from slmstudio.worker.answering.rows import prepare
from slmstudio.worker.evaluation import evaluate

ANSWERS = ("At nine.", "120 rupees.", "No.", "Yes.")


def request_of(tmp_path: Any, base: Any, adapter: Any = None) -> Any:
    rows = tmp_path / "train.jsonl"
    rows.write_text("".join(json.dumps({"question": text, "answer": answer}) + "\n" for text, answer in (
        ("Question 0?", "At ten."), ("Question 7?", "Never."), ("Where is it?", "Here."))))
    models = [{"name": "base", "model": str(base)}]
    models += [{"name": "tuned", "model": str(base), "adapter": str(adapter)}] if adapter else []
    names = rival_models.NAMES if adapter else rival_models.NAMES[:3]
    job = asked(tmp_path / "job", base, answers=ANSWERS, train_file=str(rows),
                models=rival_models.added(models, names, "Answer briefly."))
    return job


def test_rivals_are_asked_with_their_prompt_and_rows_and_compared(tiny_model, tmp_path, monkeypatch):
    loaded = []
    open_ = Models.open
    monkeypatch.setattr(Models, "open", lambda self, spec, *more: loaded.append(spec["name"]) or open_(
        self, spec, *more))
    job = request_of(tmp_path, tiny_model, gguf_models.adapter_on(tiny_model, tmp_path / "adapter"))
    evaluate.run(job)

    assert loaded == ["base", "tuned"]  # the same weights are loaded once
    context = list(files.LineReader(job.folder / rival_models.ROWS).read())
    assert [row["messages"][0]["content"] for row in context] == ["Question 0?", "Question 7?", "Where is it?"]
    answers = {spec["name"]: list(files.LineReader(job.folder / f"answers-{number}.jsonl").read())
               for number, spec in enumerate(job.request["models"])}
    by_id = {name: {line["id"]: line for line in lines} for name, lines in answers.items()}
    model, item = opened(tiny_model), next(files.LineReader(job.folder / "items.jsonl").read())
    prompt = prepare({**item, "messages": [{"role": "system", "content": "Answer briefly."}, *item["messages"]]},
                     model, 8).asks[0].prompt
    assert by_id["prompt"][0]["prompt_tokens"] == len(prompt)
    # Of three rows one asks the first question itself; all others have all three to choose from.
    assert [by_id["examples"][at]["context_rows"] for at in range(4)] == [2, 3, 3, 3]
    assert [by_id["examples"][at]["context_same"] for at in range(4)] == [1, 0, 0, 0]

    found = files.read_json(job.folder / "scores.json")
    assert found is not None
    table = {line["rival"]: line for line in found["rivals"]["table"]}
    assert list(table) == ["base", "tuned", *rival_models.NAMES]
    assert table["base"]["prompt_tokens"] < table["prompt"]["prompt_tokens"] < table["examples"]["prompt_tokens"]
    assert all(line["seconds"] > 0 and line["memory_bytes"] > 2**20 for line in table.values())
    assert [each["with"] for each in found["rivals"]["comparisons"]] == ["base", *rival_models.NAMES]
    assert found["rivals"]["case"] in ("too_few_rows", "leak")
    assert [each["of"] for each in found["comparisons"] if each["main"]] == ["tuned"]


def test_a_trial_without_a_tuned_model_and_with_rows_read_once(tiny_model, tmp_path):
    job = request_of(tmp_path, tiny_model)
    (job.folder / rival_models.ROWS).write_bytes(files.dump_line({"messages": [
        {"role": "user", "content": "Mine?"}, {"role": "assistant", "content": "Yours."}]}))
    evaluate.run(job)
    found = files.read_json(job.folder / "scores.json")
    assert found is not None and found["rivals"]["case"] == "without_training"
    assert {line["context_rows"] for line in found["rivals"]["table"]} == {0, 1}
