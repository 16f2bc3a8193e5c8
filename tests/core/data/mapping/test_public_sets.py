"""Rows as well-known public data sets and export tools have them, and what is made of them."""

from __future__ import annotations

import pytest
from support.chat_rows import read, says, user

from slmstudio.core.data.reader import NoUsableRow, read_dataset

Q, A, B = "What is the capital of Goa?", "It is Panaji.", "No idea."
ASK, GOOD, BAD = (
    {"role": "user", "content": Q},
    {"role": "assistant", "content": A},
    {"role": "assistant", "content": B},
)
SYSTEM = {"role": "system", "content": "Be brief."}

READ = {
    "MetaMathQA": (
        {"type": "GSM_Rephrased", "query": Q, "original_question": B, "response": A},
        "instruction",
        [ASK, GOOD],
    ),
    "Anudesh": (
        {"id": "x", "interactions": [[Q, A], [B, A]], "num_turns": 2, "model": "llama2"},
        "messages",
        [ASK, GOOD, user(B), GOOD],
    ),
    "Gemini": (
        {
            "systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]},
            "contents": [{"role": "user", "parts": [{"text": Q}]}, {"role": "model", "parts": [{"text": A}]}],
        },
        "messages",
        [SYSTEM, ASK, GOOD],
    ),
    "Anthropic, system in parts": (
        {"system": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}], "messages": [ASK, GOOD]},
        "messages",
        [{"role": "system", "content": "Be\nbrief."}, ASK, GOOD],
    ),
    "distilabel-intel-orca-dpo-pairs": (
        {"system": "Be brief.", "input": Q, "chosen": A, "rejected": B, "rating": [9.0, 2.0],
         "labelling_prompt": [{"role": "system", "content": "Judge."}], "raw_labelling_response": "9 2"},
        "preference",
        [SYSTEM, ASK, GOOD],
    ),
    "Chatbot Arena": (
        {"model_a": "koala", "model_b": "vicuna", "winner": "model_b", "conversation_a": [ASK, BAD],
         "conversation_b": [ASK, GOOD]},
        "preference",
        [ASK, GOOD],
    ),
    "MMLU": (
        {"question": Q, "choices": ["Panaji", "Pune"], "answer": 0, "subject": "geography"},
        "instruction",
        [user(f"{Q}\n\nA. Panaji\nB. Pune"), says("A. Panaji")],
    ),
    "ARC": (
        {"id": "x", "question": Q, "choices": {"text": ["Pune", "Panaji"], "label": ["1", "2"]}, "answerKey": "2"},
        "instruction",
        [user(f"{Q}\n\n1. Pune\n2. Panaji"), says("2. Panaji")],
    ),
    "SNLI with words": (
        {"gold_label": "neutral", "sentence1": Q, "sentence2": A},
        "instruction",
        [user(f"{Q}\n\n{A}"), says("neutral")],
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_row_is_read(tmp_path, name):
    row, layout, messages = READ[name]
    dataset = read(tmp_path, [row, row])
    record = dataset.records[0]
    assert (dataset.layout, list(record.messages)) == (layout, messages)
    assert record.rejected == (B if layout == "preference" else None)


REFUSED = {
    "OASST1": [{"message_id": "a", "parent_id": None, "text": Q, "role": "prompter", "labels": {"name": ["spam"]}}],
    "a message a row": [{"conversation_id": 1, "sender": "customer", "message": Q}],
    "SNLI with numbers": [{"premise": A, "hypothesis": Q, "label": number % 3} for number in range(6)],
    "QQP": [{"question1": Q, "question2": f"{Q} {number}", "is_duplicate": str(number % 2)} for number in range(6)],
    "summarize_from_feedback": [{"info": {"post": Q}, "summaries": [{"text": A}], "worker": "w", "batch": "b"}],
    "UltraFeedback": [{"source": "evol", "instruction": Q, "completions": [{"response": A, "overall_score": 8}]}],
    "two answers, and no word on which is better": [{"conv_a": [ASK, GOOD], "conv_b": [ASK, BAD], "conv_a_rating": 3}],
    "CoNLL": [{"id": "0", "tokens": ["EU", "rejects"], "pos_tags": [22, 42], "ner_tags": [3, 0]}],
    "posts of one forum": [{"id": str(at), "selftext": f"{Q} {at}", "forum": "india"} for at in range(6)],
    "Label Studio": [{"id": 1, "annotations": [{"result": []}], "file_upload": "a.csv", "data": {"text": Q}}],
    "an empty export of ChatGPT's": [{"title": Q, "mapping": {"a": {"message": None}}, "current_node": "a"}],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_question_with_its_answer_is_not_taken_for_one(tmp_path, name):
    with pytest.raises(NoUsableRow):
        read(tmp_path, REFUSED[name] * 2)


def test_columns_of_several_languages_are_asked_about(tmp_path):
    found = read(tmp_path, [{"id": at, "eng_Latn": Q, "hin_Deva": A, "tam_Taml": B} for at in range(2)])
    assert not found.is_sure and found.mapping == {"instruction": "eng_Latn", "output": "hin_Deva"}


def test_a_message_a_row_is_said_to_be_one(tmp_path):
    with pytest.raises(NoUsableRow, match="ach row is one message of a conversation, and no column says which one"):
        read(tmp_path, [{"role": "user", "content": Q}, {"role": "assistant", "content": A}])


@pytest.mark.parametrize(("row", "named"), [
    ({"question": Q, "solution": A, "thinking_trajectories": [B]}, "thinking_trajectories"),
    ({"Question": Q, "Complex_CoT": B, "Response": A}, "Complex_CoT"),
    ({"question": Q, "A": "x", "B": "y", "C": "z", "answer": A}, "C"),
    ({"question": Q, "answer": A, "context": {"page": "the third"}}, "context"),
    ({"Question (English)": Q, "Answer (English)": A, "Question (Hindi)": Q, "Answer (Hindi)": A}, "Answer (Hindi)"),
    ({"prompt": Q, "text": A, "format": "blog", "audience": "all"}, "prompt"),
    ({"messages": [ASK, {**GOOD, "reasoning_content": B}]}, "messages.reasoning_content")])
def test_columns_with_words_that_are_not_used_are_named(tmp_path, row, named):
    assert named in read(tmp_path, [row]).unused_words


def test_the_address_of_a_question_is_nothing_to_learn(tmp_path):
    row = {"questionText": Q, "questionLink": "https://example.org/1", "answerText": A}
    assert read(tmp_path, [row] * 4).unused_words == ()


def test_a_choice_that_does_not_exist_is_said(tmp_path):
    rows = [{"question": Q, "choices": ["Panaji", "Pune"], "answer": at} for at in (*[0] * 11, 1, 2)]
    dataset = read(tmp_path, rows)
    assert [(each.line, "outside the choices" in each.message) for each in dataset.problems] == [(13, True)]
    assert len(dataset.records) == 12
    with pytest.raises(NoUsableRow, match=r"some from 1 \(line 3 has 2"):
        read(tmp_path, rows[-3:])


LISTED, IN_COLUMNS = {"choices": ["1", "0"]}, {"choice1": "1", "choice2": "0"}


@pytest.mark.parametrize(("row", "answers", "said"), [
    (LISTED, (1, 2, 1), "A. 1"), (LISTED, (0, 1, 0), "A. 1"),
    (LISTED, ("(b)", "a"), "B. 0"), (IN_COLUMNS, (1, 2, 1), "1. 1"), (IN_COLUMNS, (0, 1, 0), "1. 1"),
    (IN_COLUMNS, (1, 0, 1), "2. 0"), (IN_COLUMNS, ("choice2", "choice1"), "2. 0")])
def test_numbers_count_choices_from_the_first_one_on(tmp_path, row, answers, said):
    """Numbers are places where all answers are: PIQA's from 0, MedMCQA's from 1; even if choices are numbers too."""
    dataset = read(tmp_path, [{"question": Q, **row, "label": each} for each in answers])
    assert dataset.records[0].messages[1]["content"] == said


def test_numbers_in_quotes_that_may_be_the_text_of_one_choice_or_the_place_of_another_are_refused(tmp_path):
    with pytest.raises(NoUsableRow, match="write the letter instead"):
        read(tmp_path, [{"question": Q, **LISTED, "label": each} for each in ("0", "1", "0")])


def test_numbers_of_choices_that_may_count_from_0_or_1_are_not_guessed(tmp_path):
    dataset = read(tmp_path, [{"question": Q, "choices": ["Pune", "Panaji", "Goa"], "answer": at} for at in (1, 2, 1)])
    assert dataset.unused_words == ("choices",)


@pytest.mark.parametrize("header", ["v1\tv2\n", ""])
def test_a_class_before_its_text_is_the_answer(tmp_path, header):
    path = tmp_path / "spam.tsv"
    path.write_text(header + "".join(f"{('ham', 'spam')[at % 2]}\tSee you at {at} o'clock, then.\n" for at in range(8)))
    record = read_dataset(path).records[0]
    assert list(record.messages) == [user("See you at 0 o'clock, then."), says("ham")]


@pytest.mark.parametrize("text", [
    "#separator:tab\n#html:true\n#tags column:3\n" + f"{Q}\t{A}\tgeo\n" * 3, f"{Q}\t{A}\n" * 3,
    "#separator:Semicolon\n#deck column:1\n#tags column:4\n" + f'Law::1;"{Q}";"{A}";;"a\nb"\n' * 3],
    ids=["Anki", "Quizlet", "Anki's settings"])
def test_cards_are_questions_with_answers(tmp_path, text):
    path = tmp_path / "cards.txt"
    path.write_text(text)
    dataset = read_dataset(path)
    assert [list(each.messages) for each in dataset.records] == [[ASK, GOOD]] * 3
    assert dataset.format == ("csv" if ";" in text else "tsv")


def test_numbered_lines_are_text(tmp_path):
    """As in the corpora of Leipzig."""
    path = tmp_path / "lines.txt"
    path.write_text("".join(f"{at}\t{A}\n" for at in range(1, 5)))
    assert [each.text for each in read_dataset(path).records] == [A] * 4


@pytest.mark.parametrize(("row", "asked"), [
    ({"user": "asha_k", "text": A, "airline_sentiment": None, "airline_sentiment_confidence": 1.0}, A),
    ({"question": Q, "passage": A, "idx": 3, "label": None}, f"{Q}\n\n{A}"),
    ({"text": A, "label": 0, "label_text": None}, A)], ids=["Airline tweets", "BoolQ", "MTEB"])
def test_a_class_is_asked_for_with_all_that_it_is_about(tmp_path, row, asked):
    rows = [{key: ("yes", "no")[at % 2] if each is None else at % 2 if each == 0 else each
             if key == "user" or not isinstance(each, str) else f"{each} {at}" for key, each in row.items()}
            for at in range(6)]
    messages = read(tmp_path, rows).records[1].messages
    assert messages[1] == says("no") and messages[0]["content"].replace(" 1", "") == asked


def test_short_texts_and_their_category_are_learned_as_such(tmp_path):
    rows = [{"text": f"{Q} {at}", "category": ("card_arrival", "lost_card")[at % 2]} for at in range(6)]
    assert list(read(tmp_path, rows).records[1].messages) == [user(f"{Q} 1"), says("lost_card")]


def test_the_test_split_of_a_saved_dataset_is_held_out(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "set" / split).mkdir(parents=True)
        read(tmp_path / "set" / split, [{"question": f"{Q} {split}", "answer": A}])
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    dataset = read_dataset(tmp_path / "set")
    assert (len(dataset.records), dataset.problems) == (1, [])
    assert "held out" in dataset.notes[0]


def test_the_columns_of_a_form_are_called_as_it_asks(tmp_path):
    path = tmp_path / "form.csv"
    path.write_text("Timestamp,Email Address,What do you ask?,What is best said?\n" + "".join(
        f"2024/01/05 10:15:3{at},a{at}@b.in,{Q},{A}\n" for at in range(4)))
    with pytest.raises(NoUsableRow, match="What is best said"):
        read_dataset(path)
    given = {"instruction": "What do you ask?", "output": "What is best said?"}
    assert list(read_dataset(path, None, None, given).records[0].messages) == [ASK, GOOD]
