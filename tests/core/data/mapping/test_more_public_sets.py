"""Further layouts that public sets and programs have; those of `test_public_sets` are simpler."""

from __future__ import annotations

import json

import pytest
from support.chat_rows import read, says, user

from slmstudio.core.data.read_options import ReadOptions
from slmstudio.core.data.reader import NoUsableRow, read_dataset
from slmstudio.core.evaluation.testset.reader import read_test_set

Q, A, B = "What is the capital of Goa?", "It is Panaji, a city on the Mandovi.", "No idea."
ASK, GOOD = {"role": "user", "content": Q}, {"role": "assistant", "content": A}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Pune"}}}
HERMES = {"conversations": [
    {"from": "system", "value": "You are a function calling AI model. You are provided with function signatures within "
                                f"<tools> </tools> XML tags. <tools> [{TOOL}] </tools>"},
    {"from": "human", "value": Q},
    {"from": "gpt", "value": "<tool_call>\n{'arguments': {'city': 'Pune'}, 'name': 'weather'}\n</tool_call>"},
    {"from": "tool", "value": "<tool_response>\n{'degrees': 31}\n</tool_response>"}, {"from": "gpt", "value": A}]}
READ = {
    "Capybara": ({"source": "x", "conversation": [{"input": Q, "output": A}, {"input": B, "output": A}]}, "messages",
                 [ASK, GOOD, user(B), GOOD]),
    "UltraChat": ({"id": "0", "data": [Q, A]}, "messages", [ASK, GOOD]),
    "DailyDialog, which ends with a question": ({"dialog": [Q, A, B], "act": [1, 2, 3]}, "messages", [ASK, GOOD]),
    "LIMO": ({"question": Q, "solution": A, "answer": "42"}, "instruction", [ASK, GOOD]),
    "OpenMathInstruct-2": ({"problem": Q, "generated_solution": A, "expected_answer": "42", "problem_source": "x"},
                           "instruction", [ASK, GOOD]),
    "CAMEL": ({"role_1": "x", "topic;": "y", "message_1": Q, "message_2": A}, "instruction", [ASK, GOOD]),
    "Spider": ({"db_id": "x", "query": "SELECT 1", "question": Q, "query_toks": ["SELECT"]}, "instruction",
               [ASK, says("SELECT 1")]),
    "gretel": ({"id": 1, "sql_prompt": Q, "sql_context": "CREATE TABLE x", "sql": "SELECT 1", "sql_explanation": B},
               "instruction", [user(f"{Q}\n\nCREATE TABLE x"), says("SELECT 1")]),
    "MedQA": ({"question": Q, "answer": "Panaji", "options": {"A": "Pune", "B": "Panaji"}, "answer_idx": "B"},
              "instruction", [user(f"{Q}\n\nA. Pune\nB. Panaji"), says("B. Panaji")]),
    "TriviaQA": ({"question": Q, "answer": {"aliases": [A, B], "value": A, "type": "WikipediaEntity"}}, "instruction",
                 [ASK, GOOD]),
    "QuAC": ({"context": "Goa.", "questions": [Q], "answers": {"texts": [[A, B]], "answer_starts": [[0, 1]]},
              "orig_answers": {"texts": [A], "answer_starts": [0]}}, "messages", [user(f"Goa.\n\n{Q}"), GOOD]),
    "HotpotQA": ({"question": Q, "answer": A, "context": {"title": ["Goa", "Pune"], "sentences": [["One.", " Two."], [
        "Three."]]}}, "instruction", [user(f"{Q}\n\nGoa One. Two.\n\nPune Three."), GOOD]),
    "HotpotQA as published": ({"question": Q, "answer": A, "context": [["Goa", ["One.", " Two."]], [
        "Pune", ["Three."]]]}, "instruction", [user(f"{Q}\n\nGoa One. Two.\n\nPune Three."), GOOD]),
    "PubMedQA": ({"question": Q, "context": {"contexts": ["One.", "Two."], "labels": ["x", "y"]}, "long_answer": A,
                  "final_decision": "yes"}, "instruction", [user(f"{Q}\n\nOne.\n\nTwo."), GOOD]),
    "DROP": ({"passage": "Goa.", "question": Q, "answers_spans": {"spans": [A, B], "types": ["span"]}}, "instruction",
             [user(f"{Q}\n\nGoa."), GOOD]),
    "Natural Instructions": ({"task_name": "task001", "definition": Q, "inputs": B, "targets": A}, "instruction",
                             [user(f"{Q}\n\n{B}"), GOOD]),
    "P3": ({"answer_choices": ["x"], "inputs": [1], "inputs_pretokenized": Q, "targets": [2],
            "targets_pretokenized": A}, "instruction", [ASK, GOOD]),
    "WikiSQL": ({"phase": 1, "question": Q, "table": {"header": ["x"]}, "sql": {"human_readable": A, "sel": 3}},
                "instruction", [ASK, GOOD]),
    "ELI5, one answer": ({"q_id": "x", "title": Q, "selftext": B, "answers": {
        "a_id": ["y"], "text": [A], "score": [3]}}, "instruction", [user(f"{Q}\n\n{B}"), GOOD]),
    "CommitPack": ({"commit": "x", "old_contents": B, "new_contents": A, "message": Q}, "instruction",
                   [user(f"{Q}\n\n{B}"), GOOD]),
    "HellaSwag": ({"ind": 3, "ctx": Q, "endings": ["Panaji.", "Pune."], "label": "0"}, "instruction", [
        user(f"{Q}\n\nA. Panaji.\nB. Pune."), says("A. Panaji.")]),
    "AQuA-RAT": ({"question": Q, "options": ["A)21", "B)22"], "rationale": B, "correct": "B"}, "instruction", [
        user(f"{Q}\n\nA)21\nB)22"), says("B)22")]),
    "MultiWOZ": ({"dialogue_id": "x", "services": ["hotel"], "turns": [
        {"speaker": "USER", "utterance": Q, "turn_id": "0"}, {"speaker": "SYSTEM", "utterance": A, "turn_id": "1"}]},
        "messages", [ASK, GOOD]),
    "MuSiQue": ({"id": "2hop", "question": Q, "answer": A, "paragraphs": [
        {"idx": 0, "title": "Goa", "paragraph_text": "One.", "is_supporting": True},
        {"idx": 1, "title": "Pune", "paragraph_text": "Two.", "is_supporting": False}]}, "instruction",
        [user(f"{Q}\n\nOne.\n\nTwo."), GOOD]),
    "MS MARCO": ({"answers": [A], "passages": {"is_selected": [1, 0], "passage_text": ["One.", "Two."]}, "query": Q,
                  "query_id": 1}, "instruction", [user(f"{Q}\n\nOne.\n\nTwo."), GOOD]),
    "ReClor": ({"context": "Goa.", "question": Q, "answers": ["Panaji", "Pune"], "label": 0}, "instruction",
               [user(f"{Q}\n\nGoa.\n\nA. Panaji\nB. Pune"), says("A. Panaji")]),
    "SVAMP": ({"ID": "x", "Body": "A pack costs 7.", "Question": "And two?", "Equation": "7*2", "Answer": "14"},
              "instruction", [user("And two?\n\nA pack costs 7."), says("14")]),
    "NewsQA": ({"story_id": "x", "question": Q, "answer": A, "story_text": "Goa."}, "instruction",
               [user(f"{Q}\n\nGoa."), GOOD]),
    "AGIEval": ({"passage": "Goa.", "question": Q, "options": ["(A)Pune", "(B)Panaji"], "label": "B", "answer": None},
                "instruction", [user(f"{Q}\n\nGoa.\n\n(A)Pune\n(B)Panaji"), says("(B)Panaji")]),
    "Spider as published": ({"db_id": "x", "query": "SELECT 1", "question": Q, "sql": {"from": {}, "select": [False]}},
                            "instruction", [ASK, says("SELECT 1")]),
    "mental_health_chatbot_dataset": ({"text": f"<HUMAN>: {Q}\n<ASSISTANT>: {A}"}, "messages", [ASK, GOOD]),
    "RAGAS": ({"user_input": Q, "retrieved_contexts": ["One.", "Two."], "response": A}, "instruction",
              [user(f"{Q}\n\nOne.\n\nTwo."), GOOD]),
    "Pralekha": ({"src_lang": "eng", "src_txt": Q, "tgt_lang": "hin", "tgt_txt": A}, "instruction", [ASK, GOOD]),
    "MBPP": ({"task_id": 1, "text": Q, "code": A, "test_list": ["assert f()"]}, "instruction", [ASK, GOOD]),
    "ai-medical-chatbot": ({"Description": B, "Patient": Q, "Doctor": A}, "instruction", [ASK, GOOD]),
    "a FAQ with numbers": ({"Question_ID": "15", "Questions": Q, "Answers": A, "More": B}, "instruction", [ASK, GOOD]),
    "Argilla's first form": ({"prompt": Q, "response": [{"user_id": "u", "value": A, "status": "submitted"}]},
                             "instruction", [ASK, GOOD]),
    "a list of messages a row": ([{"role": "user", "content": Q}, GOOD], "messages", [ASK, GOOD]),
    "IndicAlign, one language": ({"id": 1, "hin_Deva": [[Q, A]]}, "messages", [ASK, GOOD]),
    "Hermes, in Python's quotes": (HERMES, "messages", [
        ASK, {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "{'degrees': 31}"}, GOOD]),
    "Llama 2 as text": ({"text": f"<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n{Q} [/INST] {A} </s>"}, "messages",
                        [{"role": "system", "content": "Be brief."}, ASK, GOOD]),
    "Alpaca as text": ({"text": "Below is an instruction that describes a task.\n\n### Instruction:\n"
                                f"{Q}\n\n### Input:\n{B}\n\n### Response:\n{A}"}, "messages",
                       [user(f"{Q}\n\n{B}"), GOOD]),
}


