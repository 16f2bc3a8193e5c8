"""Dialogues and comparisons as their sets are published: comparisons of summaries, MultiWOZ, MOSS, PersonaChat,
EmpatheticDialogues; and FEVER's claims."""

from __future__ import annotations

import json

import pyarrow
import pytest
from pyarrow import parquet
from support.chat_rows import read, says, user

from slmstudio.core.data.reader import NoUsableRow, read_dataset

Q, A, B = "What is the capital of Goa?", "It is Panaji, a city on the Mandovi.", "No idea."


def conversations(dataset):
    return [list(record.messages) for record in dataset.records]


# -- comparisons -----------------------------------------------------------------------------------------------------


def comparison(choice, **info):
    return {"info": {"id": "t3_1", "post": None, "title": None, "subreddit": "goa", "article": None, **info},
            "split": "train", "summaries": [{"text": A, "policy": "sup2", "note": "Good."},
                                            {"text": B, "policy": "ref", "note": None}],
            "choice": choice, "worker": "w", "batch": "batch3", "extra": {"confidence": 8}}


def test_of_two_summaries_the_chosen_one_is_better(tmp_path):
    dataset = read(tmp_path, [comparison(0, title="Goa", post=Q), comparison(1, title="Goa", post=Q),
                              comparison(0, article=Q)])
    assert (dataset.layout, dataset.problems, dataset.unused_words) == ("preference", [], ("split", "worker"))
    assert [(record.messages[0]["content"], record.messages[1]["content"], record.rejected)
            for record in dataset.records] == [(f"Goa\n\n{Q}", A, B), (f"Goa\n\n{Q}", B, A), (Q, A, B)]


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_two_answers_in_a_list_beside_their_prompt(tmp_path, name):
    rows = [{"prompt": Q, "responses": [{"text": B}, {"text": A}], "winner": winner} for winner in (1, 0)]
    record = read(tmp_path, rows, name).records[0]
    assert (list(record.messages), record.rejected) == ([user(Q), says(A)], B)


def test_a_comparison_that_names_neither_is_refused(tmp_path):
    rows = [comparison(0, post=Q), {**comparison(0, post=Q), "choice": None}]
    dataset = read(tmp_path, rows)
    assert dataset.count == 1 and "doesn't name a better answer" in dataset.problems[0].message


# -- dialogues without speakers --------------------------------------------------------------------------------------


def of_multiwoz(*texts):
    return {"goal": {"hotel": {"info": {"area": "north"}}, "message": ["You want a hotel."]},
            "log": [{"text": text, "metadata": {"hotel": {}} if at % 2 else {}, "dialog_act": {"Hotel": [["a", "b"]]}}
                    for at, text in enumerate(texts)]}


@pytest.mark.parametrize("dialogues", [2, 300], ids=["whole", "as it comes"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_may_be_one_object_with_a_dialogue_under_each_key(tmp_path, dialogues, indent):
    """As MultiWOZ 2.1's data.json, which is too large to be read whole."""
    path = tmp_path / "data.json"
    more = [B * 500] * 2 if dialogues > 2 else []
    path.write_text(json.dumps({f"SNG{at}.json": of_multiwoz(Q, A, *more) for at in range(dialogues)}, indent=indent))
    dataset = read_dataset(path)
    assert (dataset.layout, dataset.count, dataset.problems) == ("messages", dialogues, [])
    assert dataset.records[-1].messages[:2] == (user(Q), says(A)) and dataset.records[-1].line == dialogues
    assert dataset.unused == ("goal", "log.dialog_act", "log.metadata")


def test_a_large_object_that_is_cut_short_is_named(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps({f"SNG{at}.json": of_multiwoz(Q, A * 500) for at in range(60)})[:-9000])
    dataset = read_dataset(path)
    assert dataset.count == 59 and "no closing quotation mark" in dataset.problems[0].message


def test_columns_of_a_large_object_are_no_rows(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"question": {str(at): f"{Q} {at}" for at in range(9000)},
                                "answer": {str(at): f"{A} {at}" for at in range(9000)}}))
    assert path.stat().st_size > 1 << 19
    assert read_dataset(path).count == 9000


