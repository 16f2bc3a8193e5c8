"""Evaluations of models that think, killed and paused: the same answers, thoughts and scores as without."""

from __future__ import annotations

import pytest
from process.test_evaluation import ROWS, Workers, answers, count, event_types, new_job, posix, scores, until
from support import thinking_models

from slmstudio.core import files


@pytest.mark.full
@posix
@pytest.mark.timeout(300)
def test_kills_and_pauses_change_no_thought_and_no_score(tiny_model, tmp_path, studio_home):
    thinks = thinking_models.build(tiny_model, tmp_path / "thinks", None, ["<think>", "A", "</think>", "B"])
    endless = thinking_models.build(tiny_model, tmp_path / "endless", thinking_models.ALWAYS, ["A"], ends=False)
    models = [{"name": each.name, "model": str(each), "adapter": None, "gguf": None} for each in (thinks, endless)]
    workers = Workers()
    whole, broken = (new_job(tmp_path / name, tiny_model, models=models) for name in ("whole", "broken"))
    assert workers.finish(whole).state == "finished"
    first, second = answers(whole)
    assert len(first) == len(second) == ROWS
    assert {(line["answer"], line["thoughts"]) for line in first} == {("B", "A")}
    assert {(line["answer"], line["finish"]) for line in second} == {("", "length")}

    for wanted in (1, 9, 25):
        process = workers.start(broken)
        until(lambda wanted=wanted, process=process: count(broken) >= wanted or not process.is_alive())
        process.kill()
        process.join()
    process = workers.start(broken)
    broken.send("pause")
    until(lambda: "paused" in event_types(broken) or not process.is_alive())
    broken.send("resume")
    process.join()
    outcome = broken.outcome()
    assert outcome is not None and outcome.state == "finished"
    assert answers(broken) == answers(whole)
    assert scores(broken) == scores(whole)
    for job in (whole, broken):
        assert [event["message"] for event in job.events() if event.get("code") == "cut_thinking"] == [
            f"Answers that were cut off while the model was still thinking count as empty (endless: {ROWS} of "
            f"{ROWS}). Allow more than 40 tokens per answer."]
        assert files.read_json(job.folder / "items.json") == {
            "sha256": files.sha256_of(tmp_path / "test.jsonl"), "rows": ROWS, "thinks": False}
