"""The server with real clients: a real process, a real model and the `openai` package."""

from __future__ import annotations

import concurrent.futures
import json

import psutil
import pytest
from support.served_model import CONTEXT, QUESTION

from slmstudio.core.jobs.interactive import InteractiveWorker


def test_it_says_where_it_is(server) -> None:
    said = server.said
    assert said["url"] == f"http://127.0.0.1:{said['port']}/v1" and said["model"] == "starter-Q4_1"
    assert (said["context_length"], said["parallel"], said["chat_template"]) == (CONTEXT, 3, True)
    listening = [each for each in psutil.Process(said["pid"]).net_connections() if each.status == "LISTEN"]
    assert [each.laddr.ip for each in listening] == ["127.0.0.1"]


def test_models(server) -> None:
    assert [model.id for model in server.client().models.list()] == ["starter-Q4_1"]
    assert server.client().models.retrieve("starter-Q4_1").id == "starter-Q4_1"


def test_an_answer_and_its_figures(server) -> None:
    answer = server.chat()
    assert answer.object == "chat.completion" and answer.choices[0].message.role == "assistant"
    assert "capital" in answer.choices[0].message.content and answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 6 and answer.usage.total_tokens == answer.usage.prompt_tokens + 6


def test_it_reads_the_prompt_as_the_chat_does(server, gguf) -> None:
    with InteractiveWorker("chat") as chat:
        chat.send({"command": "load", "path": str(gguf), "context_length": CONTEXT})
        chat.send({"command": "count", "messages": QUESTION})
        count = next(message for message in chat.receive() if message["type"] == "count")
    assert server.chat().usage.prompt_tokens == count["tokens"]


def test_streaming_gives_the_same_text(server) -> None:
    whole = server.chat(max_tokens=6).choices[0].message.content
    chunks = list(server.chat(max_tokens=6, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]].count("length") == 1
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 6
    assert all(chunk.usage is None for chunk in server.chat(stream=True))


def test_a_stream_comes_as_it_is_written(server) -> None:
    """The first words are there long before the last."""
    story = [{"role": "user", "content": "Tell a long story about a river."}]
    with server.chat(story, max_tokens=100, stream=True) as stream:
        next(chunk for chunk in stream if chunk.choices[0].delta.content)
        server.wait_for(active=1)
        assert sum(1 for _ in stream) > 50


def test_the_same_seed_gives_the_same_answer_and_another_another(server) -> None:
    def ask(seed: int) -> str:
        return server.chat(temperature=1.5, seed=seed, max_tokens=12).choices[0].message.content

    assert ask(7) == ask(7) and len({ask(seed) for seed in range(1, 6)}) > 1


def test_top_k_one_is_the_likeliest(server) -> None:
    likeliest = server.chat().choices[0].message.content
    assert server.chat(temperature=1.5, extra_body={"top_k": 1}).choices[0].message.content == likeliest
    assert server.chat(temperature=1.5, extra_body={"min_p": 1.0}).choices[0].message.content == likeliest
    assert server.chat(temperature=1.5, top_p=0.0).choices[0].message.content == likeliest


def test_penalties_end_a_repetition(server) -> None:
    prompt = "1 1 1 1 1 1 1 1 1 1 1 1"
    ask = server.client().completions.create
    plain = ask(model=server.model, prompt=prompt, temperature=0, max_tokens=16).choices[0].text
    other = ask(model=server.model, prompt=prompt, temperature=0, max_tokens=16, frequency_penalty=2.0).choices[0].text
    assert plain.count("1") == 8 and other.count("1") < 8


@pytest.mark.parametrize("stream", [False, True])
def test_stop_texts_end_the_answer_and_are_left_out(server, stream) -> None:
    whole = server.chat(max_tokens=24).choices[0].message.content
    stop = whole[6:11]
    answer = server.chat(max_tokens=24, stop=["zzz", stop], stream=stream)
    if stream:
        chunks = list(answer)
        text, reason = "".join(c.choices[0].delta.content or "" for c in chunks), chunks[-1].choices[0].finish_reason
    else:
        text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
    assert (text, reason) == (whole[:whole.index(stop)], "stop")


def test_an_answer_in_json_is_json(server) -> None:
    finished = []
    for seed in range(6):
        answer = server.chat(max_tokens=80, temperature=1.0, seed=seed, response_format={"type": "json_object"})
        text, reason = answer.choices[0].message.content, answer.choices[0].finish_reason
        assert text.startswith("{"), "every answer, also one that ends for its length"
        finished += [json.loads(text)] if reason == "stop" else []
        if finished and seed:
            break
    assert finished and all(isinstance(each, dict) for each in finished)
    assert not server.chat().choices[0].message.content.startswith("{"), "by itself it writes none"


def test_the_model_ends_its_turn(server) -> None:
    answer = server.chat([{"role": "user", "content": "Say only: yes"}], max_tokens=200)
    assert answer.choices[0].finish_reason == "stop" and answer.usage.completion_tokens < 200
    assert "<|im_end|>" not in answer.choices[0].message.content


def test_completions(server) -> None:
    answer = server.client().completions.create(model=server.model, prompt="1, 2, 3, 4,", temperature=0, max_tokens=4)
    assert answer.choices[0].text.startswith(" 5") and answer.object == "text_completion"
    parts = server.client().completions.create(model=server.model, prompt=["1, 2, 3, 4,"], temperature=0, max_tokens=4,
                                               stream=True)
    assert "".join(part.choices[0].text for part in parts) == answer.choices[0].text


def test_a_conversation_in_parts_and_with_a_developer(server) -> None:
    messages = [{"role": "developer", "content": "Answer briefly."},
                {"role": "user", "content": [{"type": "text", "text": "What is the capital "},
                                             {"type": "text", "text": "of India?"}]}]
    plain = [{"role": "system", "content": "Answer briefly."}, *QUESTION]
    assert server.chat(messages).choices == server.chat(plain).choices


def test_what_was_read_is_not_read_again(server) -> None:
    first = server.chat(QUESTION)
    longer = [*QUESTION, {"role": "assistant", "content": first.choices[0].message.content},
              {"role": "user", "content": "And of Nepal?"}]
    assert server.chat(longer).usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens - 2


def test_more_parallel_requests_than_it_has_places_are_all_answered(server) -> None:
    questions = [f"Count from {n} to {n + 3}." for n in range(10, 20)]

    def ask(question: str, stream: bool = False):
        return server.chat([{"role": "user", "content": question}], max_tokens=6, stream=stream)

    alone = [ask(question).choices[0].message.content for question in questions]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(ask, questions, [n == 5 for n in range(10)]))
    chunks = list(answers.pop(5))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert all((answer.choices[0].finish_reason == "length") == (answer.usage.completion_tokens == 6)
               for answer in answers)
    # In a batch a processor adds in another order, which may turn a close choice; a mix-up would turn them all.
    same = [answer.choices[0].message.content == alone[n] for n, answer in zip((*range(5), *range(6, 10)), answers,
                                                                               strict=True)]
    assert len(set(alone)) > 4 and sum(same) > 5, f"answers mix: {alone}, {answers}"


def test_several_answers_are_written_at_once(server) -> None:
    """A short question doesn't wait for the end of a long answer before it."""
    story = [{"role": "user", "content": "Tell a long story about a river."}]
    with server.chat(story, max_tokens=150, stream=True) as stream:
        next(chunk for chunk in stream if chunk.choices[0].delta.content)
        assert server.chat(max_tokens=2).choices[0].message.content == "The capital"
        assert sum(1 for _ in stream) > 50, "the long answer is not over"
