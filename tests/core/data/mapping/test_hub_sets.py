"""Rows as sets for instruction, tools and preference are published on model hubs, and as programs and services write
them; `test_public_sets` has simpler ones."""

from __future__ import annotations

import json

import pytest
from support.chat_rows import read, says, user

from slmstudio.core.data.reader import NoUsableRow

Q, A, B = "What is the capital of Goa?", "It is Panaji, a city on the Mandovi.", "No idea."
ASK, GOOD = user(Q), says(A)
SYSTEM = {"role": "system", "content": "Be brief."}
WEATHER = {"name": "weather", "description": "d", "parameters": {"type": "object"}}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Pune"}}}
CALLED = [ASK, {"role": "assistant", "content": "", "tool_calls": [CALL]},
          {"role": "tool", "content": '{"degrees": 31}'}, GOOD]

READ = {
    "distilabel": ({"instruction": Q, "generation": A, "distilabel_metadata": {"raw": A}, "model_name": "x"},
                   "instruction", [ASK, GOOD]),
    "Chinese-DeepSeek-R1-Distill": ({"input": Q, "reasoning_content": B, "content": A, "repo_name": "x", "score": 10},
                                    "instruction", [ASK, GOOD]),
    "Alpaca with headers in Hindi": ({"निर्देश": Q, "इनपुट": B, "आउटपुट": A, "श्रेणी": "x"}, "instruction",
                                     [user(f"{Q}\n\n{B}"), GOOD]),
    "Alpaca with headers in Tamil": ({"அறிவுறுத்தல்": Q, "உள்ளீடு": B, "வெளியீடு": A}, "instruction",
                                     [user(f"{Q}\n\n{B}"), GOOD]),
    "the language in front": ({"hindi_instruction": Q, "hindi_input": B, "hindi_output": A}, "instruction",
                              [user(f"{Q}\n\n{B}"), GOOD]),
    "the language behind": ({"Question (Tamil)": Q, "Context (Tamil)": B, "Answer (Tamil)": A}, "instruction",
                            [user(f"{Q}\n\n{B}"), GOOD]),
    "MedDialog": ({"description": B, "utterances": [f"patient: {Q}", f"doctor: {A}"]}, "messages", [ASK, GOOD]),
    "doccano": ({"id": 1, "text": Q, "label": [A], "Comments": []}, "instruction", [ASK, GOOD]),
    "a log of Anthropic's": ({"input": {"system": "Be brief.", "messages": [ASK]}, "output": {
        "type": "message", "role": "assistant", "content": [{"type": "text", "text": A}]}}, "messages",
        [SYSTEM, ASK, GOOD]),
    "Gemini with thoughts": ({"contents": [{"role": "user", "parts": [{"text": Q}]}, {
        "role": "model", "parts": [{"text": B, "thought": True}, {"text": A}]}]}, "messages", [ASK, GOOD]),
    "BELLE": ({"instruction": f"Human:{B}\nAssistant:{A}\nHuman:{Q}\nAssistant:\n", "input": "", "output": A},
              "messages", [user(B), GOOD, ASK, GOOD]),
    "ChatQA": ({"document": B, "messages": [ASK, GOOD, ASK], "answers": [A]}, "messages",
               [ASK, GOOD, user(f"{Q}\n\n{B}"), GOOD]),
    "PIPPA": ({"bot_name": "x", "conversation": [{"message": Q, "is_human": True}, {"message": A, "is_human": False}]},
              "messages", [ASK, GOOD]),
    "keys in capitals": ({"messages": [{"Role": "User", "Content": Q}, {"Role": "Assistant", "Content": A}]},
                         "messages", [ASK, GOOD]),
    "roles in Hindi": ({"messages": [{"role": "उपयोगकर्ता", "content": Q}, {"role": "सहायक", "content": A}]}, "messages",
                       [ASK, GOOD]),
    "what was said before the answer": ({"context": ["Hi", "Hello.", Q], "response": A}, "messages",
                                        [user("Hi"), says("Hello."), ASK, GOOD]),
    "what was said before, and who greeted": ({"history": ["Hello.", Q], "response": A}, "messages", [ASK, GOOD]),
    "MT-Bench with references": ({"prompt": [Q, B], "reference": [A, B]}, "messages", [ASK, GOOD, user(B), says(B)]),
    "a question in parts": ({"input": [B, Q], "output": A}, "instruction", [user(f"{B}\n\n{Q}"), GOOD]),
    "several questions with one answer": ({"questions": [Q, B], "answer": A}, "instruction", [ASK, GOOD]),
    "a prompt of Llama 2": ({"prompt": f"<s>[INST] {Q} [/INST]", "completion": f" {A}</s>"}, "messages",
                            [ASK, says(f" {A}")]),
    "a list as Python writes it": ({"id": "1", "conversations": repr([ASK, GOOD])}, "messages", [ASK, GOOD]),
    "a list as NumPy writes it": ({"conversations": f"[{ASK!r}\n {GOOD!r}]"}, "messages", [ASK, GOOD]),
    "a transcript in a cell": ({"ticket": 1, "conversation": f"Customer: {Q}\nAgent: {A}"}, "messages", [ASK, GOOD]),
    "an answer that is a transcript": ({"instruction": Q, "output": f"User: {Q}\nBot: {A}"}, "instruction",
                                       [ASK, says(f"User: {Q}\nBot: {A}")]),
    "a chatbot's log": ({"ts": "2024", "user_message": Q, "bot_message": A, "intent": "x"}, "instruction", [ASK, GOOD]),
    "Alpaca's prompt": ({"prompt": f"Below is an instruction.\n\n### Instruction:\n{Q}\n\n### Response:\n",
                         "completion": A}, "messages", [ASK, GOOD]),
    "Metharme": ({"prompt": f"<|system|>Be brief.<|user|>{Q}<|model|>", "generation": A}, "messages",
                 [SYSTEM, ASK, GOOD]),
    "a prompt in ChatML": ({"prompt": f"<|im_start|>user\n{Q}<|im_end|>\n<|im_start|>assistant\n",
                            "completion": f"{A}<|im_end|>\n"}, "messages", [ASK, GOOD]),
}
TEXTS = {
    "ChatML without its end": f"<|im_start|>user\n{Q}<|im_end|>\n<|im_start|>assistant\n{A}",
    "a question and an answer": f"### Question:\n{Q}\n\n### Answer:\n{A}",
    "Dolly": f"Below is an instruction.\n\n### Instruction:\n{Q}\n\n### Response:\n{A}\n\n### End",
    "Alpaca in Hindi": f"### निर्देश:\n{Q}\n\n### उत्तर:\n{A}",
}


