"""Tools: templates get them, the calls are learned and nothing else of them, and none is left out without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import model_files, tool_rows
from support.tool_rows import CHAIN, GOA, ONE, PUNE, SEVERAL, TOOLS, assistant, calls, result, user

from slmstudio.core.data.record import Record, call_line, message_text
from slmstudio.core.errors import UserError
from slmstudio.core.model.chat_template import ChatTemplate
from slmstudio.core.model.tokens import answer_shown, encode, local_tokenizer

TAKE = ("qwen2_5", "llama3_1", "qwen3")
OTHERS = ("microsoft-Phi-3.5-mini-instruct", "gemma-2-style", "llama-3.1-style")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return local_tokenizer(model_files.write_model(tmp_path_factory.mktemp("m")))


def chat_template(name: str) -> ChatTemplate:
    source = (tool_rows.DATA / "chat_templates" / f"{name}.jinja")
    text = source.read_text(encoding="utf-8") if source.is_file() else tool_rows.template(name)
    return ChatTemplate(text, {"bos_token": "<s>", "eos_token": "</s>"})


def learned(tokenizer: Any, name: str, messages: list[dict[str, Any]], tools: Any = TOOLS) -> list[str]:
    return model_files.learned_texts(encode(messages, tokenizer, chat_template(name), tools=tools))


def qwen(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def llama(arguments: str) -> str:
    return f'{{"name": "get_weather", "parameters": {arguments}}}<|eot_id|>'


PUNE_JSON, GOA_JSON = '{"city": "पुणे", "days": 1}', '{"city": "Goa", "days": 2}'


def test_calls_and_answers_are_learned_and_neither_schemas_nor_results(tokenizer: Any) -> None:
    end = "<|im_end|>"
    pune, goa = qwen("get_weather", PUNE_JSON), qwen("get_weather", GOA_JSON)
    assert learned(tokenizer, "qwen2_5", ONE) == [pune + end, "31 °C." + end]
    assert learned(tokenizer, "qwen2_5", ONE[:2]) == [pune + end]
    assert learned(tokenizer, "qwen2_5", CHAIN) == [pune + end, goa + end, "Pune." + end]
    assert learned(tokenizer, "qwen2_5", SEVERAL) == [
        f"{pune}\n{goa}{end}", "31 and 29." + end, qwen("book_ticket", '{"to": "Goa"}') + end]
    assert learned(tokenizer, "llama3_1", ONE) == [llama(PUNE_JSON), "31 °C.<|eot_id|>"]
    assert learned(tokenizer, "llama3_1", CHAIN) == [llama(PUNE_JSON), llama(GOA_JSON), "Pune.<|eot_id|>"]


def test_several_results_in_a_row_are_one_turn_that_is_not_learned(tokenizer: Any) -> None:
    encoded = encode(SEVERAL, tokenizer, chat_template("qwen2_5"), tools=TOOLS)
    results = "\n".join(f"<tool_response>\n{degrees}\n</tool_response>" for degrees in (31, 29))
    assert f"<|im_start|>user\n{results}<|im_end|>" in encoded.text
    assert not any("29" in run and "31 and" not in run for run in model_files.learned_texts(encoded))


def test_words_beside_a_call_are_learned_where_the_template_writes_them(tokenizer: Any) -> None:
    both = [user("Pune?"), calls(PUNE, content="Let me look."), result("31"), assistant("31.")]
    assert learned(tokenizer, "qwen2_5", both)[0] == "Let me look.\n" + qwen("get_weather", PUNE_JSON) + "<|im_end|>"
    assert learned(tokenizer, "llama3_1", both)[0] == llama(PUNE_JSON)


def test_a_call_that_is_written_otherwise_once_messages_follow(tokenizer: Any) -> None:
    """Qwen3 writes an empty thought before the last message alone."""
    end, pune, goa = "<|im_end|>", qwen("get_weather", PUNE_JSON), qwen("get_weather", GOA_JSON)
    thought = "<think>\n\n</think>\n\n"
    assert learned(tokenizer, "qwen3", CHAIN) == [pune + end, goa + end, f"{thought}Pune.{end}"]
    assert learned(tokenizer, "qwen3", CHAIN[:2]) == [thought + pune + end]
    same = [user("a"), calls(PUNE), result("31"), calls(PUNE), result("30"), assistant("b")]
    assert learned(tokenizer, "qwen3", same)[:2] == [pune + end] * 2


def test_a_call_with_an_end_of_its_own(tokenizer: Any) -> None:
    assert learned(tokenizer, "gptoss", ONE[:2])[0].endswith("<|call|>")
    source = ("{% for t in tools or [] %}{{ t.function.name }}{% endfor %}{% for m in messages %}"
              "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>' + m.content }}{% for c in m.tool_calls or [] %}"
              "{{ c.function.name ~ c.function.arguments | tojson }}{% endfor %}"
              "{{ '<|im_end|>' if m.tool_calls else '<|eot_id|>' }}{{ '\\n' }}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>' }}{% endif %}")
    encoded = encode(ONE, tokenizer, ChatTemplate(source), tools=TOOLS)
    assert model_files.learned_texts(encoded) == [f"get_weather{PUNE_JSON}<|im_end|>", "31 °C.<|eot_id|>"]


def test_a_call_that_cannot_be_found_is_an_error_and_not_left_out(tokenizer: Any) -> None:
    source = ("{{ messages | length }}{% for t in tools or [] %}{{ t.function.name }}{% endfor %}"
              "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
              "{{ c.function.name ~ c.function.arguments | tojson }}{% endfor %}{{ '</s>' }}{% endfor %}")
    assert ChatTemplate(source).takes_tools()
    with pytest.raises(UserError, match="can't be found"):
        encode(ONE, tokenizer, ChatTemplate(source), tools=TOOLS)


def test_which_templates_take_tools() -> None:
    assert {name: chat_template(name).takes_tools() for name in (*TAKE, *OTHERS)} == {
        **dict.fromkeys(TAKE, True), **dict.fromkeys(OTHERS, False)}
    assert not ChatTemplate(model_files.CHATML).takes_tools()
    # Named in the source isn't yet written: this one offers tools, and passes over the calls.
    assert not ChatTemplate("{{ tools }}{% for m in messages %}{{ m.content }}{% endfor %}").takes_tools()


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(("messages", "tools"), [(ONE, TOOLS), (ONE, ()), (ONE[:1] + ONE[3:], TOOLS)])
def test_no_call_is_left_out_without_a_word(tokenizer: Any, name: str, messages: Any, tools: Any) -> None:
    with pytest.raises(UserError, match="chat template doesn't support tools") as caught:
        encode(messages, tokenizer, chat_template(name), tools=tools)
    assert "Qwen 2.5 or Llama 3.1" in caught.value.remedy


def test_a_refusal_of_calls_is_told_as_such(tokenizer: Any) -> None:
    with pytest.raises(UserError, match="single tool-calls") as caught:
        learned(tokenizer, "llama3_1", SEVERAL)
    assert "tool calls" in caught.value.why and "such rows" in caught.value.remedy


def test_large_tools_are_no_attack() -> None:
    large = tool_rows.tool("x", **{f"parameter_{number}": "string" for number in range(20_000)})
    assert "parameter_19999" in chat_template("qwen2_5").render(ONE, tools=[large])


def test_the_answer_as_a_model_is_seen_to_write_it(tokenizer: Any) -> None:
    assert answer_shown(ONE[:2], tokenizer, chat_template("qwen2_5"), TOOLS) == qwen("get_weather", PUNE_JSON)
    assert answer_shown(ONE[:2], tokenizer, chat_template("llama3_1"), TOOLS) == llama(PUNE_JSON).removesuffix(
        "<|eot_id|>")
    assert answer_shown(ONE, tokenizer, chat_template("qwen2_5"), TOOLS) == "31 °C."


def test_what_a_row_with_tools_says() -> None:
    row = Record(tuple(SEVERAL), 1, tools=TOOLS)
    assert row.prompt == ("Short.", "Pune, Goa?")
    pune = 'get_weather(city="पुणे", days=1)'
    assert row.contents == ("Short.", "Pune, Goa?", f'{pune}\nget_weather(city="Goa", days=2)', "31", "29",
                            "31 and 29.", "A ticket to Goa.", 'book_ticket(to="Goa")')
    assert message_text(calls(PUNE, content="Look.")) == f"Look.\n{pune}"
    assert call_line(tool_rows.call("now")) == "now()" and call_line(GOA).endswith("days=2)")
    assert row.has_tools and Record(tuple(ONE), 1).has_tools and Record(tuple(ONE[:1]), 1, tools=TOOLS).has_tools
    assert not Record((user("a"), assistant("b")), 1).has_tools


def test_preview_and_training_agree_on_a_folder(tmp_path: Path) -> None:
    folder = model_files.write_model(tmp_path / "m", template=tool_rows.template("qwen2_5"))
    encoded = encode(ONE, local_tokenizer(folder), ChatTemplate.from_folder(folder), completion_only=False, tools=TOOLS)
    assert all(encoded.learned) and '"name": "book_ticket"' in encoded.text
