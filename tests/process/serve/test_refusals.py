"""What the server refuses, and says why: wrong keys, what is too long or wrong, and hosts other than this machine."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket

import openai
import psutil
import pytest
from support.served_model import ANSWER, KEY, QUESTION


def test_the_key_is_nowhere_to_be_seen(server) -> None:
    process = psutil.Process(server.said["pid"])
    assert KEY not in " ".join(process.cmdline()) and KEY not in " ".join(process.environ().values())
    stranger = server.client("sk-some other key")
    for ask in (lambda: server.chat(client=stranger), stranger.models.list):
        with pytest.raises(openai.AuthenticationError):
            ask()
    server.chat()
    log = server.worker.log.read_text("utf-8")
    assert KEY not in log and "sk-some other key" not in log


@pytest.mark.parametrize("key", ["", "wrong", "slm-a key for test", "क"])
def test_a_wrong_key_is_refused(server, key) -> None:
    status, body, headers = server.post({"model": server.model, "messages": QUESTION},
                                        Authorization=f"Bearer {key}".encode())
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert (body["error"]["type"], body["error"]["code"]) == (
        "authentication_error", "invalid_api_key" if key else "missing_api_key")


def test_a_prompt_that_does_not_fit_is_refused(server) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        server.chat([{"role": "user", "content": "word " * 1000}])
    assert caught.value.code == "context_length_exceeded" and "512" in caught.value.message
    assert server.chat().choices[0].message.content.startswith(ANSWER)


@pytest.mark.parametrize("size", [2**20, 2**25])
def test_a_megabyte_is_refused_cleanly(server, size) -> None:
    before = psutil.Process(server.said["pid"]).memory_info().rss
    with pytest.raises(openai.APIStatusError) as caught:
        server.chat([{"role": "user", "content": "a" * size}])
    assert caught.value.status_code == 413 and caught.value.code == "context_length_exceeded"
    assert psutil.Process(server.said["pid"]).memory_info().rss - before < 2**24
    assert server.chat().choices[0].message.content.startswith(ANSWER)


def test_a_body_without_end_is_cut_off(server) -> None:
    """It says that it will be a gigabyte and never stops: the server answers, and closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
                       f"Content-Length: {2**30}\r\n\r\n".encode())
        with contextlib.suppress(ConnectionError):
            for _ in range(2**30 // 2**20):
                client.sendall(b" " * 2**20)
    assert server.chat().choices[0].message.content.startswith(ANSWER)


BAD = [
    (b"{", "invalid_json", "isn't JSON"), (b"[1]", "invalid_json", "isn't a JSON object"),
    (b"\xff\xfe", "invalid_json", "isn't JSON"),
    (b"[" * 200_000, "invalid_json", "isn't JSON"), (b'{"temperature": NaN}', "invalid_json", "NaN"),
    ({"messages": QUESTION}, "invalid_value", "model"),
    ({"model": "m", "messages": [], "temperature": "hot", "max_tokens": 0}, "invalid_value", "temperature"),
    ({"model": "m", "messages": QUESTION, "n": 2}, "invalid_value", "one answer"),
    ({"model": "m", "messages": QUESTION, "stop": [""]}, "invalid_value", "stop"),
    ({"model": "m", "messages": QUESTION, "tools": [{}]}, "invalid_value", "tools"),
    ({"model": "m", "messages": QUESTION, "logprobs": True}, "invalid_value", "logprobs"),
    ({"model": "m", "messages": QUESTION, "top_logprobs": 3}, "invalid_value", "top_logprobs"),
    ({"model": "m", "messages": QUESTION, "tool_choice": "required"}, "invalid_value", "tool_choice"),
    ({"model": "m", "messages": QUESTION, "temprature": 0}, "invalid_value", "temprature"),
    ({"model": "m", "messages": QUESTION, "response_format": {"type": "json_schema"}}, "invalid_value", "json_schema"),
    ({"model": "m", "messages": [{"role": "tool", "content": "x"}]}, "invalid_value", "messages[0].role"),
    ({"model": "m", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "invalid_value",
     "messages[0]"),
    ({"model": "m", "messages": [{"role": "user", "content": "\ud800"}]}, "invalid_json", "half a character"),
]


@pytest.mark.parametrize(("body", "code", "words"), BAD)
def test_bad_requests_say_what_is_wrong(server, body, code, words) -> None:
    status, answer, _ = server.post(body)
    error = answer["error"]
    assert (status, error["code"], error["type"]) == (400, code, "invalid_request_error")
    assert words in error["message"] and "Traceback" not in error["message"]


def test_all_problems_are_said_at_once(server) -> None:
    _, answer, _ = server.post({"messages": [], "temperature": 9, "top_p": "x", "max_tokens": -1, "seed": 1.5})
    for field in ("model", "messages", "temperature", "top_p", "max_tokens", "seed"):
        assert f"{field}: " in answer["error"]["message"]


def test_unknown_models_paths_and_methods(server) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        server.client().chat.completions.create(model="gpt-4", messages=QUESTION)
    assert caught.value.code == "model_not_found" and "starter-Q4_1" in caught.value.message
    assert server.post({}, "/v1/embeddings")[0] == 404 and server.post({}, "/v1/models")[0] == 405
    assert server.post({}, "/../../etc/passwd")[0] == 404


def test_what_asks_for_nothing_is_passed_over(server) -> None:
    body = {"model": server.model, "messages": QUESTION, "max_tokens": 2, "temperature": None, "stop": None,
            "user": "me", "stream": None, "tools": [], "n": 1, "logprobs": False, "tool_choice": "auto",
            "response_format": {"type": "text"}}
    assert server.post(body)[0] == 200


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1", 200), ("localhost:1234", 200), ("[::1]:80", 200), ("LOCALHOST.", 200), ("evil.example", 403),
    ("127.0.0.1.evil.example:8765", 403), ("192.168.1.5", 403), ("", 403)])
def test_a_foreign_host_name_is_refused(server, host, status) -> None:
    """As when a web page lets its own name point to this machine."""
    found, _, headers = server.post({"model": server.model, "messages": QUESTION, "max_tokens": 1}, Host=host)
    assert found == status
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_health_needs_no_key_and_says_little(server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/health")
    assert json.loads(connection.getresponse().read()) == {"status": "ok"}
    connection.close()