@pytest.mark.parametrize("name", READ)
def test_a_row_is_read(tmp_path, name):
    row, layout, messages = READ[name]
    dataset = read(tmp_path, [row, row])
    assert (dataset.layout, list(dataset.records[0].messages), dataset.problems) == (layout, messages, [])


@pytest.mark.parametrize("name", ["MedQA", "HellaSwag", "AQuA-RAT", "ReClor", "AGIEval"])
def test_tests_read_the_choices_that_training_reads(tmp_path, name):
    row, _, messages = READ[name]
    read(tmp_path, [row, row])
    item = read_test_set(tmp_path / "rows.jsonl").items[0]
    assert item.kind == "choice" and messages[1]["content"].endswith(item.references[0])
    assert messages[0]["content"].startswith(item.question)


def test_the_tools_of_hermes_are_taken_out_of_the_system_message(tmp_path):
    assert list(read(tmp_path, [HERMES]).records[0].tools) == [TOOL]


def test_a_template_within_a_text_leaves_it_a_text(tmp_path):
    """Only a text that is nothing but messages is a conversation."""
    dataset = read(tmp_path, [{"text": f"{B} <s>[INST] {Q} [/INST] {A}</s>"}, {"text": f"<|user|>\n{Q}</s>\nmore"}])
    assert dataset.layout == "text"


