"""The server with real clients: a real process, a real model, the `openai` package, and sockets."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import openai
import psutil
import pytest
from support import model_files, starter

from slmstudio.core import serving
from slmstudio.core.errors import UserError
from slmstudio.core.jobs import processes
from slmstudio.core.jobs.interactive import InteractiveWorker

KEY = "slm-a key for tests"
QUESTION = [{"role": "user", "content": "What is the capital of India?"}]
ANSWER = "The capital of India is"
"""How it begins, on every processor: which city follows depends on the order in which its kernels add."""
"""Six tokens of it, the most likely ones."""
CONTEXT = 512


@pytest.fixture(scope="module")
def gguf(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("models") / "starter-Q4_1.gguf"
    shutil.copy(starter.gguf(), copy)
    return copy


class Server:
    """A server in a worker of its own, and what it says."""

    def __init__(self, gguf: Path, **options):
        self.worker = InteractiveWorker("serve")
        self.worker.start()
        self.messages = self.worker.receive()
        self.worker.send({"command": "start", "path": str(gguf), "key": KEY, "context_length": CONTEXT, "parallel": 3,
                          **options})
        self.said = next(self.messages)
        self.url, self.port = self.said.get("url"), self.said.get("port")
        self.model = self.said.get("model")

    def client(self, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, timeout=120)

    def chat(self, messages=QUESTION, client=None, **options):
        settings = {"temperature": 0, "max_tokens": 6, **options}
        return (client or self.client()).chat.completions.create(model=self.model, messages=messages, **settings)

    def post(self, body: bytes | dict, path: str = "/v1/chat/completions", **headers):
        """Status and JSON of a request that no client library would send."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, data, {"Authorization": f"Bearer {KEY}", **headers})
        response = connection.getresponse()
        found = response.status, json.loads(response.read()), response.headers
        connection.close()
        return found

    def wait_for(self, **wanted):
        """The next status in which these fields have these values."""
        for message in self.messages:
            if message["type"] == "status" and all(message[name] == value for name, value in wanted.items()):
                return message
        raise AssertionError(self.worker.cause_of_death())