@pytest.mark.parametrize("name", READ)
def test_a_row_is_read(tmp_path, name):
    row, layout, messages = READ[name]
    dataset = read(tmp_path, [row] * 5)
    assert (dataset.layout, list(dataset.records[0].messages), dataset.problems) == (layout, messages, [])


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_a_template_wrote_is_a_conversation(tmp_path, name):
    dataset = read(tmp_path, [{"text": TEXTS[name]}] * 2)
    said = [each for each in dataset.records[0].messages if each["role"] != "system"]
    assert (dataset.layout, said) == ("messages", [ASK, GOOD])


@pytest.mark.parametrize("text", [
    f"He wrote USER: {Q} ASSISTANT: {A}, and more.", f"<|im_start|>user\n{Q}<|im_start|>assistant\n{A}",
    f"### Question:\n{Q}\n\n### Remark:\n{A}", f"# Goa\n\n### Answer:\n{A}\n\n### Question:\n{Q}"])
def test_a_text_that_only_looks_like_one_stays_a_text(tmp_path, text):
    assert read(tmp_path, [{"text": text}] * 2).layout == "text"


def test_what_llama_calls_between_its_marks(tmp_path):
    """It ends a call with another mark than an answer."""
    text = (f"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{Q}<|eot_id|><|start_header_id|>assistant"
            '<|end_header_id|>\n\n<|python_tag|>search("Goa")<|eom_id|><|start_header_id|>ipython<|end_header_id|>\n\n'
            f"31<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n{A}<|eot_id|>")
    assert [each["role"] for each in read(tmp_path, [{"text": text}] * 2).records[0].messages] == [
        "user", "assistant", "tool", "assistant"]


