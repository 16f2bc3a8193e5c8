"""How a server begins and ends: what can't be served, clients that go away, Stop, and a kill."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading

import openai
import psutil
import pytest
from support import model_files
from support.served_model import KEY, Server, serving
from support.tiers import first_fast

from slmstudio.core.serving import PortInUse


@pytest.mark.parametrize("stream", first_fast([True, False]))
def test_a_client_that_goes_away_ends_its_answer(gguf, tmp_path, stream) -> None:
    with serving(gguf, tmp_path / "home", context_length=4096) as server:
        body = json.dumps({"model": server.model, "messages": [{"role": "user", "content": "Write a very long story."}],
                           "max_tokens": 4000, "stream": stream, "temperature": 1.2, "min_p": 0}).encode()
        client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
                       f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        server.wait_for(active=1)
        client.close()
        assert server.wait_for(active=0)["served"] == 0


def test_a_full_queue_is_said(gguf, tmp_path, monkeypatch) -> None:
    from slmstudio.worker.gguf_chat import generation
    from slmstudio.worker.serve import engine as serve_engine

    monkeypatch.setattr(serve_engine, "MAX_WAITING", 2)
    engine = serve_engine.Engine(gguf, 256, 1)
    try:
        ended = []
        with engine._change:  # nobody is taken out of the queue meanwhile
            for _ in range(2):
                engine.submit(generation.Generation([1, 2], generation.Sampling(1), ended.append))
            with pytest.raises(serve_engine.TooManyRequests, match="2 requests are waiting"):
                engine.submit(generation.Generation([1, 2], generation.Sampling(1), ended.append))
    finally:
        engine.close()


def test_a_short_answer_does_not_wait_for_long_ones(gguf, monkeypatch) -> None:
    """They take turns, whether or not their clients read; an interrupted answer continues where it was."""
    from slmstudio.worker.gguf_chat import generation
    from slmstudio.worker.serve import engine as serve_engine

    monkeypatch.setattr(serve_engine, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(serve_engine, "TURN_READINGS", 0)
    engine = serve_engine.Engine(gguf, 256, 1)
    texts, ends, all_ended = ["", "", "", ""], [], threading.Event()

    def ask(number: int, tokens: int) -> None:
        def hear(event) -> None:
            if isinstance(event, generation.Piece):
                texts[number] += event.text
            else:
                ends.append((number, event.reason, event.tokens))
                if len(ends) in (1, 4):
                    all_ended.set()

        prompt = engine.vocab.served("1, 2, 3, 4,")
        engine.submit(generation.Generation(prompt, generation.Sampling(tokens, temperature=0), hear))

    try:
        ask(0, 6)
        assert all_ended.wait(60)
        all_ended.clear()
        with engine._change:
            for number, tokens in ((1, 6), (2, 6), (3, 1)):
                ask(number, tokens)
        assert all_ended.wait(120)
    finally:
        engine.close()
    assert ends[1] == (3, "length", 1) and set(ends[2:]) == {(1, "length", 6), (2, "length", 6)}
    assert texts[1] == texts[2] == texts[0] and texts[3]


def test_the_model_file_is_deleted_while_it_serves(gguf, tmp_path) -> None:
    copy = tmp_path / "gone-Q4_1.gguf"
    shutil.copy(gguf, copy)
    with serving(copy, tmp_path / "home") as server:
        before = server.chat(max_tokens=8).choices
        if os.name == "nt":
            with pytest.raises(OSError):
                copy.unlink()
        else:
            copy.unlink()
        assert server.chat(max_tokens=8).choices == before, "the file is mapped, and stays until it is closed"


def test_a_server_that_was_killed_is_named(gguf, tmp_path) -> None:
    with serving(gguf, tmp_path / "home") as server:
        psutil.Process(server.said["pid"]).kill()
        assert [message for message in server.messages if message["type"] != "status"] == []
        assert "killed" in server.worker.cause_of_death().why
        with pytest.raises(openai.APIConnectionError):
            server.chat()


def test_stop_ends_answers_and_the_port_is_free_again(gguf, tmp_path) -> None:
    with serving(gguf, tmp_path / "home", context_length=2048) as server:
        stream = server.chat([{"role": "user", "content": "Write a very long story."}], stream=True, max_tokens=1800)
        next(chunk for chunk in stream if chunk.choices[0].delta.content)
        server.worker.send({"command": "stop"})
        with pytest.raises((openai.APIError, openai.APIConnectionError)):
            list(stream)
        assert next(message for message in server.messages if message["type"] != "status")["type"] == "stopped"
        with socket.create_server(("127.0.0.1", server.port)):
            pass
        server.worker.send({"command": "start", "path": str(gguf), "key": KEY, "port": server.port})
        assert next(server.messages)["error"]["what"] == "This server has ended."


@pytest.mark.parametrize("make", first_fast([
    "port in use", "no gguf", "network", "no key", "missing", "vocabulary only"], 2))
def test_what_cannot_be_served_is_said_and_the_worker_lives(gguf, tmp_path, monkeypatch, make) -> None:
    monkeypatch.setenv("SLMSTUDIO_HOME", str(tmp_path / "home"))
    bad = tmp_path / "model.gguf"
    if make == "no gguf":
        bad.write_text("Hello")
    elif make == "vocabulary only":
        bad.write_bytes(model_files.small_gguf())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = {"port in use": {"port": taken.getsockname()[1]}, "network": {"host": "0.0.0.0"},
                   "no key": {"key": ""}}.get(make, {"path": str(bad)})
        server = Server(gguf, **options)
        try:
            assert server.said["type"] == "error" and server.said["error"]["remedy"], server.said
            if make == "port in use":
                assert str(server.said["free_port"]) in server.said["error"]["remedy"]
            assert server.worker.is_alive()
            if make in ("port in use", "network", "no key"):  # then it isn't locked yet, and may listen elsewhere
                server.worker.send({"command": "start", "path": str(gguf), "key": KEY})
                assert next(server.messages)["type"] == "serving"
        finally:
            server.worker.close()


def test_without_a_port_the_next_free_one_is_taken() -> None:
    from slmstudio.worker.serve import serve

    with socket.create_server(("127.0.0.1", 0)) as taken:
        with serve.listen("127.0.0.1", taken.getsockname()[1], search=True) as listener:
            assert listener.getsockname()[1] > taken.getsockname()[1]
        with pytest.raises(PortInUse):
            serve.listen("127.0.0.1", taken.getsockname()[1], search=False)


def test_a_file_without_a_template_serves_completions(gguf, tmp_path) -> None:
    data = gguf.read_bytes()
    key = b"tokenizer.chat_template"
    assert data.count(key) == 1
    bare = tmp_path / "bare.gguf"
    bare.write_bytes(data.replace(key, b"tokenizer.chat_templat_"))
    with serving(bare, tmp_path / "home") as server:
        assert server.said["chat_template"] is False
        with pytest.raises(openai.BadRequestError) as caught:
            server.chat()
        assert caught.value.code == "no_chat_template"
        assert server.client().completions.create(model="bare", prompt="1, 2,", max_tokens=2,
                                                  temperature=0).choices[0].text == " 3"