@contextlib.contextmanager
def serving_(gguf: Path, home: Path, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLMSTUDIO_HOME", str(home))
        server = Server(gguf, **options)
        try:
            yield server
        finally:
            server.worker.close()


@pytest.fixture(scope="module")
def server(gguf, tmp_path_factory):
    with serving_(gguf, tmp_path_factory.mktemp("home")) as made:
        assert made.said["type"] == "serving", made.said
        yield made


def test_it_says_where_it_is(server) -> None:
    said = server.said
    assert said["url"] == f"http://127.0.0.1:{said['port']}/v1" and said["model"] == "starter-Q4_1"
    assert (said["context_length"], said["parallel"], said["chat_template"]) == (CONTEXT, 3, True)
    listening = [each for each in psutil.Process(said["pid"]).net_connections() if each.status == "LISTEN"]
    assert [each.laddr.ip for each in listening] == ["127.0.0.1"]


def test_the_key_is_nowhere_to_be_seen(server) -> None:
    process = psutil.Process(server.said["pid"])
    assert KEY not in " ".join(process.cmdline()) and KEY not in " ".join(process.environ().values())
    with pytest.raises(openai.AuthenticationError):
        server.chat(client=server.client("sk-some other key"))
    server.chat()
    log = server.worker.log.read_text("utf-8")
    assert KEY not in log and "sk-some other key" not in log


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


@pytest.mark.parametrize("key", ["", "wrong", "slm-a key for test", "क"])
def test_a_wrong_key_is_refused(server, key) -> None:
    status, body, headers = server.post({"model": server.model, "messages": QUESTION},
                                        Authorization=f"Bearer {key}".encode())
    assert status == 401 and body["error"]["type"] == "authentication_error" and headers["WWW-Authenticate"] == "Bearer"


def test_a_client_with_a_wrong_key_is_refused(server) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        server.chat(client=server.client("sk-wrong"))
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        server.client("sk-wrong").models.list()


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


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_ends_its_answer(gguf, tmp_path, stream) -> None:
    with serving_(gguf, tmp_path / "home", context_length=4096) as server:
        body = json.dumps({"model": server.model, "messages": [{"role": "user", "content": "Write a very long story."}],
                           "max_tokens": 4000, "stream": stream, "temperature": 1.2, "min_p": 0}).encode()
        client = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        client.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
                       f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        server.wait_for(active=1)
        client.close()
        assert server.wait_for(active=0)["served"] == 0


def test_a_full_queue_is_said(gguf, tmp_path, monkeypatch) -> None:
    from slmstudio.worker.chat import generation
    from slmstudio.worker.serve import engine as serve_engine

    monkeypatch.setattr(serve_engine, "MAX_WAITING", 2)
    engine = serve_engine.Engine(gguf, 256, 1, 0)
    try:
        ended = []
        with engine._change:  # nobody is taken out of the queue meanwhile
            for _ in range(2):
                engine.submit(generation.Generation([1, 2], generation.Sampling(1), ended.append))
            with pytest.raises(serve_engine.TooManyRequests, match="2 requests are waiting"):
                engine.submit(generation.Generation([1, 2], generation.Sampling(1), ended.append))
    finally:
        engine.close()


def test_the_model_file_is_deleted_while_it_serves(gguf, tmp_path) -> None:
    copy = tmp_path / "gone-Q4_1.gguf"
    shutil.copy(gguf, copy)
    with serving_(copy, tmp_path / "home") as server:
        before = server.chat(max_tokens=8).choices
        if os.name == "nt":
            with pytest.raises(OSError):
                copy.unlink()
        else:
            copy.unlink()
        assert server.chat(max_tokens=8).choices == before, "the file is mapped, and stays until it is closed"


def test_a_server_that_was_killed_is_named(gguf, tmp_path) -> None:
    with serving_(gguf, tmp_path / "home") as server:
        psutil.Process(server.said["pid"]).kill()
        assert [message for message in server.messages if message["type"] != "status"] == []
        assert "killed" in server.worker.cause_of_death().why
        with pytest.raises(openai.APIConnectionError):
            server.chat()


def test_stop_ends_answers_and_the_port_is_free_again(gguf, tmp_path) -> None:
    with serving_(gguf, tmp_path / "home", context_length=2048) as server:
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


@pytest.mark.parametrize("make", ["port in use", "network", "no key", "missing", "no gguf", "vocabulary only"])
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
    from slmstudio.worker.serve import listening

    with socket.create_server(("127.0.0.1", 0)) as taken:
        with listening.listen("127.0.0.1", taken.getsockname()[1], search=True) as listener:
            assert listener.getsockname()[1] > taken.getsockname()[1]
        with pytest.raises(serving.PortInUse):
            listening.listen("127.0.0.1", taken.getsockname()[1], search=False)


def test_a_file_without_a_template_serves_completions(gguf, tmp_path) -> None:
    data = gguf.read_bytes()
    key = b"tokenizer.chat_template"
    assert data.count(key) == 1
    bare = tmp_path / "bare.gguf"
    bare.write_bytes(data.replace(key, b"tokenizer.chat_templat_"))
    with serving_(bare, tmp_path / "home") as server:
        assert server.said["chat_template"] is False
        with pytest.raises(openai.BadRequestError) as caught:
            server.chat()
        assert caught.value.code == "no_chat_template"
        assert server.client().completions.create(model="bare", prompt="1, 2,", max_tokens=2,
                                                  temperature=0).choices[0].text == " 3"


class TestTerminal:
    @pytest.fixture
    def start(self, studio_home, gguf):
        """`start("--json")`: the command, and the JSON object of its first line."""
        running = []

        def begin(*arguments: str):
            environment = {**processes.worker_environment(), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
            process = subprocess.Popen([sys.executable, "-m", "slmstudio", "serve", str(gguf), "--context", "512",
                                        *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
            running.append(process)
            return process, json.loads(process.stdout.readline()) if "--json" in arguments else None

        yield begin
        for process in running:
            process.kill()
            process.communicate()

    def test_one_json_line_once_it_is_ready(self, start, studio_home) -> None:
        process, said = start("--json")
        client = openai.OpenAI(base_url=said["url"], api_key=said["api_key"])
        answer = client.chat.completions.create(model=said["model"], messages=QUESTION, max_tokens=2, temperature=0)
        assert answer.choices[0].message.content == "The capital"
        assert said["api_key"] == (studio_home / "server.key").read_text().strip()
        assert said["api_key"] not in " ".join(psutil.Process(process.pid).cmdline())
        worker = psutil.Process(said["worker_pid"])
        assert (said["pid"], said["host"]) == (process.pid, "127.0.0.1")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, b"Stopped." in err) == (0, b"", True)
        assert not worker.is_running()

    @pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
    def test_the_server_ends_with_its_terminal(self, start, how) -> None:
        process, said = start("--json")
        worker = psutil.Process(said["worker_pid"])
        process.send_signal(how)
        process.wait(60)
        assert psutil.wait_procs([worker], timeout=60)[1] == []

    def test_snippets_that_work(self, start) -> None:
        process, _ = start()
        lines = []
        for line in process.stdout:
            lines.append(line.decode())
            if "Ctrl-C" in lines[-1]:
                break
        text = "".join(lines)
        python = text[text.index("# pip install"):text.index("Press Ctrl-C")]
        done = subprocess.run([sys.executable, "-c", python], capture_output=True, timeout=60)
        assert done.returncode == 0 and done.stdout.strip() != b"", done.stderr
        curl = text[text.index("export "):text.index("# pip install")]
        if shutil.which("curl"):
            answer = subprocess.run(["/bin/sh", "-c", curl], capture_output=True, timeout=60)
            assert json.loads(answer.stdout)["choices"][0]["message"]["role"] == "assistant", answer

    @pytest.mark.parametrize(("arguments", "words"), [(["--host", "0.0.0.0"], "--allow-network"),
                                                      (["--port", "1"], "1024")])
    def test_what_it_does_not_do(self, start, arguments, words) -> None:
        if "--port" in arguments and os.name != "nt" and os.geteuid() == 0:
            pytest.skip("root may use every port")
        process, _ = start(*arguments)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2 and words in err.decode() and "Traceback" not in err.decode()


class TestKey:
    @pytest.fixture(autouse=True)
    def no_keyring(self, monkeypatch, studio_home):
        import keyring
        from keyring.backends import fail

        before = keyring.get_keyring()
        keyring.set_keyring(fail.Keyring())
        yield
        keyring.set_keyring(before)

    def test_it_is_made_once_and_only_its_owner_reads_it(self, studio_home) -> None:
        key = serving.server_key()
        assert len(key) > 40 and serving.server_key() == key
        assert os.name == "nt" or (studio_home / "server.key").stat().st_mode & 0o777 == 0o600
        assert [path.name for path in studio_home.iterdir()] == ["server.key"]

    def test_a_new_one_replaces_it(self) -> None:
        first = serving.server_key()
        second = serving.server_key(new=True)
        assert first != second == serving.server_key()

    def test_a_keyring_comes_first(self, studio_home) -> None:
        import keyring
        from keyring.backend import KeyringBackend

        class Memory(KeyringBackend):
            priority = 1
            kept: dict[tuple[str, str], str] = {}  # noqa: RUF012

            def get_password(self, service: str, username: str) -> str | None:
                return self.kept.get((service, username))

            def set_password(self, service: str, username: str, password: str) -> None:
                self.kept[service, username] = password

        keyring.set_keyring(Memory())
        key = serving.server_key()
        assert list(Memory.kept.values()) == [key] and serving.server_key() == key
        assert not (studio_home / "server.key").exists()

    def test_a_folder_that_cannot_be_written_is_said(self, studio_home) -> None:
        studio_home.write_text("a file")
        with pytest.raises(UserError, match="save the server's key"):
            serving.server_key()


@pytest.mark.parametrize(("host", "fine"), [
    ("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.1.2.3", True), ("0.0.0.0", False), ("::", False),
    ("192.168.1.4", False), ("pc", False)])
def test_nothing_listens_beyond_loopback_unasked(host, fine) -> None:
    serving.check_host(host, allow_network=True)
    if fine:
        serving.check_host(host, allow_network=False)
    else:
        with pytest.raises(UserError, match="other machines"):
            serving.check_host(host, allow_network=False)
