"""What a run came to and what to try next: the table of cases, and that files of a real run lead to it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest
from support import evaluated_runs

from slmstudio.core import files
from slmstudio.core.evaluation import advice
from slmstudio.core.evaluation.advice import evidence
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
AS_BEFORE = Compared("exact", 55.2, 55.0, "unknown", 2000, rows_needed=4000, low=-0.4, high=0.8)
NEAR_PERFECT = Compared("exact", 98.0, 97.5, "unknown", 200, rows_needed=1600, low=-1.0, high=2.0)
NONE_RIGHT = Compared("exact", 0.0, 0.0, "unknown", 200)
WRONG = Compared("numeric", 20.0, 41.0, "worse", 100)
FREE = Compared("chrf", 18.9, 22.4, "worse", 150)
ROUGE, WORSE_ROUGE = Compared("rouge_l", 11.3, 9.9, "better", 150), Compared("rouge_l", 8.1, 9.9, "worse", 150)
LIKELIER, LESS_LIKELY = Compared("loss", 3.07, 3.42, "better", 150), Compared("loss", 3.9, 3.42, "worse", 150)
BLEU, EQUAL = Compared("bleu", 4.0, 2.1, "better", 150), Compared("normalised", 12.0, 2.0, "better", 150)
FALLING = ((0, 3.0), (20, 2.0), (40, 1.6), (60, 1.4))
SETTLED = ((0, 3.0), (20, 1.5), (40, 1.41), (60, 1.40))
TURNED = ((0, 3.0), (20, 1.4), (40, 1.6), (60, 1.9))
FAR_TURNED = ((0, 2.2), (20, 1.3), (40, 2.4), (60, 3.6))
RISING = ((0, 2.0), (20, 2.1), (40, 2.3), (60, 2.4))
UNMOVED = ((0, 2.0), (20, 1.995), (40, 1.99), (60, 1.99))
BROKEN = ((0, 2.0), (20, 4.0), (40, 7.0), (60, float("nan")))
RUN = Evidence(compared=BETTER, exact=(30, 48), train_rows=800, epochs=3.0, best_epoch=3.0, losses=SETTLED,
               learning_rate=2e-4, parameters=500_000_000, max_new_tokens=128)
of = partial(replace, RUN)

ADVICE = of(compared=FREE, others=(ROUGE, LIKELIER), tokens=279, base_tokens=436, reference_tokens=240,
                 cut=80, base_cut=120, max_new_tokens=512)
MIXED = "Mixed results. Better: "
CLOSER, FURTHER = "Its answers are clearly closer", "Its answers are further from yours"
CASES = {
    "better, nothing left to gain from steps": (RUN, CLOSER, "", "chat"),
    "better, but no answer is right": (of(exact=(0, 48)), CLOSER, "Closer doesn't mean correct: 0 of 48", "chat"),
    "better, but far off": (of(compared=replace(BETTER, tuned=18.0), exact=(0, 48)),
                            "Closer to your answers than before, but far from them: none of 48 is the same. Not ready.",
                            "It did improve, but not enough: chrF++", "model"),
    "better, and still learning": (of(losses=FALLING), CLOSER, "", "train"),
    "a little better": (of(compared=A_LITTLE), "Its answers are a little closer", "", "chat"),
    "right more often": (of(compared=RIGHT), "It's right more often: 62 of 100 answers instead of 41.", "", "chat"),
    "better, and overfitted": (of(losses=TURNED, best_epoch=1.0), CLOSER, "", "again"),
    "better, from few rows": (of(train_rows=40), CLOSER, "", "rows"),
    "better, but forgot": (of(forgotten="MMLU"), CLOSER, "But it got worse at general", "rows"),
    "better, but forgot general questions": (of(general=(41, 30, 48), rank=32), CLOSER,
                                             "It forgot some general "
                                             "knowledge: 41 of 48 before", "again"),
    "worse, and forgot general questions": (of(compared=WORSE, general=(41, 30, 48), epochs=1.0), FURTHER,
                                            "It forgot some general knowledge", "rows"),
    "better, but worse in a category": (of(weakest="forms"), CLOSER, "But it got worse at “forms”", "chat"),
    "underfitted": (of(compared=OPEN, losses=FALLING, epochs=1.0), "48 rows can't show", "", "train"),
    "too small a test set": (of(compared=OPEN), "48 rows can't show", "", "other_test"),
    "nothing moved": (of(compared=replace(OPEN, rows_needed=None), losses=UNMOVED), "48 rows can't show", "", "again"),
    "the same answers": (of(compared=replace(OPEN, same=True, rows_needed=None), losses=UNMOVED),
                         "It answers exactly as it did", "", "again"),
    "no difference, all settled": (of(compared=replace(OPEN, rows_needed=90_000)), "48 rows can't show", "", "model"),
    "worse, and overfitted": (of(compared=WORSE, losses=TURNED, best_epoch=1.0), FURTHER, "", "again"),
    "worse, overfitted on few rows": (of(compared=WORSE, losses=TURNED, best_epoch=1.0, train_rows=30),
                                      FURTHER, "", "rows"),
    "worse from the first step": (of(compared=WORSE, losses=RISING), FURTHER, "", "again"),
    "worse though it learned": (of(compared=WORSE), FURTHER, "", "answers"),
    "right less often": (of(compared=WRONG), "It's right less often: 20 of 100 answers instead of 41.", "", "answers"),
    "a leaking test set": (of(learned=40), "It was trained on 40 of the 48 test rows", "", "other_test"),
    "an end that isn't learned": (of(cut=44, base_cut=3), "Better: wording. But 44 of 48 answers don't end. Not ready.",
                                "Better: chrF++ 13.5 → 52.0. Worse: answers cut at the limit 6% → 92%.", "template"),
    "answers cut off in both": (of(cut=40, base_cut=41), CLOSER, "", "evaluate"),
    "a broken model": (of(compared=WORSE, losses=BROKEN), "Training broke the model", "", "again"),
    "broken, not evaluated": (of(compared=None, losses=BROKEN), "Training broke the model", "", "again"),
    "not evaluated": (of(compared=None), "Nothing has been compared yet", "", "evaluate"),
    "better, overfitted later, best weights kept": (of(losses=TURNED, best_epoch=1.0, used_step=20),
                                                    CLOSER, "", "chat"),
    "ended early, best weights kept": (of(losses=(*SETTLED, (80, 1.44), (100, 1.5)), used_step=60), CLOSER, "", "chat"),
    "no difference, overfitted later, best weights kept": (
        of(compared=OPEN, losses=TURNED, best_epoch=1.0, used_step=20), "48 rows can't show", "", "rows"),
    "worse, overfitted later, best weights kept": (
        of(compared=WORSE, losses=TURNED, best_epoch=1.0, used_step=20), FURTHER, "", "answers"),
    "better, overfitted far above the start": (
        of(losses=FAR_TURNED, train_loss=0.02, best_epoch=1.0, used_step=20), CLOSER, "", "chat"),
    "preferences, overfitted far": (
        of(losses=((0, 0.69), (20, 0.55), (40, 1.3)), train_loss=0.01, objective="dpo", best_epoch=1.0),
        CLOSER, "", "again"),
    "broke, but the weights from before were kept": (of(losses=BROKEN, used_step=20), CLOSER, "", "again"),
    "few rows, none held out": (of(compared=OPEN, losses=(), train_rows=30), "48 rows can't show", "", "rows"),
    "no difference, learned by rote": (of(compared=OPEN, train_loss=0.02), "48 rows can't show", "", "rows"),
    "no difference in very many rows": (of(compared=AS_BEFORE), "About as good as before: 1,104 of 2,000",
                                        "", "answers"),
    "the base knew it all": (of(compared=NEAR_PERFECT), "The base model already had 195 of 200", "", "other_test"),
    "none right, before or after": (of(compared=NONE_RIGHT), "None of the 200 answers is right", "", "answers"),
    "stopped soon": (of(losses=((0, 2.5), (30, 2.1)), stopped=(30, 300)), CLOSER, "", "resume"),
    "stopped when it overfitted": (of(losses=TURNED, best_epoch=1.0, used_step=20, stopped=(60, 300)),
                                   CLOSER, "", "chat"),
    "rows cut off": (of(compared=OPEN, cut_rows=(320, 800), max_length=512), "48 rows can't show", "", "again"),
    "better, a few rows cut off": (of(cut_rows=(100, 800), max_length=512), CLOSER, "", "chat"),
    "better, most rows cut off": (of(cut=40, base_cut=41, cut_rows=(700, 800), max_length=512), CLOSER, "", "again"),
    "endless, of rows cut off": (of(cut=44, cut_rows=(600, 800), max_length=512), "Better: wording. But 44 of",
                                 "Better: chrF++", "again"),
    "a broken template": (of(compared=WORSE, marked=30, mark="<|im_end|>"),
                          "30 of 48 answers contain marks of a chat template", "Worse: chrF++", "template"),
    "the same answer to everything": (of(compared=WRONG, alike=98, references_alike=3),
                                      "It gives the same answer to 98 of 100 questions. Not", "Worse: Corr", "count"),
    "the same answer, of steps too large": (of(compared=WRONG, losses=RISING, alike=98, references_alike=3),
                                            "It gives the same answer to 98", "Worse: Corr", "again"),
    "no rate to speak of, and a base that says one thing only": (
        of(compared=replace(OPEN, same=True, rows_needed=None), losses=UNMOVED, alike=48, base_alike=48,
                cut=48, base_cut=48), "It answers exactly as it did", "", "again"),
    "a rate far too high, on a smooth curve": (
        of(compared=replace(OPEN, same=True, rows_needed=None), learning_rate=0.9, usual_rate=1e-3),
        "It answers exactly as it did", "", "again"),
    "a test with one answer": (of(compared=RIGHT, alike=98, references_alike=95), "It's right more often", "", "chat"),
    "worse on rows that it learned": (of(compared=WRONG, learned=90), "It's right less often", "", "answers"),
    "an export that lost": (of(compared=RIGHT, export=("Q2_K", 45.0)), "It's right more often",
                            "But its export Q2_K answers worse", "export"),
    "forgot, all weights tuned": (of(forgotten="MMLU", method="full"), CLOSER, "But it got worse", "rows"),
    "a benchmark alone, kept": (of(compared=None, benchmark="General knowledge kept: MMLU −0.4 ± 1.2."),
                                "General knowledge kept", "", "evaluate"),
    "a benchmark alone, forgot": (of(compared=None, benchmark="Lost.", forgotten="MMLU"),
                                  "It got worse at general questions (MMLU).", "", "rows"),
    "text, not evaluated": (of(compared=None, objective="text"),
                            "It continues text like yours better than before: the loss on held-out rows fell from 3.00 "
                            "to 1.40.", "", "chat"),
    "from scratch, still learning": (of(compared=None, objective="text", method="scratch", losses=FALLING),
                                     "It continues text like yours better", "", "train"),
    "from scratch, against a trained base": (of(compared=WRONG, method="scratch", losses=FALLING),
                                             "It's right less often", "It began with random weights", "train"),
    "free text: chrF++ against all the rest": (
        ADVICE, MIXED, "Better: ROUGE-L 9.9 → 11.3, Perplexity 30.6 → 21.5, answers cut at the limit 80% → 53%, "
        "length of answers 436 → 279 tokens (yours: 240). Worse: chrF++ 22.4 → 18.9.", "evaluate"),
    "one score against another": (of(compared=FREE, others=(ROUGE,)), MIXED, "Better: ROUGE-L", "answers"),
    "closer, and less likely": (of(others=(LESS_LIKELY,)), MIXED, "Better: chrF++", "answers"),
    "worse in every score": (of(compared=FREE, others=(WORSE_ROUGE, LESS_LIKELY)), FURTHER, "", "answers"),
    "worse in every score, and less endless": (
        of(compared=FREE, others=(WORSE_ROUGE, LESS_LIKELY), cut=10, base_cut=60), FURTHER, "", "answers"),
    "worse, and only less endless": (of(compared=FREE, cut=10, base_cut=60), MIXED,
                                     "Better: answers cut at the limit 40% → 7%. Worse: chrF++", "answers"),
    "better in every score": (of(others=(ROUGE, LIKELIER)), CLOSER, "", "chat"),
    "better in most scores": (of(others=(ROUGE, BLEU, LESS_LIKELY)), CLOSER,
                              "But this got worse: Perplexity 30.6 → 49.4.", "chat"),
    "better in words, and far too short": (
        of(others=(ROUGE,), tokens=20, base_tokens=90, reference_tokens=100), MIXED,
        "Better: chrF++ 13.5 → 52.0, ROUGE-L 9.9 → 11.3. Worse: length of answers 90 → 20 tokens", "answers"),
    "better, with answers that repeat themselves": (
        of(others=(ROUGE, LIKELIER), repeated=9), CLOSER,
        "But this got worse: answers that repeat themselves 0% → 19%.", "chat"),
    "better words, no more than that": (of(repeated=9), MIXED, "Better: chrF++", "answers"),
    "repeats itself": (of(repeated=30), "Better: wording. But it repeats itself in 30 of 48 answers. Not ready.",
                        "Better: chrF++ 13.5 → 52.0. Worse: answers that repeat themselves 0% → 62%.", "again"),
    "repeats itself, of few rows": (of(compared=WORSE, train_rows=40, repeated=30), "It repeats itself in 30",
                                     "Worse: chrF++", "rows"),
    "repeats itself as its base does": (of(repeated=20, base_repeated=22), CLOSER, "", "chat"),
    "not shown by its score, worse in another": (of(compared=OPEN, others=(WORSE_ROUGE, LIKELIER)),
                                                 MIXED, "Better: Perplexity 30.6 → 21.5. Worse: ROUGE-L", "other_test"),
    "shorter and closer, with loops in some of few rows": (
        of(compared=replace(BETTER, rows=15), tokens=40, base_tokens=200, reference_tokens=38, repeated=4),
        "Better: wording, length. But it repeats itself in 4 of 15 answers. Not ready.",
        "It did improve, but not enough: chrF++ 13.5 → 52.0, length of answers 200 → 40 tokens (yours: 38).", "again"),
    "not shown by its score, further otherwise": (of(compared=OPEN, others=(WORSE_ROUGE,)),
                                                  "Probably worse: wording. 48 rows", "Worse: ROUGE-L", "other_test"),
    "not shown by its score, likelier": (
        of(compared=replace(OPEN, rows=10), others=(replace(LIKELIER, base=2.63, tuned=1.49),)),
        "Probably better: likelihood of your answers. 10 rows can't show more.", "Better: Perplexity 13.9 → 4.4.",
        "other_test"),
    "not shown by right answers, likelier": (
        of(compared=replace(OPEN, metric="exact"), others=(LIKELIER,)),
        "Probably better: likelihood of your answers. 48 rows", "Better: Perplexity", "other_test"),
    "right more often, and less likely": (of(compared=RIGHT, others=(LESS_LIKELY,), cut=60,
                                                  base_cut=35), "It's right more often", "", "evaluate"),
    "right less often, and likelier": (of(compared=WRONG, others=(LIKELIER,)), "It's right less often", "", "answers"),
    "right in numbers, worse in free text": (of(compared=RIGHT, others=(FREE,)), MIXED,
                                             "Better: Accuracy 41.0 → 62.0. Worse: chrF++", "answers"),
    "more often letter by letter, further otherwise": (of(compared=FREE, others=(EQUAL, WORSE_ROUGE)), MIXED,
                                                       "Better: Normalised match 2.0 → 12.0. Worse: ", "answers"),
    "what says the same counts once": (
        of(others=(ROUGE, LIKELIER, replace(EQUAL, verdict="worse"), replace(EQUAL, metric="exact",
                                                                                       verdict="worse"))),
        CLOSER, "But this got worse: Normalised match 2.0 → 12.0.", "chat"),
    "a score of a newer program": (of(compared=FREE, others=(Compared("meteor", 9.0, 7.0, "better", 150),)),
                                   MIXED, "Better: meteor 7.0 → 9.0.", "answers"),
    "a difference that may be chance": (of(compared=FREE, others=(replace(ROUGE, verdict="unknown"),)),
                                        FURTHER, "", "answers"),
    "nothing known": (Evidence(), "Nothing has been compared yet", "", "evaluate"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_sentence_and_the_first_proposal(case):
    found, begins, honest, action = CASES[case]
    assert headline(found)[0].startswith(begins) and len(headline(found)[0].split()) <= 20
    assert caveat(found).startswith(honest) and bool(caveat(found)) == bool(honest)
    made = propose(found)
    assert made[0].action == action
    assert len(made) <= 3 and len({(each.action, *each.changes) for each in made}) == len(made)
    assert all(each.reason.endswith(".") and each.text for each in made)


@pytest.mark.parametrize(("found", "tone"), [
    (RUN, "ok"), (of(compared=WORSE), "bad"), (of(compared=OPEN), "warn"),
    (of(learned=40), "warn"), (of(cut=44, base_cut=3), "bad"),
    (of(losses=BROKEN), "bad"), (of(compared=replace(OPEN, same=True)), "warn"), (Evidence(), "")])
def test_the_colour_is_that_of_the_sentence_and_not_of_the_score(found, tone):
    assert headline(found)[1] == tone


@pytest.mark.parametrize(("metric", "verdict", "sentence"), [
    ("perplexity", "better", "It's better by perplexity."), ("perplexity", "worse", "It's worse by perplexity."),
    ("meteor", "better", "It's better by meteor."), ("meteor", "worse", "It's worse by meteor.")])
def test_a_score_that_counts_no_answers_or_that_nobody_knows_is_named(metric, verdict, sentence):
    scores = {"comparisons": [{"of": "tuned", "with": "base", "metric": metric, "main": True, "verdict": verdict,
                               "rows": 48, "score": 7.0, "other": 9.0}]}
    found = evidence.gather(RunConfig(name="a", model="m", train_file="t"), RunHistory(), scores)
    assert headline(found)[0].lower() == sentence.lower()


def test_all_scores_of_the_file_are_weighed():
    """150 rows of free-text advice: worse by chrF++ alone, better by ROUGE-L and perplexity, and half as long."""
    figures = {"chrf": (18.9, 22.4, "worse"), "rouge_l": (11.3, 9.9, "better"), "loss": (3.07, 3.42, "better")}
    scores = {"models": [{"name": name, "scores": {}, "speed": {"answer_tokens": tokens, "reference_tokens": 240.0,
                                                                "cut": cut, "repeated": 3}}
                         for name, tokens, cut in (("base", 436.0, 120), ("tuned", 279.0, 80))],
              "comparisons": [{"of": of, "with": "base", "metric": metric, "main": metric == "chrf", "rows": 150,
                               "verdict": verdict, "score": score, "other": other}
                              for of in ("tuned", "Q4_K_M") for metric, (score, other, verdict) in figures.items()]}
    found = evidence.gather(RunConfig(name="a", model="m", train_file="t"), RunHistory(), scores)
    assert headline(found) == (
        "Mixed results. Better: ROUGE-L 9.9 → 11.3, likelihood of your answers, unfinished answers, length. "
        "Worse: chrF++ 22.4 → 18.9.", "warn")
    assert (found.tokens, found.base_tokens, found.reference_tokens) == (279, 436, 240)
    assert (found.repeated, found.base_repeated, [each.metric for each in found.others]) == (3, 3, ["rouge_l", "loss"])


def test_a_base_of_unknown_size_is_not_called_small():
    assert "model" not in {each.action for each in propose(of(losses=SETTLED, parameters=0))}
    assert "model" in {each.action for each in propose(RUN)}


def test_the_same_answers_are_known():
    scores = {"comparisons": [{"of": "tuned", "with": "base", "metric": "chrf", "main": True, "verdict": "unknown",
                               "rows": 48, "score": 20.0, "other": 20.0, "same": True}]}
    found = evidence.gather(RunConfig(name="a", model="m", train_file="t"), RunHistory(), scores)
    assert headline(found)[0] == "It answers exactly as it did before training."


@pytest.mark.parametrize(("losses", "expected"), [
    ((), evidence.UNKNOWN), (((0, 2.0),), evidence.UNKNOWN), (((0, 2.0), (9, 1.0)), evidence.UNKNOWN),
    (((20, 2.0), (40, 1.0)), evidence.UNKNOWN), (FALLING, evidence.FALLING), (SETTLED, evidence.SETTLED),
    (TURNED, evidence.TURNED), (RISING, evidence.RISING), (UNMOVED, evidence.UNMOVED), (BROKEN, evidence.BROKEN),
    (((0, 2.0), (9, 3.1)), evidence.BROKEN),
    (((0, float("nan")), (9, 1.0), (18, 1.0)), evidence.UNKNOWN)])
def test_shapes_of_curves(losses, expected):
    assert evidence.curve_shape(losses) == expected


def test_who_forgot_trains_less_mixes_in_general_rows_or_takes_a_smaller_adapter():
    found = propose(of(general=(41, 30, 48), rank=32, epochs=10.0))
    assert [(each.action, each.changes) for each in found] == [
        ("again", {"epochs": 5.0}), ("rows", {}), ("again", {"lora_rank": 16, "lora_alpha": 32})]
    assert not any("lora_rank" in each.changes for each in propose(of(general=(41, 30, 48), method="full")))


def test_a_proposal_holds_what_it_sets():
    assert propose(of(losses=FALLING))[0].changes == {"epochs": 3.0}
    assert "1.60 → 1.40" in propose(of(losses=FALLING))[0].reason
    assert propose(of(losses=TURNED, best_epoch=0.9))[0].changes == {"epochs": 1.0}
    assert propose(of(compared=WORSE, losses=RISING))[0].changes == {"learning_rate": 7e-5}
    assert propose(of(losses=RISING, learning_rate=1e-2, usual_rate=3e-4))[0].changes == {
        "learning_rate": 3e-4}
    assert propose(of(losses=UNMOVED, learning_rate=1e-7, usual_rate=3e-4))[0].changes == {
        "learning_rate": 3e-4}
    assert propose(of(compared=OPEN, test_rows=2000))[0].changes == {"limit": 730}
    assert propose(of(compared=replace(OPEN, rows_needed=726), test_rows=728))[0].changes == {"limit": 728}
    assert propose(of(compared=OPEN, test_rows=2000, test="/a.jsonl"))[0].changes == {
        "limit": 730, "test": "/a.jsonl"}
    assert propose(of(compared=OPEN, cut_rows=(320, 800), max_length=512))[0].changes == {"max_length": 1024}
    assert propose(of(cut=40, base_cut=41))[0].changes == {"max_new_tokens": 256}


@pytest.mark.parametrize("there", [0, 48, 729])
def test_more_rows_than_the_test_file_has_are_those_of_another_file(there):
    proposal = propose(of(compared=OPEN, test_rows=there))[0]
    assert (proposal.action, proposal.changes) == ("other_test", {})
    assert proposal.text == "Test with another file of about 730 rows"


def test_the_rows_of_the_test_file_are_known(tmp_path):
    config, run = RunConfig(name="a", model="m", train_file="t"), tmp_path / "run"

    def gathered(scored, **request):
        found = evidence.gather(config, RunHistory(), {"test": scored}, {"train_run": str(run), **request})
        return found.test_rows, found.test

    other, own = str(tmp_path / "other.jsonl"), str(run / "jobs" / "held-out-0.jsonl")
    assert gathered({"rows": 48, "rows_in_file": 900}, test=other, limit=48) == (900, other)
    assert gathered({"rows": 10, "rows_in_file": 10}, test=own, limit=None) == (10, "")
    assert gathered({"rows": 48}, test=own, limit=48) == (0, ""), "an older evaluation of some rows"
    assert gathered({"rows": 48}, test=own, limit=200) == gathered({"rows": 48}, test=own) == (48, "")


def test_no_proposal_says_what_nobody_has_seen():
    """An adapter that isn't one, a loss that was never measured, a run that would be as long as before."""
    assert "strength" not in {each.action for each in propose(of(forgotten="MMLU", method="full"))}
    assert "settled" not in propose(of(losses=()))[0].reason
    assert "no longer a number" in propose(of(losses=BROKEN))[0].reason
    assert "again" not in {each.action for each in propose(of(losses=TURNED, best_epoch=2.8))}