TOOLS = {
    "Gemini": {"contents": [
        {"role": "user", "parts": [{"text": Q}]},
        {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Pune"}}}]},
        {"role": "function", "parts": [{"functionResponse": {"name": "weather", "response": {"degrees": 31}}}]},
        {"role": "model", "parts": [{"text": A}]}], "tools": [{"functionDeclarations": [WEATHER]}]},
    "Bedrock": {"schemaVersion": "bedrock-conversation-2024", "messages": [
        {"role": "user", "content": [{"text": Q}]},
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "weather", "input": {
            "city": "Pune"}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t", "content": [{"json": {"degrees": 31}}]}}]},
        {"role": "assistant", "content": [{"text": A}]}], "toolConfig": {"tools": [{"toolSpec": {
            "name": "weather", "description": "d", "inputSchema": {"json": {"type": "object"}}}}]}},
    "Qwen": {"messages": [
        {"role": "system", "content": f"# Tools\n\n<tools>\n{json.dumps(WEATHER)}\n</tools>"}, ASK,
        says('<tool_call>\n{"name": "weather", "arguments": {"city": "Pune"}}\n</tool_call>'),
        user('<tool_response>\n{"degrees": 31}\n</tool_response>'), GOOD]},
    "function-calling-chatml": {"function_description": json.dumps(WEATHER), "conversations": [
        {"from": "human", "value": Q},
        {"from": "function-call", "value": '{"name": "weather", "arguments": {"city": "Pune"}}'},
        {"from": "function-response", "value": '{"degrees": 31}'}, {"from": "gpt", "value": A}]},
}


@pytest.mark.parametrize("name", TOOLS)
def test_calls_and_their_results(tmp_path, name):
    record = read(tmp_path, [TOOLS[name]] * 2).records[0]
    assert [{key: each for key, each in message.items() if key not in ("tool_call_id", "name")}
            for message in record.messages if message["role"] != "system"] == CALLED
    assert list(record.tools) == [{"type": "function", "function": WEATHER}]


PAIRS = {
    "Argilla's records": {"fields": {"instruction": Q, "response_a": A, "response_b": B}, "suggestions": {},
                          "responses": {"preference": [{"value": "response_a", "user_id": "u"}]}},
    "best of several": {"prompt": Q, "responses": [B, A], "scores": [0.1, 0.9]},
    "ms-swift": {"messages": [ASK, GOOD], "rejected_response": B},
    "ms-swift, as messages": {"messages": [ASK, GOOD], "rejected_messages": [ASK, says(B)]},
    "Gemini": {"contents": [{"role": "user", "parts": [{"text": Q}]}], "completions": [
        {"score": score, "completion": {"role": "model", "parts": [{"text": text}]}}
        for text, score in ((A, 1), (B, 0))]},
    "headers in Hindi": {"प्रश्न": Q, "अच्छा उत्तर": A, "खराब उत्तर": B},
    "lists as Python writes them": {"prompt": Q, "chosen": repr([ASK, GOOD]), "rejected": repr([ASK, says(B)])},
    "a prompt in ChatML": {"prompt": f"<|im_start|>user\n{Q}<|im_end|>\n<|im_start|>assistant\n",
                           "chosen": f"{A}<|im_end|>\n", "rejected": f"{B}<|im_end|>\n"},
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_is_read(tmp_path, name):
    dataset = read(tmp_path, [PAIRS[name]] * 2)
    record = dataset.records[0]
    assert (dataset.layout, list(record.messages), record.rejected) == ("preference", [ASK, GOOD], B)


def test_what_a_pair_is_about_goes_below_its_question(tmp_path):
    row = {"document": B, "prompt": [ASK], "chosen": [GOOD], "rejected": [says("Pune.")]}
    assert list(read(tmp_path, [row] * 2).records[0].messages) == [user(f"{Q}\n\n{B}"), GOOD]


@pytest.mark.parametrize(("row", "named"), [
    ({"instruction": Q, "output": A, "tamil_instruction": Q, "tamil_output": A}, ["tamil_instruction", "tamil_output"]),
    ({"instruction": Q, "output": B, "reflection": B, "corrected": A}, ["corrected"]),
    ({"problem": Q, "deepseek_reasoning": B, "deepseek_solution": A}, ["deepseek_reasoning"]),
    ({"question": Q, "think": B, "answer": A}, ["think"]),
    ({"source": Q, "target": A, "rationale": B}, ["rationale"]),
    ({"question": Q, "answer": A, "user_rating": 4}, ["user_rating"]),
    ({"documents": [B, B], "question": Q, "answer": A}, ["documents"]),
    ({"en_messages": [ASK, GOOD], "hi_messages": [ASK, GOOD], "num_messages": 2}, ["hi_messages"]),
    ({"question": Q, "reference_answer": A, "responses": [{"response_model": "x", "response": B}]}, ["responses"]),
    ({"messages": [ASK, GOOD], "chat_template_kwargs": {"enable_thinking": True}}, ["chat_template_kwargs"]),
    ({"messages": [ASK, {**GOOD, "train_detail": [{"begin_offset": 0}]}]}, ["messages.train_detail"]),
    ({"question": Q, "answer": A, "question_license": "MIT", "answer_idx": "B"}, [])])
def test_columns_that_change_what_is_learned_are_named(tmp_path, row, named):
    assert list(read(tmp_path, [row] * 2).unused_that_matter) == named


@pytest.mark.parametrize(("rows", "said"), [
    ([{"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": "gs://x"}}, {"text": Q}]},
                    {"role": "model", "parts": [{"text": A}]}]}] * 2, '"fileData"; models learn only from text here'),
    ([{"messages": [{"role": "user", "content": [{"text": Q}, {"image": {"format": "png"}}]},
                    {"role": "assistant", "content": [{"text": A}]}]}] * 2, 'of the type "image"'),
    ([{"question_id": 81, "category": "math", "turns": [Q, "Say it in verse."], "reference": [A, B]}] * 2, '"turns"')],
    ids=["Gemini with a file", "Bedrock with a picture", "MT-Bench"])