def test_what_a_dialogue_ends_with_is_left_out_where_it_asks(tmp_path):
    dataset = read(tmp_path, [of_multiwoz(Q, A, B)] * 2)
    assert conversations(dataset) == [[user(Q), says(A)]] * 2
    assert dataset.notes == ("Last messages without an answer are left out (2 rows).",)


def test_messages_without_a_role_are_at_fault(tmp_path):
    """They were written for a program that wants roles."""
    with pytest.raises(NoUsableRow, match='has no "role"'):
        read(tmp_path, [{"messages": [{"content": Q}, {"content": A}]}] * 2)


@pytest.mark.parametrize(("key", "people"), [
    ("speaker", ("Asha", "Ravi")), ("sender", ("participant2", "participant1")), ("from", ("A", "B"))])
def test_of_two_people_the_first_one_asks(tmp_path, key, people):
    """As in ConvAI2."""
    said = [{key: people[at % 2 if at < 3 else 0], "text": text} for at, text in enumerate((Q, A, B, "Thanks"))]
    dataset = read(tmp_path, [{"dialogue": said}, {"dialogue": said[:2]}])
    assert conversations(dataset) == [[user(Q), says(A)]] * 2
    assert dataset.notes == ("In a conversation of two people, the first one asks and the other one answers (2 rows).",)


@pytest.mark.parametrize("people", [("Asha", "Ravi", "Mira"), ("user", "asistant", "user")])
def test_other_names_of_speakers_are_at_fault(tmp_path, people):
    with pytest.raises(NoUsableRow, match="has the role"):
        read(tmp_path, [{"dialogue": [{"speaker": who, "text": Q} for who in people]}] * 2)


# -- MOSS ------------------------------------------------------------------------------------------------------------


def of_moss(thoughts="None", commands="None", results="None"):
    return {"Human": f"<|Human|>: {Q}<eoh>\n", "Inner Thoughts": f"<|Inner Thoughts|>: {thoughts}<eot>\n",
            "Commands": f"<|Commands|>: {commands}<eoc>\n", "Tool Responses": f"<|Results|>: {results}<eor>\n",
            "MOSS": f"<|MOSS|>: {A}<eom>\n"}


def moss(*turns):
    return {"conversation_id": "1", "meta_instruction": "Be brief.", "num_turns": len(turns), "category": "Code",
            "chat": {f"turn_{at}": turn for at, turn in enumerate(turns, 1)}}


def test_turns_of_moss_in_a_table_with_gaps(tmp_path):
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([moss(of_moss(), of_moss("I know this.")), moss(of_moss())]), path)
    dataset = read_dataset(path)
    system = {"role": "system", "content": "Be brief."}
    assert conversations(dataset) == [[system, user(Q), says(A), user(Q), says(A)], [system, user(Q), says(A)]]
    assert (dataset.layout, dataset.problems) == ("messages", [])
    assert dataset.unused_words == ("category",)


def test_a_turn_of_moss_that_calls_a_tool_is_refused(tmp_path):
    dataset = read(tmp_path, [moss(of_moss()), moss(of_moss("Look it up.", 'Search("Goa")', 'Search("Goa") =>\n1'))])
    assert (dataset.count, dataset.rows_left_out) == (1, 1)


def test_a_mark_of_moss_within_a_text_is_text(tmp_path):
    assert read(tmp_path, [{"text": f"He wrote [Human]: and no more {at}."} for at in range(3)]).layout == "text"


# -- PersonaChat -----------------------------------------------------------------------------------------------------


def test_of_candidates_the_last_one_is_the_answer(tmp_path):
    rows = [{"personality": ["I live in Goa.", "I like fish."], "utterances": [
        {"candidates": ["Never.", A], "history": [Q]}, {"candidates": ["Often.", "Yes."], "history": [Q, A, B]}]}] * 2
    dataset = read(tmp_path, {"train": rows, "valid": rows[:1]}, "personachat.json")
    system = {"role": "system", "content": "I live in Goa.\nI like fish."}
    assert conversations(dataset) == [[system, user(Q), says(A), user(B), says("Yes.")]] * 2
    assert (dataset.layout, dataset.unused, dataset.problems) == ("messages", ("candidates",), [])
    assert conversations(read(tmp_path, rows)) == conversations(dataset)