BETTER, WORSE = [ASK, GOOD], [ASK, says(B)]
PAIRS = {
    "UltraFeedback": {"source": "evol", "instruction": Q, "completions": [
        {"response": B, "overall_score": 2.0}, {"response": A, "overall_score": 8.5}]},
    "Stack Exchange": {"qid": 1, "question": Q, "answers": [
        {"answer_id": 1, "author": "x", "pm_score": 3, "text": A}, {"answer_id": 2, "author": "y", "pm_score": 0,
                                                                  "text": B}]},
    "HelpSteer2": {"split": "train", "prompt": Q, "response_1": B, "response_2": A, "preference_strength": 2},
    "HelpSteer3": {"context": [ASK], "response1": A, "response2": B, "overall_preference": -1},
    "Skywork": {"chosen": BETTER, "rejected": WORSE, "source": "magpie"},
    "ELI5": {"title": Q, "selftext": "", "answers": {"a_id": ["x", "y"], "text": [B, A], "score": [3, 17]}},
    "UltraInteract": {"task": "Math_CoT", "trajectory": [{"from": "user", "value": Q}], "chosen": A, "rejected": B},
    "Capybara's pairs": {"conversation": [{"input": Q, "output": A}], "prompt": Q, "chosen": BETTER, "rejected": WORSE},
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_is_read(tmp_path, name):
    dataset = read(tmp_path, [PAIRS[name]] * 2)
    record = dataset.records[0]
    assert (dataset.layout, list(record.messages), record.rejected) == ("preference", [ASK, GOOD], B)


def test_what_an_annotator_refused_is_not_learned(tmp_path):
    """As in the files of Prodigy's."""
    rows = [{"text": Q, "label": A, "_task_hash": at, "answer": said} for at, said in enumerate(("accept", "reject"))]
    dataset = read(tmp_path, rows)
    assert ([list(each.messages) for each in dataset.records], dataset.rows_left_out) == ([[ASK, GOOD]], 1)
    assert "the annotator didn't accept this row" in str(dataset.problems[0]) and dataset.problems[0].field == "answer"
    assert len(read_dataset(dataset.path, options=ReadOptions(marks="ignore")).records) == 2


def test_of_equal_answers_neither_is_learned(tmp_path):
    rows = [{**PAIRS["HelpSteer2"], "preference_strength": strength} for strength in (-2, 0, 1)]
    dataset = read(tmp_path, rows)
    assert [record.rejected for record in dataset.records] == [A, B]
    assert [(each.line, each.field) for each in dataset.problems] == [(2, "preference_strength")]


def test_unsafe_answers_are_not_learned_as_good(tmp_path):
    """As in BeaverTails; and a solution is marked, not its result, as in OpenMathInstruct-1."""
    safe = read(tmp_path, [{"prompt": Q, "response": A, "category": {"x": False}, "is_safe": at % 2 == 0}
                           for at in range(4)])
    assert (safe.layout, [record.desirable for record in safe.records]) == ("labelled", [True, False, True, False])
    right = read(tmp_path, [{"question": Q, "expected_answer": "42", "is_correct": at % 2 == 0,
                             "generated_solution": A} for at in range(4)])
    assert right.mapping == {"prompt": "question", "completion": "generated_solution", "label": "is_correct"}


@pytest.mark.parametrize(("text", "kind", "values"), [
    ("text", "label", (0, 1)), ("text", "label", ("0", "1")), ("sentence", "label", (0, 1, 2)),
    ("tweet", "class", (0, 1)), ("text", "stars", (1, 5))])
def test_the_number_of_a_class_is_the_answer(tmp_path, text, kind, values):
    dataset = read(tmp_path, [{text: f"{Q} {at}", kind: values[at % len(values)]} for at in range(12)])
    assert list(dataset.records[1].messages) == [user(f"{Q} 1"), says(str(values[1]))]
    assert dataset.layout == "instruction"


def test_a_question_without_an_answer_is_said_to_have_none(tmp_path):
    rows = [{"context": "Goa.", "question": Q, "answers": {"text": said, "answer_start": [0]}} for said in ([A], [])]
    assert [str(each) for each in read(tmp_path, rows).problems] == [
        "line 2: the question has no answer, so there is nothing to learn."]


def test_of_conversations_in_several_languages_each_is_a_row_or_one_is_chosen(tmp_path):
    row = {"id": 1, "eng_Latn": [[B, B]], "hin_Deva": [[Q, A]], "tam_Taml": []}
    dataset = read(tmp_path, [row])
    assert [list(each.messages) for each in dataset.records] == [[user(B), says(B)], [ASK, GOOD]]
    assert "read as one row for each language (2 rows)" in dataset.notes[0] and "hin_Deva" in dataset.columns
    assert list(read_dataset(tmp_path / "rows.jsonl", None, None, {"messages": "hin_Deva"}).records[0].messages) == [
        ASK, GOOD]


def node(name, parent, role, *parts, **more):
    return {"id": name, "parent": parent, "message": {"author": {"role": role}, "recipient": "all", "content": {
        "content_type": "text", "parts": list(parts)}, **more}}


def export(**nodes):
    first = {"r": {"id": "r", "parent": None, "message": None}, "s": node("s", "r", "system", "")}
    return {"title": "Goa", "mapping": {**first, **nodes}, "current_node": list(nodes)[-1], "create_time": 1.0}


def test_what_chatgpt_showed_last_is_a_conversation(tmp_path):
    tried = export(q=node("q", "s", "user", Q), bad=node("bad", "q", "assistant", B), t=node(
        "t", "q", "assistant", "search()", recipient="browser"), a=node("a", "t", "assistant", "It is Panaji,"),
        b=node("b", "a", "assistant", "a city."))
    picture = export(q=node("q", "s", "user", {"content_type": "image_asset_pointer"}, Q),
                     a=node("a", "q", "assistant", A))
    dataset = read(tmp_path, [tried, picture], "conversations.json")
    assert [list(record.messages) for record in dataset.records] == [[ASK, says("It is Panaji,\n\na city.")]]
    assert ["image_asset_pointer" in str(each) for each in dataset.problems] == [True]


@pytest.mark.parametrize("rows", [
    {"conversations": [[ASK, GOOD], [ASK, GOOD]]}, {"data": [{"messages": [ASK, GOOD]}, {"messages": [ASK, GOOD]}]},
    {"conversations": [{"messages": [ASK, GOOD]}, {"messages": [ASK, GOOD]}]},
    {"conversations": [[Q, A], [Q, A]]}, {"intents": [{"tag": "x", "patterns": [Q, Q], "responses": [A]}]}])
@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl"])
def test_one_list_in_a_file_holds_its_rows(tmp_path, rows, name):
    dataset = read(tmp_path, rows if name == "rows.json" else [rows], name)
    assert [list(record.messages) for record in dataset.records] == [[ASK, GOOD]] * 2


def test_lists_in_the_first_of_several_rows_are_no_rows(tmp_path):
    row = {"question": Q, "answer": A, "quotes": [{"from_page": 1}], "links": [{"to": "x"}]}
    path = tmp_path / "rows.json"
    path.write_text("\n".join(json.dumps(row, indent=1) for _ in range(2)))
    dataset = read_dataset(path)
    assert (dataset.count, dataset.notes) == (2, ())


@pytest.mark.parametrize("rows", [
    {"faqs": [[Q, A], [Q, A]]}, {"name": "Goa", "faqs": [[Q, A], [Q, A]]},
    {"range": "A1:B3", "values": [["Question", "Answer"], [Q, A], [Q, A]]},
    {"version": 2, "questions": [[Q, A], [Q, A]]}, {Q: A, f" {Q}": A, f"{Q} ": A},
    {"url": "x", "faqs": [{"question": Q, "answer": A}] * 2}])
def test_questions_with_answers_in_a_list_are_rows(tmp_path, rows):
    dataset = read(tmp_path, rows, "rows.json")
    assert (dataset.layout, dataset.count) == ("instruction", 3 if len(rows) == 3 else 2)
    assert [message["content"].strip() for message in dataset.records[1].messages] == [Q, A]


@pytest.mark.parametrize("pairs", [[[Q, A], [B, A]], [{"question": Q, "answer": A}, {"question": B, "answer": A}], [
    {"id": "1", "question": Q, "answers": [{"text": A}]}, {"id": "2", "question": B, "answers": [{"text": A}]}]])
def test_questions_that_are_not_asked_in_turn_are_rows(tmp_path, pairs):
    dataset = read(tmp_path, [{"topic": "Goa", "qas": pairs}] * 2)
    assert [list(each.messages) for each in dataset.records] == [[ASK, GOOD], [user(B), GOOD]] * 2
    assert dataset.notes == () and len({each.group for each in dataset.records}) == 2  # split together


def test_the_title_of_a_text_is_sorted_with_it(tmp_path):
    rows = [{"Class Index": str(at % 3), "Title": f"Goa {at} wins", "Description": f"The team {at} from Goa has won."}
            for at in range(9)]
    dataset = read(tmp_path, rows)  # as AG News
    assert list(dataset.records[1].messages) == [user("Goa 1 wins\n\nThe team 1 from Goa has won."), says("1")]


def test_a_text_whose_words_are_tagged_is_not_learned_as_text(tmp_path):
    with pytest.raises(NoUsableRow):  # as SNIPS
        read(tmp_path, [{"text": f"play song {at} by lata", "slots": "O O O O B-artist"} for at in range(6)])


def test_comments_on_a_ticket_may_answer_it(tmp_path):
    with pytest.raises(NoUsableRow):  # as Zendesk's
        read(tmp_path, [{"id": at, "subject": "x", "description": f"{Q} {at}", "comments": [{"author": 1, "body": A}]}
                        for at in range(6)])


def test_lines_for_fasttext_are_asked_about(tmp_path):
    (tmp_path / "rows.txt").write_text("".join(
        f"__label__{('pos', 'neg')[at % 2]} film {at} was nice\n" for at in range(6)))
    assert not read_dataset(tmp_path / "rows.txt").is_sure