def test_a_run_says_how_it_ended_and_what_it_lost():
    history = RunHistory()
    for event in ({"type": "warning", "code": "rows_cut", "message": "", "cut": 320, "rows": 800},
                  {"type": "warning", "code": "rows_cut", "message": "", "cut": 14, "rows": 80},
                  {"type": "plan", "total_steps": 300, "steps_per_epoch": 100, "parameters": 5e8, "train_rows": 790},
                  {"type": "step", "global_step": 30, "epoch": 0.3, "train_loss": 2.0},
                  {"type": "job_ended", "state": "stopped"}):
        history.add(event)
    config = RunConfig(name="a", model="m", train_file="t", learning_rate=1e-2)
    found = evidence.gather(config, history, None)
    assert (found.stopped, found.cut_rows, found.max_length) == ((30, 300), (320, 800), 1024)
    assert found.usual_rate == 3e-4
    for event in ({"type": "step", "global_step": 300}, {"type": "best_used", "global_step": 200},
                  {"type": "job_ended", "state": "finished"}):
        history.add(event)
    found = evidence.gather(config, history, None)
    assert (found.stopped, found.used_step) == (None, 200)


def test_a_score_counts_the_rows_that_both_answered():
    scores = {"models": [{"name": "base", "scores": {"exact": {"value": 50.0}}},
                         {"name": "tuned", "scores": {"exact": {"value": 80.0}}},
                         {"name": "Q2_K", "scores": {"exact": {"value": 40.0, "high": 47.0}}}],
              "benchmarks": [{"title": "MMLU", "sentence": "General knowledge kept."}],
              "comparisons": [{"of": "tuned", "with": "base", "metric": "exact", "main": True, "verdict": "better",
                               "rows": 50, "score": 90.0, "other": 44.0, "low": 30.0, "high": 60.0}]}
    scores["models"][1]["scores"]["exact"]["low"] = 74.0
    exported = {"models": [{"name": "Q2_K", "gguf": "/runs/a/exports/a-Q2_K.gguf"}], "train_run": "/runs/a"}
    config = RunConfig(name="a", model="m", train_file="t")
    found = evidence.gather(config, RunHistory(), scores, exported)
    assert headline(found)[0] == "It's right more often: 45 of 50 answers instead of 22."
    assert (found.export, found.benchmark) == (("Q2_K", 40.0), "General knowledge kept.")
    assert evidence.gather(config, RunHistory(), scores, {**exported, "train_run": "/runs/b"}).export is None


def test_it_is_read_from_the_files_of_a_run(tmp_path, studio_home, tiny_model):
    run = evaluated_runs.ended_run("forms", tiny_model)
    job = evaluated_runs.write(run)
    said = advice.of_run(run, files.read_json(job.folder / "scores.json"), job.request())
    assert said is not None
    found = said.evidence
    assert found.compared is not None
    assert (found.compared.metric, found.compared.verdict, found.compared.rows) == ("chrf", "better", 24)
    assert found.losses == ((0, 2.0), (20, 1.5), (40, 1.2))
    assert found.test_rows == 24
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
