"""The chat worker: a real process, a real model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import starter
from support.chat_worker import Chat

from slmstudio.core.errors import UserError
from slmstudio.core.jobs import processes
from slmstudio.core.jobs.interactive import InteractiveWorker

QUESTION = [{"role": "user", "content": "What is the capital of India?"}]


@pytest.fixture(scope="module")
def gguf() -> Path:
    return starter.gguf()


@pytest.fixture(scope="module")
def chat(gguf, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMSTUDIO_HOME", str(tmp_path_factory.mktemp("home")))
        chat = Chat()
    _, loaded = chat.ask("load", path=str(gguf), context_length=256)
    assert loaded["type"] == "loaded" and loaded["chat_template"]
    assert (loaded["context_length"], loaded["trained_context_length"], loaded["quantization"]) == (256, 8192, "Q4_1")
    yield chat
    chat.worker.close()
    assert not chat.worker.is_alive()


def test_answers_in_pieces_and_says_how_fast(chat) -> None:
    texts, done = chat.generate(QUESTION, max_tokens=100)
    assert "".join(texts).startswith("The capital of India is") and len(texts) > 1
    assert (done["type"], done["reason"], done["id"]) == ("done", "stop", chat.generated)
    assert len(texts) <= done["completion_tokens"] < 100 and done["dropped_messages"] == 0
    assert done["seconds_to_first_token"] > 0 and done["tokens_per_second"] > 0


def test_the_same_seed_gives_the_same_answer(chat) -> None:
    answers = {"".join(chat.generate(QUESTION, temperature=1.0, seed=7)[0]) for _ in range(2)}
    assert len(answers) == 1


def test_the_next_turn_computes_only_what_is_new(chat) -> None:
    texts, first = chat.generate(QUESTION, max_tokens=4)
    longer = [*QUESTION, {"role": "assistant", "content": "".join(texts)}, {"role": "user", "content": "And of Nepal?"}]
    _, second = chat.generate(longer)
    assert second["cached_tokens"] >= first["prompt_tokens"]


@pytest.mark.full
def test_nothing_of_a_stop_string_is_ever_shown(chat) -> None:
    whole = "".join(chat.generate(QUESTION, max_tokens=100)[0])
    stop = "al of Ind"
    assert stop in whole, "it spans tokens"
    texts, done = chat.generate(QUESTION, max_tokens=100, stop=["xyz", stop])
    assert done["reason"] == "stop_string" and "".join(texts) == whole[:whole.index(stop)]
    texts, done = chat.generate(QUESTION, max_tokens=100, stop=[f"{whole[10:16]}§", f"{whole[-3:]}§"])
    assert done["reason"] == "stop" and "".join(texts) == whole, "what was held back is shown at the end"


@pytest.mark.full
def test_every_setting_reaches_the_sampler(chat) -> None:
    greedy = "".join(chat.generate(QUESTION, max_tokens=20)[0])
    wild = {"temperature": 2.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "max_tokens": 20}
    assert "".join(chat.generate(QUESTION, seed=1, **wild)[0]) != greedy
    for narrow in ({"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}):
        assert "".join(chat.generate(QUESTION, seed=1, **{**wild, **narrow})[0]) == greedy
    story = [{"role": "user", "content": "Tell a long story about a river."}]
    plain, punished = ("".join(chat.generate(story, repeat_penalty=penalty, max_tokens=60)[0]) for penalty in (1, 2))
    assert len(set(punished.split())) / len(punished.split()) > len(set(plain.split())) / len(plain.split())


def test_wrong_settings_are_named_all_at_once(chat) -> None:
    _, error = chat.generate(QUESTION, temperature=9, top_p="x", stop=[""])
    assert error["id"] == chat.generated
    assert [each["field"] for each in error["error"]["problems"]] == ["temperature", "top_p", "stop"]


def test_what_will_be_dropped_is_counted_before_it_is_asked(chat) -> None:
    turns = [{"role": role, "content": f"{number} two three four five six seven eight"}
             for number in range(20) for role in ("user", "assistant")]
    _, count = chat.ask("count", messages=[*turns, *QUESTION], max_tokens=6)
    _, done = chat.generate([*turns, *QUESTION])
    assert count["tokens"] > count["prompt_tokens"] == done["prompt_tokens"]
    assert count["dropped_messages"] == done["dropped_messages"] > 0
    _, short = chat.ask("count", messages=QUESTION)
    assert short["tokens"] == short["prompt_tokens"] and short["dropped_messages"] == 0
    _, long = chat.ask("count", messages=[{"role": "user", "content": "word " * 400}])
    assert long["tokens"] > 256 and long["prompt_tokens"] is None


def test_it_says_where_it_runs(chat, gguf) -> None:
    _, loaded = chat.ask("load", path=str(gguf), context_length=256)
    assert loaded["layers"] == 31 and loaded["reason"]
    assert (loaded["layers_on_device"] == 0) is (loaded["device"] == "cpu")


def test_stop_ends_the_answer_at_once(chat) -> None:
    chat.generated += 1
    story = [{"role": "user", "content": "Tell a long story about a river."}]
    chat.worker.send({"command": "generate", "id": chat.generated, "messages": story, "max_tokens": 200})
    assert next(chat.messages)["type"] == "token"
    chat.worker.send({"command": "stop", "id": chat.generated})
    texts, done = chat.answer()
    assert done["reason"] == "stopped" and done["completion_tokens"] < 100 and len(texts) < 100


def test_a_stop_before_the_first_token_works_too(chat) -> None:
    number = chat.generated = chat.generated + 1
    chat.worker.send({"command": "stop", "id": number})
    texts, done = chat.ask("generate", id=number, messages=QUESTION, max_tokens=50)
    assert texts == [] and (done["reason"], done["completion_tokens"]) == ("stopped", 0)


def test_the_oldest_turns_go_and_the_system_message_stays(chat) -> None:
    system = {"role": "system", "content": "You are a pirate."}
    turns = [{"role": role, "content": "one two three four five six seven eight"}
             for _ in range(12) for role in ("user", "assistant")]
    _, whole = chat.ask("count", messages=[system, *turns, *QUESTION])
    _, done = chat.generate([system, *turns, *QUESTION])
    assert whole["tokens"] > 256 > done["prompt_tokens"] + done["completion_tokens"]
    kept = turns[done["dropped_messages"]:]
    assert done["dropped_messages"] % 2 == 0 and 0 < len(kept) < len(turns)
    _, count = chat.ask("count", messages=[system, *kept, *QUESTION])
    assert count["tokens"] == done["prompt_tokens"]


def test_a_message_longer_than_the_context_is_refused(chat) -> None:
    _, error = chat.generate([{"role": "user", "content": "word " * 400}])
    assert error["type"] == "error" and error["id"] == chat.generated
    assert error["error"]["what"] == "The message is too long for the context."


@pytest.mark.full
def test_an_answer_ends_where_the_context_ends(chat) -> None:
    counting = [{"role": "user", "content": ", ".join(map(str, range(1, 46)))}]
    _, done = chat.generate(counting, completion=True, max_tokens=None)
    assert done["reason"] == "length"
    assert done["prompt_tokens"] + done["completion_tokens"] == 256


@pytest.mark.parametrize("content", [None, b"Hello"])
def test_files_that_cannot_be_loaded_leave_it_alive(chat, gguf, tmp_path, content: bytes | None) -> None:
    """Damaged ones are in `test_damaged_gguf.py`."""
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    _, error = chat.ask("load", path=str(path))
    assert error["type"] == "error" and error["error"]["why"] and error["error"]["remedy"], error
    assert chat.worker.is_alive()
    _, loaded = chat.ask("load", path=str(gguf), context_length=256)
    assert loaded["type"] == "loaded"


def test_garbage_and_unknown_commands_are_answered(chat) -> None:
    chat.worker._process.stdin.write(b"\xff garbage\n[1]\n")
    chat.worker._process.stdin.flush()
    for _ in range(2):
        assert "wasn't a JSON object" in next(chat.messages)["error"]["what"]
    _, error = chat.ask("dance")
    assert "'dance'" in error["error"]["what"]


def test_without_a_model_it_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path))
    with InteractiveWorker("chat") as worker:
        worker.send({"command": "generate", "id": 1, "messages": QUESTION})
        assert next(worker.receive())["error"]["what"] == "No model is loaded."


def test_a_worker_that_was_killed_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path))
    worker = InteractiveWorker("chat")
    worker.start()
    worker._process.kill()
    assert list(worker.receive()) == []
    assert "killed" in worker.cause_of_death().why and not worker.is_alive()
    with pytest.raises(UserError, match="has ended"):
        for _ in range(2):
            worker.send({"command": "count", "messages": QUESTION})
    worker.close()


def test_it_ends_when_its_parent_is_gone() -> None:
    done = subprocess.run([sys.executable, "-m", "slmstudio.worker", "--interactive", "chat"], input=b"", timeout=60,
                          capture_output=True, env=processes.worker_environment())
    assert (done.stdout, done.returncode) == (b"", 0)


def test_what_libraries_print_never_reaches_the_channel() -> None:
    code = ("from slmstudio.worker.runtime import interactive; import os; print('stray'); os.write(1, b'stray'); "
            "os.system('echo stray'); raise SystemExit(interactive.main('chat'))")
    done = subprocess.run([sys.executable, "-c", code], input=b'{"command": "count", "messages": []}\n', timeout=60,
                          capture_output=True, env=processes.worker_environment())
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == ["error"]
    assert done.stderr.count(b"stray") == 3


def test_characters_of_several_tokens_come_whole() -> None:
    from slmstudio.worker.gguf_chat.generation import Text

    sent = " नमस्ते 👍🏽!"
    for strip, expected in ((False, sent), (True, sent[1:])):
        text = Text(strip_space=strip)
        pieces = [text.add(bytes([byte])) for byte in sent.encode()]
        assert "".join(pieces) + text.end() == expected
        assert "\ufffd" not in "".join(pieces)
    text = Text(strip_space=False)
    assert text.add("न".encode()[:2]) == "" and text.end() == "\ufffd"


def test_stop_strings_that_nearly_come() -> None:
    from slmstudio.worker.gguf_chat.generation import StopStrings

    stops = StopStrings(["###", "aab"])
    assert stops.add("x#") == ("x", False) and stops.add("#y") == ("##y", False)
    assert stops.add("aaa") == ("a", False) and stops.add("b!") == ("", True)
    stops = StopStrings(["###"])
    assert stops.add("end##") == ("end", False) and stops.end() == "##" and stops.end() == ""