# -- EmpatheticDialogues ---------------------------------------------------------------------------------------------


HEADER = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"
SAID = (f'hit:0_conv:1,1,sentimental,I remember_comma_ well.,1,"Goa" he said_comma_ where is it?,5|5|5_2|2|5,\n'
        f"hit:0_conv:1,2,sentimental,I remember_comma_ well.,0,{A.replace(',', '_comma_')},5|5|5_2|2|5,\n"
        "hit:0_conv:1,3,sentimental,I remember_comma_ well.,1,Thanks,5|5|5_2|2|5,\n"
        "hit:1_conv:3,2,afraid,It was dark.,3,Why?,4|5|4_3|5|5,\n"
        "hit:1_conv:3,1,afraid,It was dark.,2,I was afraid.,,\n")
TOLD = [[user('"Goa" he said, where is it?'), says(A)], [user("I was afraid."), says("Why?")]]


def test_people_with_numbers_take_turns_in_each_conversation(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(HEADER + SAID)
    dataset = read_dataset(path)
    assert (conversations(dataset), dataset.problems) == (TOLD, [])
    assert dataset.notes == (
        'Each row is one message. Those with the same "conv_id" are read as one conversation.',
        "In each conversation, the first person asks and the other one answers.")
    assert dataset.unused_words == ("context", "prompt")


def test_the_same_as_a_table_of_parquet(tmp_path):
    rows = [dict(zip(HEADER.strip().split(","), line.split(","), strict=True)) for line in SAID.splitlines()]
    rows = [{**row, "speaker_idx": int(row["speaker_idx"]), "utterance_idx": int(row["utterance_idx"])} for row in rows]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "train.parquet")
    assert conversations(read_dataset(tmp_path / "train.parquet")) == TOLD


def test_a_conversation_of_three_among_those_of_two_is_named(tmp_path):
    said = [{"conv_id": f"c{at // 2}", "utterance_idx": at % 2, "speaker_idx": at % 2, "utterance": f"{Q} {at}"}
            for at in range(60)]
    third = [{"conv_id": "c29", "utterance_idx": 2, "speaker_idx": 2, "utterance": B}]
    dataset = read(tmp_path, [*said, *third])
    assert dataset.count == 29 and "This chat has 3 people in it" in dataset.problems[0].message


def test_comments_of_two_people_are_no_dialogue(tmp_path):
    """Nothing says in which order they were said."""
    rows = [{"thread_id": at // 2, "author": f"a{at % 2}", "text": f"{Q} {at}", "toxic": at % 2} for at in range(8)]
    assert read(tmp_path, rows).layout == "text"


# -- claims ----------------------------------------------------------------------------------------------------------


VERDICTS = ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO")


def test_a_claim_is_asked_and_its_verdict_is_the_answer(tmp_path):
    """As in FEVER, whose evidence is the numbers of pages."""
    rows = [{"id": at, "verifiable": "VERIFIABLE", "label": said, "claim": f"{A} {at}",
             "evidence": [[[92206, 104971, "Goa" if at % 3 < 2 else None, 7]]]} for at, said in enumerate(VERDICTS * 2)]
    dataset = read(tmp_path, rows)
    assert conversations(dataset) == [[user(f"{A} {at}"), says(said)] for at, said in enumerate(VERDICTS * 2)]
    assert (dataset.layout, dataset.unused_words) == ("instruction", ("evidence", "verifiable"))


def test_evidence_in_words_goes_below_the_claim(tmp_path):
    """As in VitaminC."""
    rows = [{"unique_id": str(at), "claim": f"{A} {at}", "evidence": B, "label": said, "page": "Goa",
             "revision_type": "real"} for at, said in enumerate(VERDICTS * 2)]
    dataset = read(tmp_path, rows)
    assert conversations(dataset)[0] == [user(f"{A} 0\n\n{B}"), says("SUPPORTS")]
    assert dataset.unused_words == ("page", "revision_type")
