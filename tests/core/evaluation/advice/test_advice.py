"""What a run came to and what to try next: the table of cases, and that files of a real run lead to it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support import evaluated_runs

from slmstudio.core import files
from slmstudio.core.evaluation import advice
from slmstudio.core.evaluation.advice import curve, evidence
from slmstudio.core.evaluation.advice.evidence import Compared, Evidence
from slmstudio.core.evaluation.advice.headline import caveat, headline
from slmstudio.core.evaluation.advice.proposals import propose
from slmstudio.core.run.config import RunConfig
from slmstudio.core.run.history import RunHistory

BETTER = Compared("chrf", 52.0, 13.5, "better", 48)
A_LITTLE = Compared("chrf", 15.1, 13.5, "better", 400)
WORSE = Compared("chrf", 9.0, 13.5, "worse", 48)
OPEN = Compared("chrf", 14.0, 13.5, "unknown", 48, rows_needed=730)
RIGHT = Compared("accuracy", 62.0, 41.0, "better", 100)
WRONG = Compared("numeric", 20.0, 41.0, "worse", 100)
FALLING = ((0, 3.0), (20, 2.0), (40, 1.6), (60, 1.4))
SETTLED = ((0, 3.0), (20, 1.5), (40, 1.41), (60, 1.40))
TURNED = ((0, 3.0), (20, 1.4), (40, 1.6), (60, 1.9))
RISING = ((0, 2.0), (20, 2.1), (40, 2.3), (60, 2.4))
UNMOVED = ((0, 2.0), (20, 1.995), (40, 1.99), (60, 1.99))
BROKEN = ((0, 2.0), (20, 4.0), (40, 7.0), (60, float("nan")))
RUN = Evidence(compared=BETTER, exact=(30, 48), train_rows=800, epochs=3.0, best_epoch=3.0, losses=SETTLED,
               learning_rate=2e-4, parameters=500_000_000, max_new_tokens=128)

CLOSER, FURTHER = "Its answers are clearly closer", "Its answers are further from yours"
CASES = {
    "better, nothing left to gain from steps": (RUN, CLOSER, "", "chat"),
    "better, but no answer is right": (replace(RUN, exact=(0, 48)), CLOSER,
                                       "Closer doesn't mean correct: 0 of 48", "chat"),
    "better, and still learning": (replace(RUN, losses=FALLING), CLOSER, "", "train"),
    "a little better": (replace(RUN, compared=A_LITTLE), "Its answers are a little closer", "", "chat"),
    "right more often": (replace(RUN, compared=RIGHT), "It's right more often: 62 of 100 answers instead of 41.", "",
                         "chat"),
    "better, and overfitted": (replace(RUN, losses=TURNED, best_epoch=1.0), CLOSER, "", "again"),
    "better, from few rows": (replace(RUN, train_rows=40), CLOSER, "", "rows"),
    "better, but forgot": (replace(RUN, forgotten="MMLU"), CLOSER, "But it got worse at general", "strength"),
    "better, but worse in a category": (replace(RUN, weakest="forms"), CLOSER, "But it got worse at “forms”",
                                        "chat"),
    "underfitted": (replace(RUN, compared=OPEN, losses=FALLING, epochs=1.0), "48 rows can't show", "", "train"),
    "too small a test set": (replace(RUN, compared=OPEN), "48 rows can't show", "", "other_test"),
    "nothing moved": (replace(RUN, compared=replace(OPEN, rows_needed=None), losses=UNMOVED), "48 rows can't show", "",
                      "again"),
    "the same answers": (replace(RUN, compared=replace(OPEN, same=True, rows_needed=None), losses=UNMOVED),
                         "It answers exactly as it did", "", "again"),
    "no difference, all settled": (replace(RUN, compared=replace(OPEN, rows_needed=90_000)), "48 rows can't show", "",
                                   "model"),
    "worse, and overfitted": (replace(RUN, compared=WORSE, losses=TURNED, best_epoch=1.0), FURTHER,
                              "", "again"),
    "worse, overfitted on few rows": (replace(RUN, compared=WORSE, losses=TURNED, best_epoch=1.0, train_rows=30),
                                      FURTHER, "", "rows"),
    "worse from the first step": (replace(RUN, compared=WORSE, losses=RISING), FURTHER, "",
                                  "again"),
    "worse though it learned": (replace(RUN, compared=WORSE), FURTHER, "", "answers"),
    "right less often": (replace(RUN, compared=WRONG), "It's right less often: 20 of 100 answers instead of 41.", "",
                         "answers"),
    "a leaking test set": (replace(RUN, learned=40), "It was trained on 40 of the 48 test rows", "", "other_test"),
    "an end that isn't learned": (replace(RUN, cut=44, base_cut=3), "Most answers don't end: 44 of 48", "", "template"),
    "answers cut off in both": (replace(RUN, cut=40, base_cut=41), CLOSER, "", "evaluate"),
    "a broken model": (replace(RUN, compared=WORSE, losses=BROKEN), "Training broke the model", "", "again"),
    "broken, not evaluated": (replace(RUN, compared=None, losses=BROKEN), "Training broke the model", "", "again"),
    "not evaluated": (replace(RUN, compared=None), "Nothing has been compared yet", "", "evaluate"),
    "nothing known": (Evidence(), "Nothing has been compared yet", "", "evaluate"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_sentence_and_the_first_proposal(case):
    found, begins, honest, action = CASES[case]
    assert headline(found)[0].startswith(begins)
    assert caveat(found).startswith(honest) and bool(caveat(found)) == bool(honest)
    made = propose(found)
    assert made[0].action == action
    assert len(made) <= 3 and len({(each.action, *each.changes) for each in made}) == len(made)
    assert all(each.reason.endswith(".") and each.text for each in made)


@pytest.mark.parametrize(("found", "tone"), [
    (RUN, "ok"), (replace(RUN, compared=WORSE), "bad"), (replace(RUN, compared=OPEN), "warn"),
    (replace(RUN, learned=40), "warn"), (replace(RUN, cut=44, base_cut=3), "bad"),
    (replace(RUN, losses=BROKEN), "bad"), (replace(RUN, compared=replace(OPEN, same=True)), "warn"), (Evidence(), "")])
def test_the_colour_is_that_of_the_sentence_and_not_of_the_score(found, tone):
    assert headline(found)[1] == tone


@pytest.mark.parametrize(("metric", "verdict", "sentence"), [
    ("perplexity", "better", "It's better by perplexity."), ("perplexity", "worse", "It's worse by perplexity."),
    ("meteor", "better", "It's better by meteor."), ("meteor", "worse", "It's worse by meteor.")])
def test_a_score_that_counts_no_answers_or_that_nobody_knows_is_named(metric, verdict, sentence):
    scores = {"models": [{"name": name, "scores": {metric: {"value": value}}} for name, value in
                         (("base", 9.0), ("tuned", 7.0))],
              "comparisons": [{"of": "tuned", "with": "base", "metric": metric, "main": True, "verdict": verdict,
                               "rows": 48}]}
    found = evidence.gather(RunConfig(name="a", model="m", train_file="t"), RunHistory(), scores)
    assert headline(found)[0].lower() == sentence.lower()


def test_a_base_of_unknown_size_is_not_called_small():
    assert "model" not in {each.action for each in propose(replace(RUN, losses=SETTLED, parameters=0))}
    assert "model" in {each.action for each in propose(RUN)}


@pytest.mark.parametrize("told", [
    {"same": True, "sentence": "The answers are the same. By its loss, better: 1.2 against 1.4."},
    {"sentence": "The answers are the same. By its loss, better: 1.2 against 1.4."}])
def test_the_same_answers_are_known_whatever_else_the_sentence_says(told):
    scores = {"models": [{"name": name, "scores": {"chrf": {"value": 20.0}}} for name in ("base", "tuned")],
              "comparisons": [{"of": "tuned", "with": "base", "metric": "chrf", "main": True, "verdict": "unknown",
                               "rows": 48, **told}]}
    found = evidence.gather(RunConfig(name="a", model="m", train_file="t"), RunHistory(), scores)
    assert headline(found)[0] == "It answers exactly as it did before training."


@pytest.mark.parametrize(("losses", "expected"), [
    ((), curve.UNKNOWN), (((0, 2.0),), curve.UNKNOWN), (((0, 2.0), (9, 1.0)), curve.UNKNOWN),
    (((20, 2.0), (40, 1.0)), curve.UNKNOWN), (FALLING, curve.FALLING), (SETTLED, curve.SETTLED), (TURNED, curve.TURNED),
    (RISING, curve.RISING), (UNMOVED, curve.UNMOVED), (BROKEN, curve.BROKEN), (((0, 2.0), (9, 3.1)), curve.BROKEN),
    (((0, float("nan")), (9, 1.0), (18, 1.0)), curve.UNKNOWN)])
def test_shapes_of_curves(losses, expected):
    assert curve.shape(losses) == expected


def test_a_proposal_holds_what_it_sets():
    assert propose(replace(RUN, losses=FALLING))[0].changes == {"epochs": 3.0}
    assert "1.60 → 1.40" in propose(replace(RUN, losses=FALLING))[0].reason
    assert propose(replace(RUN, losses=TURNED, best_epoch=0.9))[0].changes == {"epochs": 1.0}
    assert propose(replace(RUN, compared=WORSE, losses=RISING))[0].changes == {"learning_rate": 7e-5}
    assert propose(replace(RUN, cut=40, base_cut=41))[0].changes == {"max_new_tokens": 256}


def test_it_is_read_from_the_files_of_a_run(tmp_path, studio_home, tiny_model):
    run = evaluated_runs.ended_run("forms", tiny_model)
    job = evaluated_runs.write(run)
    said = advice.of_run(run, files.read_json(job.folder / "scores.json"), job.request())
    assert said is not None
    found = said.evidence
    assert found.compared is not None
    assert (found.compared.metric, found.compared.verdict, found.compared.rows) == ("chrf", "better", 24)
    assert found.losses == ((0, 2.0), (20, 1.5), (40, 1.2))
    assert found.exact is not None and found.exact[1] == 24
    assert said.headline == "Its answers are clearly closer to yours than before training."
    assert said.proposals[0].action == "train"
    assert advice.of_run(tmp_path, {}, {}) is None


@pytest.mark.parametrize("damage", [
    {}, {"models": 3}, {"models": [3], "comparisons": [{}]}, {"comparisons": [{"main": True, "of": "tuned"}]},
    {"test": [], "benchmarks": {"a": 1}, "group_comparisons": [1]},
    {"models": [{"name": "tuned", "scores": {"normalised": {"value": None, "rows": "x"}}, "speed": 1}]}])
def test_damaged_scores_are_scores_that_nobody_knows(damage):
    found = evidence.gather(RunConfig(name="a", model="m", train_file="t"), RunHistory(), damage)
    assert found.compared is None and headline(found)[0].startswith("Nothing has been compared yet")
    json.dumps([each.changes for each in propose(found)])
