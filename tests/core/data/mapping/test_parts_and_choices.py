"""Messages in parts, parts that are learned or not, greetings before the first question, and choices in columns."""

from __future__ import annotations

import json

import pytest
from support.chat_rows import read, says, user

from slmstudio.core.data.reader import NoUsableRow, read_as, read_dataset
from slmstudio.core.errors import UserError
from slmstudio.core.evaluation.testset.reader import read_test_set

Q, A = "What is the capital of Goa?", "It is Panaji."


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize("result", ["31", [{"type": "text", "text": "31"}]])
def test_uses_of_tools_and_their_results_in_parts(tmp_path, result):
    """As messages of Anthropic's interface are."""
    row = {
        "system": "Be brief.",
        "tools": [{"name": "get_weather", "description": "Weather.", "input_schema": SCHEMA}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": Q, "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Panaji"}},
                {"type": "tool_use", "id": "t2", "name": "get_weather", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": result},
                {"type": "tool_result", "tool_use_id": "t2", "content": "no city", "is_error": True}]},
            {"role": "assistant", "content": [{"type": "text", "text": A}]}],
    }
    dataset = read(tmp_path, [row])
    record = dataset.records[0]
    assert dataset.unused_words == ("messages.thinking",)
    assert list(record.tools) == [{"type": "function", "function": {
        "name": "get_weather", "description": "Weather.", "parameters": SCHEMA}}]
    assert list(record.messages) == [
        {"role": "system", "content": "Be brief."}, user(Q),
        {"role": "assistant", "content": "Let me look.", "tool_calls": [
            {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Panaji"}}},
            {"type": "function", "function": {"name": "get_weather", "arguments": {}}}]},
        {"role": "tool", "content": "31", "tool_call_id": "t1"},
        {"role": "tool", "content": "no city", "tool_call_id": "t2"}, says(A)]


def test_a_picture_in_the_result_of_a_tool_is_refused(tmp_path):
    picture = [{"type": "image", "source": {"type": "base64", "data": "x"}}]
    row = {"messages": [user(Q), {"role": "assistant", "content": [
        {"type": "tool_use", "id": "t", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": picture}]}, says(A)]}
    with pytest.raises(NoUsableRow, match='"image"; models learn only from text here'):
        read(tmp_path, [row])


def test_segments_that_are_all_learned_are_one_text(tmp_path):
    """As in Axolotl's template-free format."""
    whole = [{"text": "Goa's capital ", "label": True}, {"text": "is Panaji.", "label": True}]
    dataset = read(tmp_path, [{"segments": whole}] * 2)
    assert (dataset.layout, dataset.records[0].text) == ("text", "Goa's capital is Panaji.")


def test_segments_of_which_some_are_not_learned_are_refused(tmp_path):
    """Text is learned whole, so they would be learned too."""
    parts = [{"text": f"<s>[INST] {Q} [/INST]", "label": False}, {"text": A, "label": True}]
    with pytest.raises(NoUsableRow):
        read(tmp_path, [{"segments": parts}] * 2)


def sharegpt(*turns):
    return {"conversations": [{"from": who, "value": text} for who, text in turns]}


def test_a_greeting_before_the_first_question_is_left_out_and_counted(tmp_path):
    rows = [sharegpt(("system", "Be brief."), ("gpt", "Hello!"), ("human", Q), ("gpt", A)),
            sharegpt(("gpt", "Hello!"), ("human", Q), ("gpt", A)), sharegpt(("human", Q), ("gpt", A))]
    dataset = read(tmp_path, rows)
    assert dataset.problems == []
    assert [list(each.messages) for each in dataset.records] == [
        [{"role": "system", "content": "Be brief."}, user(Q), says(A)], [user(Q), says(A)], [user(Q), says(A)]]
    assert any("2 rows" in note and "first question" in note for note in dataset.notes)


def test_a_call_before_the_first_question_is_no_greeting(tmp_path):
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}
    rows = [{"messages": [call, {"role": "tool", "content": "1"}, user(Q), says(A)]}]
    with pytest.raises(NoUsableRow, match="begins with the assistant"):
        read(tmp_path, rows)


CHOSEN = [user(f"{Q}\n\nA. Pune\nB. Panaji\nC. Goa\nD. Ponda"), says("B. Panaji")]
TABLES = {
    "MMLU": "question,A,B,C,D,answer\n" + f"{Q},Pune,Panaji,Goa,Ponda,B\n" * 2,
    "the answer's text": "Question,Option A,Option B,Option C,Option D,Correct Option\n"
                         + f"{Q},Pune,Panaji,Goa,Ponda,Panaji\n" * 2,
    "numbers as names, and a key": "S.No.,Question,1,2,3,4,Key\n" + f",{Q},Pune,Goa,Ponda,Panaji,4\n" * 2,
    "Hindi": "प्रश्न,विकल्प (क),विकल्प (ख),विकल्प (ग),विकल्प (घ),सही उत्तर\n" + f"{Q},Pune,Panaji,Goa,Ponda,ख\n" * 2,
    "Hindi, with a Latin key": "प्रश्न,विकल्प अ,विकल्प ब,विकल्प स,विकल्प द,उत्तर\n" + f"{Q},Pune,Panaji,Goa,Ponda,B\n" * 2,
    "letters in brackets": "Q.,(a),(b),(c),(d),Ans.\n" + f"{Q},Pune,Panaji,Goa,Ponda,(b)\n" * 2,
    "a number": "Question Text,Option1,Option2,Option3,Option4,Correct Option No.\n"
                + f"{Q},Pune,Goa,Ponda,Panaji,4\n" * 3,
    "Russian": "№,Вопрос,Пояснение,Вариант 1,Вариант 2,Вариант 3,Вариант 4,Правильный ответ\n"
               + f",{Q},,Pune,Goa,Ponda,Panaji,4\n" * 3,
    "Bengali letters": "ক্রম,প্রশ্ন,ক,খ,গ,ঘ,সঠিক\n" + f",{Q},Pune,Panaji,Goa,Ponda,খ\n" * 2,
    "a code beside": "ID question source,Question posée,Réponse A,Réponse B,Réponse C,Réponse D,Bonne réponse\n"
                     + f",{Q},Pune,Panaji,Goa,Ponda,B\n,{Q},Pune,Panaji,Goa,Ponda,D\n",
    "one cell, with spaces": "Problem,Options,Correct\n" + f'{Q},"a ) Pune , b ) Panaji , c ) Goa , d ) Ponda",b\n' * 2,
    "one cell": "Question,Options,Answer\n" + f'{Q},"A) Pune\nB) Panaji\nC) Goa\nD) Ponda",B\n' * 2,
    "one cell, in a line": "Question,Options,Answer\n" + f'{Q},(a) Pune (b) Panaji (c) Goa (d) Ponda,b\n' * 2,
    "one cell, without marks": "Question,Options,Answer\n" + f"{Q},Pune; Panaji; Goa; Ponda,Panaji\n" * 2,
    "a list as Python writes it": "question,choices,answer\n" + f"{Q},\"['Pune', 'Panaji', 'Goa', 'Ponda']\",1\n" * 2
                                  + f"{Q},\"['Panaji', 'Pune']\",0\n",
}
MARKS = {"Russian": "1234", "Bengali letters": "কখগঘ",
         "numbers as names, and a key": "1234", "a number": "1234",
         "Hindi": "कखगघ", "Hindi, with a Latin key": "अबसद"}


@pytest.mark.parametrize("name", TABLES)
def test_choices_in_columns_of_their_own(tmp_path, name):
    path = tmp_path / "rows.csv"
    path.write_text(TABLES[name])
    dataset = read_dataset(path)
    assert (dataset.layout, dataset.unused, dataset.problems) == ("instruction", (), [])
    texts, marks = ["Pune", "Panaji", "Goa", "Ponda"], MARKS.get(name, "ABCD")
    if marks == "1234":
        texts = ["Pune", "Goa", "Ponda", "Panaji"]
    lines = [f"{mark}. {text}" for mark, text in zip(marks, texts, strict=True)]
    right = texts.index("Panaji")
    assert list(dataset.records[0].messages) == [user("\n".join([f"{Q}\n", *lines])), says(lines[right])]
    item = read_test_set(path).items[0]  # tests read it as training does
    assert (item.question, item.choices, item.answer) == (Q, tuple(texts), right)


def test_a_gap_among_the_choices_is_one_bad_row(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("Question,Odgovor a,Odgovor b,Odgovor c,Answer\n" + "".join(
        f"{Q[:-1]} in {at}?,Pune,Panaji,Goa,B \n" for at in range(4)) + f"{Q},Pune,,,A\n")
    dataset = read_dataset(path)
    assert (dataset.is_sure, dataset.count, len(dataset.problems)) == (True, 4, 1)
    assert dataset.records[0].messages[1] == says("B. Panaji")


def test_numbers_count_as_the_columns_do(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("sentence,option1,option2,answer\n" + f"{Q},Panaji,Pune,1\n{Q},Pune,Panaji,2\n" * 2)
    said = read_as(path, "instruction=sentence,choices=option1,option2,output=answer")
    assert list(said.records[1].messages) == [user(f"{Q}\n\n1. Pune\n2. Panaji"), says("2. Panaji")]


def test_numbers_in_a_table_that_may_count_from_1_are_not_guessed(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("question,A,B,C,D,answer\n" + f"{Q},Pune,Panaji,Goa,Ponda,2\n" * 2)
    assert "A" in read_dataset(path).unused_words


@pytest.mark.parametrize("said", ["choices=P,Q,R,S", "choices=P,Q,R"])
def test_a_person_may_say_which_columns_are_choices(tmp_path, said):
    path = tmp_path / "rows.csv"
    path.write_text("ask,P,Q,R,S,key\n" + f"{Q},Pune,Panaji,Goa,Ponda,B\n" * 2)
    dataset = read_as(path, f"instruction=ask,{said},output=key")
    assert dataset.records[0].messages[1] == says("B. Panaji")
    assert dataset.mapping["choices"] == said.partition("=")[2]
    assert dataset.line == f"instruction=ask,{said},output=key"


def test_one_column_may_hold_all_choices(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"ask": Q, "x, y": ["Pune", "Panaji"], "key": 1}) + "\n")
    dataset = read_dataset(path, columns={"instruction": "ask", "choices": "x, y", "output": "key"})
    assert dataset.records[0].messages[1] == says("B. Panaji")


def test_a_column_of_choices_that_does_not_exist_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("ask,P,Q,key\n" + f"{Q},Pune,Panaji,B\n" * 2)
    with pytest.raises(UserError, match='no column "Z"'):
        read_as(path, "instruction=ask,choices=P,Z,output=key")