def test_what_cannot_be_learned_is_refused_in_a_sentence(tmp_path, rows, said):
    with pytest.raises(NoUsableRow, match=said):
        read(tmp_path, rows)


def test_prompts_without_answers_are_asked_about(tmp_path):
    found = read(tmp_path, [{"act": f"Guide {at}", "prompt": f"Act as a guide to the {at} beaches of Goa, and answer."}
                            for at in range(6)])
    assert [each.line for each in found.candidates] == ["instruction=act,output=prompt"] and not found.is_sure


@pytest.mark.parametrize(("header", "good", "bad"), [
    ("user_feedback", "👍", "👎"), ("is_accepted", True, False), ("Helpful?", "Yes", "No"),
    ("Was it correct", "yes", "no"), ("सही/गलत", "सही", "गलत"), ("user_liked", "1", "0")])
def test_a_label_may_have_a_longer_name(tmp_path, header, good, bad):
    dataset = read(tmp_path, [{"Query": Q, "Reply": A, header: (good, bad)[at % 2]} for at in range(4)])
    assert (dataset.layout, [each.desirable for each in dataset.records]) == ("labelled", [True, False] * 2)


def test_a_conversation_under_each_key_is_a_row(tmp_path):
    dataset = read(tmp_path, {f"chat {at}": [ASK, GOOD] for at in range(3)}, "chats.json")
    assert [list(each.messages) for each in dataset.records] == [[ASK, GOOD]] * 3


def test_examples_beside_the_rows_are_no_rows(tmp_path):
    """As in the tasks of Natural Instructions, where there are few rows."""
    task = {"Definition": [Q], "Positive Examples": [{"input": "x", "output": "y"}] * 5,
            "Instances": [{"id": "1", "input": B, "output": [A]}] * 2}
    assert [list(each.messages) for each in read(tmp_path, task, "task.json").records] == [
        [user(f"{Q}\n\n{B}"), GOOD]] * 2
