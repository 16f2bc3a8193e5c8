"""Public sets whose answers have scores, ranks or ratings, and what is made of them."""

from __future__ import annotations

import json

import pytest
from support.chat_rows import read, says, user

from slmstudio.core.data.reader import read_dataset
from slmstudio.core.errors import UserError

Q, A, B = "गोवा की राजधानी क्या है?", "It is Panaji.", "No idea."


def shp(a, b, score_a, score_b):
    return {"post_id": "x1", "domain": "askscience_train", "upvote_ratio": 0.9, "history": Q, "c_root_id_A": "c1",
            "c_root_id_B": "c2", "created_at_utc_A": 1, "created_at_utc_B": 2, "score_A": score_a, "score_B": score_b,
            "human_ref_A": a, "human_ref_B": b, "labels": int(score_a > score_b), "seconds_difference": 60.0,
            "score_ratio": 2.0}


def webgpt(first, second, score):
    quotes = {"title": ["Goa"], "extract": ["Panaji is its capital."]}
    return {"question": {"dataset": "eli5", "id": "q1", "full_text": Q}, "quotes_0": quotes, "answer_0": first,
            "tokens_0": {"prefix": [1], "completion": [2]}, "score_0": score, "quotes_1": quotes, "answer_1": second,
            "tokens_1": {"prefix": [1], "completion": [2]}, "score_1": -score}


def nectar(*ranked):
    answers = [{"answer": text, "model": f"model-{at}", "rank": rank} for at, (text, rank) in enumerate(ranked)]
    return {"prompt": f"\n\nHuman: {Q}\n\nAssistant: ", "answers": answers, "turns": 1, "num_responses": len(answers),
            "source": ["sharegpt"], "good_natured": True}


PAIRS = {
    "SHP": [shp(A, B, 31, 4), shp(B, A, 2, 9)],
    "SHP with the post under its name": [{"post": Q, "human_ref_A": B, "human_ref_B": A, "score_A": 1, "score_B": 5}],
    "WebGPT": [webgpt(A, B, 0.5), webgpt(B, A, -1.0)],
    "WebGPT as a table": [{"question": Q, "answer_0": B, "answer_1": A, "score_0": "-0.5", "score_1": "0.5"}],
    "Nectar": [nectar(("So so.", 2.0), (B, 3.0), (A, 1.0)), nectar((A, 1), (B, 2))],
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_better_answer_is_chosen_over_the_worse(tmp_path, name):
    dataset = read(tmp_path, PAIRS[name])
    assert (dataset.layout, dataset.problems) == ("preference", [])
    assert [(list(each.messages), each.rejected) for each in dataset.records] == [([user(Q), says(A)], B)] * len(
        PAIRS[name])


@pytest.mark.parametrize("tie", [shp(A, "Or so.", 4, 4), nectar((A, 1.0), (B, 1.0))], ids=["scores", "ranks"])
def test_ties_are_left_out_and_counted(tmp_path, tie):
    good = shp(A, B, 31, 4) if "score_A" in tie else nectar((A, 1.0), (B, 2.0))
    dataset = read(tmp_path, [good, *[tie] * 5])
    assert (dataset.count, dataset.rows_left_out) == (1, 5)
    (problem,) = dataset.problems
    assert "nothing to compare" in problem.message and "5 rows are like this" in problem.message


def test_a_prompt_of_several_turns_is_a_conversation(tmp_path):
    row = {**nectar((A, 1.0), (B, 2.0)), "prompt": f"\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: {Q}\n\nAssistant: "}
    record = read(tmp_path, [row]).records[0]
    assert list(record.messages) == [user("Hi"), says("Hello."), user(Q), says(A)]


def test_a_person_may_say_which_columns_hold_the_scores(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"ask": Q, "one": B, "two": A, "points one": 1, "points two": 3}) + "\n")
    record = read_dataset(path, columns={"prompt": "ask", "chosen": "one", "rejected": "two",
                                         "score_chosen": "points one", "score_rejected": "points two"}).records[0]
    assert (list(record.messages), record.rejected) == ([user(Q), says(A)], B)


def node(text, role, rank=None, replies=(), **more):
    return {"message_id": text, "text": text, "role": role, "rank": rank, "replies": list(replies), **more}


def tree(prompt):
    return {"message_tree_id": prompt["message_id"], "tree_state": "ready_for_export", "prompt": prompt}


def test_of_a_tree_the_best_replies_are_one_conversation(tmp_path):
    answers = [node("Kochi!", "assistant", 1), node("Gone.", "assistant", 0, deleted=True)]
    best = node(A, "assistant", 0, [node("Thanks?", "prompter", 1, [node("Sure.", "assistant")]),
                                    node("And of Kerala?", "prompter", 0, answers)])
    open_end = node(A, "assistant", None, [node("Why?", "prompter")])
    dataset = read(tmp_path, [tree(node(Q, "prompter", None, [node(B, "assistant", 1), best])),
                              tree(node(Q, "prompter", None, [open_end])), tree(node(Q, "prompter"))])
    assert [list(each.messages) for each in dataset.records] == [
        [user(Q), says(A), user("And of Kerala?"), says("Kochi!")], [user(Q), says(A)]]
    assert (dataset.layout, dataset.rows_left_out) == ("messages", 1)
    assert any("best-ranked" in note and "2 rows" in note for note in dataset.notes)


def test_ratings_are_named_for_what_they_are(tmp_path):
    """As in HelpSteer2."""
    rows = [{"prompt": Q, "response": text, "helpfulness": mark, "correctness": mark, "coherence": 4, "complexity": 1,
             "verbosity": 2} for text, mark in ((A, 4), (B, 0))]
    dataset = read(tmp_path, rows)
    assert (dataset.layout, dataset.count) == ("instruction", 2)
    assert {"helpfulness", "correctness"} <= set(dataset.unused)


@pytest.mark.parametrize(("winners", "first"), [((1, 2, 1), "A"), ((0, 1, 0), "A"), ((2, 2, 2), "B"), ((0, 0, 0), "A"),
                                                (("1", "2"), "A")])
def test_places_in_a_list_of_two_answers_count_from_0_or_from_1(tmp_path, winners, first):
    dataset = read(tmp_path, [{"prompt": Q, "responses": [{"text": A}, {"text": B}], "preferred": each}
                              for each in winners])
    assert dataset.layout == "preference"
    assert (dataset.records[0].messages[-1]["content"], dataset.records[0].rejected) == (
        (A, B) if first == "A" else (B, A))


def test_a_place_that_is_always_1_says_nothing(tmp_path):
    with pytest.raises(UserError, match='"preferred" is always 1, which may be the first answer or the second'):
        read(tmp_path, [{"prompt": Q, "responses": [{"text": A}, {"text": B}], "preferred": 1}] * 3)
